"""Expand Makefile variables as GNU make does, as far as possible without running commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Limits of an expansion: length of the text, depth of nested references, number of references followed.
_LONGEST, _DEEPEST, _MOST = 65536, 40, 10_000

#: Variables that make sets itself. Their values are unknown.
BUILT_IN = frozenset(
    [
        "MAKE",
        "MAKEFLAGS",
        "MAKECMDGOALS",
        "MAKEFILES",
        "MAKEFILE_LIST",
        "MAKELEVEL",
        "MAKE_VERSION",
        "MAKE_COMMAND",
        "MAKE_HOST",
        "MFLAGS",
        "CURDIR",
        "SHELL",
        "PATH",
        "HOME",
        "USER",
        "PWD",
        ".SHELLFLAGS",
        ".VARIABLES",
        ".FEATURES",
        ".TARGETS",
        ".DEFAULT_GOAL",
        ".INCLUDE_DIRS",
        "SUFFIXES",
        "AR",
        "ARFLAGS",
        "AS",
        "CC",
        "CFLAGS",
        "CPP",
        "CXX",
        "CXXFLAGS",
        "LD",
        "LDFLAGS",
        "RM",
        "LEX",
        "YACC",
        "FC",
        "OUTPUT_OPTION",
    ]
)
AUTOMATIC = frozenset("@%<?^+|*")


@dataclass(frozen=True)
class Value:
    """A variable. `text` is None if unknown; the text of a recursive variable still contains references."""

    text: str | None
    recursive: bool = True


class SelfReference(Exception):
    """A variable refers to itself, so make would stop. The argument is the variable's name."""


@dataclass
class _Work:
    """The work done by an expansion, counted because nested references can double it at every level."""

    depth: int = 0
    followed: int = 0
    expanding: list[str] = field(default_factory=list)


@dataclass
class Variables:
    """The variables defined so far. Variables set in a conditional branch or for some targets are unknown."""

    values: dict[str, Value] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)

    def define(self, name: str, operator: str, text: str, *, conditional: bool = False) -> None:
        """Record a definition; `operator` is as written."""
        known = self.values.get(name)
        if operator == "?=" and known is not None:
            return
        if operator == "!=" or conditional or name in self.partial:
            self.values[name] = Value(None)
        elif operator in ("=", "?=") or (operator == "+=" and known is None):
            self.values[name] = Value(text)
        elif operator == "+=" and known is not None:
            more = text if known.recursive else expand(text, self.values)
            both = None if known.text is None or more is None else " ".join(filter(None, (known.text, more)))
            self.values[name] = Value(both, known.recursive)
        else:
            self.values[name] = Value(expand(text, self.values), recursive=False)


def reference_end(text: str, at: int) -> int:
    """Return the end of the reference at a dollar sign: `$$`, `$X`, `$(…)`, `${…}`; the end of the text if unclosed."""
    opening = text[at + 1 : at + 2]
    closing = {"(": ")", "{": "}"}.get(opening)
    if closing is None:
        return min(at + 2, len(text))
    depth = 0
    for i in range(at + 1, len(text)):
        if text[i] == opening:
            depth += 1
        elif text[i] == closing:
            depth -= 1
            if depth == 0:
                return i + 1
    return len(text)


def inside(reference: str) -> str:
    """Return what a reference refers to: `X` for `$X` and `$(X)`."""
    return reference[2:-1] if reference[1:2] in ("(", "{") else reference[1:]


def expand(
    text: str, values: Mapping[str, Value], local: Mapping[str, str] | None = None, work: _Work | None = None
) -> str | None:
    """Return the text with its references replaced; None if any is unknown. `$$` becomes `$`.

    Raises `SelfReference` where make stops with "Recursive variable references itself".
    """
    if "$" not in text:
        return text
    work = work or _Work()
    work.followed += 1
    if work.depth > _DEEPEST or work.followed > _MOST:
        return None
    work.depth += 1
    try:
        return _expanded(text, values, local or {}, work)
    finally:
        work.depth -= 1


def _expanded(text: str, values: Mapping[str, Value], local: Mapping[str, str], work: _Work) -> str | None:
    parts: list[str] = []
    length, at = 0, 0
    while at < len(text):
        dollar = text.find("$", at)
        end = len(text) if dollar < 0 else dollar
        parts.append(text[at:end])
        if dollar < 0:
            break
        at = reference_end(text, dollar)
        found = resolve(text[dollar:at], values, local, work)
        if found is None:
            return None
        parts.append(found)
        length += len(found)
        if length > _LONGEST:
            return None
    return "".join(parts)


