"""Extracts the few facts that a plan needs from a Dockerfile. Not a full parser: it skips unknown syntax.

Grammar: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.core import shapes

from . import globs, heredocs

# A default may contain another plain variable. Deeper nesting is expanded innermost first, in several rounds.
_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>\w+)(?:(?P<null>:?)(?P<form>[-+?#%/])(?P<word>(?:\$\{\w+\}|[^{}])*))?\}|(?P<plain>\w+))"
)
#: A parser directive. An unknown one is an ordinary comment, which ends the directives.
DIRECTIVE = re.compile(r"\s*(?:#|//)\s*(syntax|escape|check)\s*=\s*(.+?)\s*$", re.IGNORECASE)
#: A flag; its value may contain blanks in quotes.
_FLAG = re.compile(r"""--([a-z][a-z-]*)(?:=((?:\\.|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"'\\])*))?(?:\s+|$)""")
#: How many characters an expansion can add: variables that double each other would fill the memory.
_GROWTH = 16 * 1024
_BLANKS = re.compile(r"[\t\v\f\r ]+")


@dataclass(frozen=True)
class Instruction:
    """A logical line: the keyword in capitals, the rest with continuations joined, and its first line (from 1).

    `parts`: its physical lines with their numbers, including here-document bodies; `body`: the text of those bodies.
    """

    keyword: str
    rest: str
    line: int
    parts: tuple[tuple[int, str], ...] = ()
    body: str = ""

    @property
    def end(self) -> int:
        """The number of the last line."""
        return self.parts[-1][0] if self.parts else self.line

    def line_of(self, text: str) -> int:
        """Return the first line that contains `text`, or else the first line."""
        return next((number for number, part in self.parts if text in part), self.line)


@dataclass(frozen=True)
class Comment:
    """A comment line without the #, outside here-documents."""

    text: str
    line: int


def instructions(text: str) -> Iterator[Instruction]:
    """Return the instructions in order, without comments and here-document bodies."""
    return (item for item in _scan(text) if isinstance(item, Instruction))


def comments(text: str) -> tuple[Comment, ...]:
    """Return the comments in order, including those between continued lines."""
    return tuple(item for item in _scan(text) if isinstance(item, Comment))


def _scan(text: str) -> Iterator[Instruction | Comment]:
    # Not splitlines: docker does not treat form feeds and Unicode separators as line ends.
    lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    goes_on = _continuation(lines)
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if not line:
            continue
        if line.startswith("#"):
            yield Comment(line[1:].strip(), at)
            continue
        first, whole, parts = at, line, [(at, line)]
        while cut := goes_on.search(whole):
            whole = whole[: cut.end("kept")]
            # blank lines and comments do not end a continued instruction
            while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
                at += 1
                if lines[at - 1].strip():
                    yield Comment(lines[at - 1].strip()[1:].strip(), at)
            if at == len(lines):
                last = at if lines[-1] else at - 1  # the text after the last newline is not a line
                parts += [(last, lines[last - 1])] if last > parts[-1][0] else []
                break
            whole = _joined(whole, lines[at])
            at += 1
            parts.append((at, lines[at - 1]))
        keyword, _, rest = _BLANKS.sub(" ", whole.strip(), count=1).partition(" ")
        made = Instruction(keyword.upper(), rest.strip(), first)
        body: list[str] = []
        for heredoc in _heredocs(made):
            while at < len(lines):
                at += 1
                parts.append((at, lines[at - 1]))
                if heredoc.ends(lines[at - 1]):
                    break
                body.append(lines[at - 1])
        yield replace(made, parts=tuple(parts), body="\n".join(body))


def _heredocs(item: Instruction) -> tuple[heredocs.Heredoc, ...]:
    if item.keyword == "ONBUILD":
        keyword, _, rest = _BLANKS.sub(" ", item.rest, count=1).partition(" ")
        item = Instruction(keyword.upper(), rest, item.line)
    takes = item.keyword in ("RUN", "COPY", "ADD") and "<<" in item.rest
    return heredocs.of(item.rest) if takes and json_words(flags(item)[1]) is None else ()


def _continuation(lines: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern for the end of a line that continues on the next. An escaped escape character does not count.

    A directive in the leading comments can set the escape character to the backtick.
    """
    escape = "\\"
    for line in lines:
        found = DIRECTIVE.match(line)
        if not found:
            break
        if found[1].lower() == "escape" and found[2] in ("`", "\\"):
            escape = found[2]
            break
    one = re.escape(escape)
    return re.compile(rf"(?P<kept>(?:^|(?<=[^{one}])))(?:{one})[ \t]*$")


def _joined(one: str, other: str) -> str:
    """Join two parts of a continued line, with a single space between them if either has one."""
    first, second = one.rstrip(), other.strip()
    return f"{first} {second}" if first != one or other[:1].isspace() else f"{first}{second}"


def words(text: str) -> list[str]:
    """Split words like a shell, removing quotes. If quotes are unbalanced, split at whitespace."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def flags(item: Instruction) -> tuple[dict[str, str], str]:
    """Return the leading `--name=value` flags of an instruction (the last one wins) and the text after them."""
    found, rest = _flags(item)
    return {name: value for name, value, _ in found}, rest


def _flags(item: Instruction) -> tuple[list[tuple[str, str, str]], str]:
    """Return each flag's name, its value, and the value as written."""
    found: list[tuple[str, str, str]] = []
    rest = item.rest
    while match := _FLAG.match(rest):
        value = re.sub(r"\\(.)|[\"']", r"\1", match[2] or "")
        found.append((match[1], value, match[2] or ""))
        rest = rest[match.end() :]
    return found, rest


def assignments(item: Instruction) -> list[tuple[str, str | None]]:
    """Return the names and values of an ARG or ENV; None for an ARG without a value."""
    given = words(item.rest)
    if item.keyword == "ENV" and given and "=" not in given[0]:
        return [(given[0], item.rest.partition(given[0])[2].strip())]
    pairs = (word.partition("=") for word in given)
    return [(name, value if equals else None) for name, equals, value in pairs]


def arguments(text: str) -> frozenset[str]:
    """Return the names that any `ARG` declares, in any stage."""
    names: set[str] = set()
    for item in instructions(text):
        if item.keyword == "ARG":
            names.update(word.split("=", 1)[0] for word in item.rest.split())
    return frozenset(names)


def defaults(text: str) -> dict[str, str]:
    """Return the default values of ARGs. If a name has several, the first default (the global one, if any) wins."""
    found: dict[str, str] = {}
    for item in instructions(text):
        if item.keyword == "ARG":
            for word in item.rest.split():
                name, equals, value = word.partition("=")
                if equals:
                    found.setdefault(name, value.strip("\"'"))
    return found


def expand(word: str, values: Mapping[str, str], *, keep: bool = False) -> str:
    """Expand `$NAME`, `${NAME}` and all other forms. Unknown names become empty, as in BuildKit.

    `keep`: keep unknown names as `${NAME}`. A word that grows by more than 16 KiB is cut off.
    """

    def value(match: re.Match[str]) -> str:
        name, form, other = match["braced"] or match["plain"], match["form"], match["word"] or ""
        known = values.get(name) or ""
        there = name in values and not (match["null"] and not known)
        if form == "+":
            return other if there else ""
        if there and form in ("#", "%", "/"):
            return _trimmed(known, form, _VARIABLE.sub(value, other))
        if there or form == "-":
            return known if there else other
        return f"${{{name}}}" if keep and name not in values else ""

    longest = len(word) + _GROWTH
    for _ in range(4):  # enough for nested defaults, but a value that refers to itself must not loop forever
        replaced = _substituted(word, value, longest)
        if replaced == word:
            break
        word = replaced
    return word


def _substituted(word: str, value: Callable[[re.Match[str]], str], longest: int) -> str:
    """Return a word with its variables replaced, cut off where it gets too long."""
    parts, at, size = list[str](), 0, 0
    for match in _VARIABLE.finditer(word):
        parts += [word[at : match.start()], value(match)]
        at = match.end()
        size += len(parts[-2]) + len(parts[-1])
        if size > longest:
            break
    else:
        parts.append(word[at:])
    return "".join(parts)[:longest]


def _trimmed(value: str, form: str, word: str) -> str:
    """Return a value without the start (`#`) or end (`%`) that matches a pattern, or with matches replaced (`/`)."""
    every = word.startswith(form)
    pattern = word[1:] if every else word
    if form == "#":
        return globs.without_start(value, pattern, longest=every)
    if form == "%":
        return globs.without_end(value, pattern, longest=every)
    pattern, _, new = pattern.partition("/")
    return globs.replaced(value, pattern, new, every=every)


#: Predefined arguments in FROM lines: https://docs.docker.com/build/building/variables/
PLATFORM_ARGS = frozenset(
    f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
)


def unquoted(word: str) -> str:
    """Return a word of a FROM line without its quotes."""
    return re.sub(r"([\"'])(.*?)\1", r"\2", word)


def json_words(text: str) -> list[str] | None:
    """Return the words of a JSON form, `["cargo", "build"]`; None if the text does not start with one."""
    try:
        listed = shapes.first(text, list) if text.startswith("[") else None
    except ValueError:
        return None
    return listed if listed is not None and all(isinstance(word, str) for word in listed) else None