def resolve(
    reference: str, values: Mapping[str, Value], local: Mapping[str, str] | None = None, work: _Work | None = None
) -> str | None:
    """Return the value of a reference; None if unknown. An undefined variable is empty. Raises like `expand`."""
    local, work = local or {}, work or _Work()
    if reference == "$$":
        return "$"
    body = inside(reference)
    if reference[1:2] in ("(", "{"):
        if reference[-1:] not in (")", "}") or len(reference) < 3:
            return None
        name, blank, rest = _first_word(body)
        if blank and name in _FUNCTIONS:
            return _function(name, rest, values, local, work)
        if blank and re.fullmatch(r"[a-z-]+", name):
            return None  # a function that runs a command, or that we do not support
        inner = expand(body, values, local, work)
        if inner is None:
            return None
        body = inner
        name, colon, change = body.partition(":")
        if colon and "=" in change:
            old, _, new = change.partition("=")
            whole = _variable(name, values, local, work)
            if "%" not in old:
                old, new = f"%{old}", f"%{new}"
            return None if whole is None else " ".join(_replaced(old, new, word) for word in whole.split())
    return _variable(body, values, local, work)


def _variable(name: str, values: Mapping[str, Value], local: Mapping[str, str], work: _Work) -> str | None:
    if name in local:
        return local[name]
    if name[:1] in AUTOMATIC and (len(name) == 1 or name[1:] in ("D", "F")):
        return None
    known = values.get(name)
    if known is None:
        return None if name in BUILT_IN else ""
    if known.text is None or not known.recursive:
        return known.text
    if name in work.expanding:
        raise SelfReference(name)
    work.expanding.append(name)
    try:
        return expand(known.text, values, local, work)
    finally:
        work.expanding.pop()


def _first_word(body: str) -> tuple[str, str, str]:
    found = re.match(r"[ \t]*([^ \t]+)([ \t]+)(.*)", body, re.DOTALL)
    return (found[1], found[2], found[3]) if found else (body, "", "")


def _arguments(text: str, most: int) -> list[str]:
    """Return a function's arguments, split at commas outside parentheses and braces."""
    found: list[str] = []
    depth, start = 0, 0
    for i, character in enumerate(text):
        if character in "({":
            depth += 1
        elif character in ")}":
            depth -= 1
        elif character == "," and depth == 0 and len(found) < most - 1:
            found.append(text[start:i])
            start = i + 1
    return [*found, text[start:]]


def _replaced(pattern: str, new: str, word: str) -> str:
    before, percent, after = pattern.partition("%")
    if not percent:
        return new if word == pattern else word
    if len(word) < len(before) + len(after) or not (word.startswith(before) and word.endswith(after)):
        return word
    return new.replace("%", word[len(before) : len(word) - len(after)], 1)


def _function(name: str, rest: str, values: Mapping[str, Value], local: Mapping[str, str], work: _Work) -> str | None:
    counts, made = _FUNCTIONS[name]
    given = _arguments(rest, counts)
    if name in ("if", "or", "and"):
        return _lazy(name, given, values, local, work)
    expanded = [expand(argument, values, local, work) for argument in given]
    whole = [argument for argument in expanded if argument is not None]
    if len(whole) < len(expanded) or (name != "call" and len(whole) < counts):
        return None
    if name == "call":
        called = values.get(whole[0].strip())
        if called is None or called.text is None or whole[0].strip() in _FUNCTIONS:
            return None
        numbered = {str(i): argument for i, argument in enumerate(whole)}
        return expand(called.text, values, numbered, work) if called.recursive else called.text
    return made(*whole)


def _lazy(
    name: str, given: list[str], values: Mapping[str, Value], local: Mapping[str, str], work: _Work
) -> str | None:
    def value(text: str) -> str | None:
        return expand(text, values, local, work)

    if name == "if":
        condition = value(given[0].strip())
        if condition is None:
            return None
        return value(given[1]) if condition and len(given) > 1 else value(given[2]) if len(given) > 2 else ""
    last: str | None = ""
    for argument in given:
        last = value(argument.strip())
        if last is None or bool(last) == (name == "or"):
            return last
    return last


def _words(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: " ".join(change(word) for word in text.split())


_FUNCTIONS: dict[str, tuple[int, Callable[..., str]]] = {
    "strip": (1, _words(str)),
    "subst": (3, lambda old, new, text: text.replace(old, new) if old else text + new),
    "patsubst": (3, lambda old, new, text: " ".join(_replaced(old, new, word) for word in text.split())),
    "addprefix": (2, lambda more, text: " ".join(more + word for word in text.split())),
    "addsuffix": (2, lambda more, text: " ".join(word + more for word in text.split())),
    "firstword": (1, lambda text: (text.split() or [""])[0]),
    "lastword": (1, lambda text: (text.split() or [""])[-1]),
    "sort": (1, lambda text: " ".join(sorted(set(text.split())))),
    "notdir": (1, _words(lambda word: word.rpartition("/")[2])),
    "if": (3, str),
    "or": (99, str),
    "and": (99, str),
    "call": (99, str),
}
