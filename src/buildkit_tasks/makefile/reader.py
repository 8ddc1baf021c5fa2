"""Read a Makefile as GNU make does, without running anything: rules, recipes, variables, conditions. Pure.

Every line keeps its number, because recipes are replaced in place. Lines that depend on a command's output, or on a
function that the reader does not expand, are kept and listed in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from . import rules, syntax
from .expand import SelfReference, Variables
from .model import Include, Source, Step
from .reading import Reading, invalid

_CONDITION = re.compile(r"(ifeq|ifneq|ifdef|ifndef|else|endif)(?=[\s(\"'#]|$)")
_INCLUDE = re.compile(r"(-include|sinclude|include)(?=\s|$)")
_RUNS = re.compile(r"\$[({]\s*(?:shell|eval|file|guile)[\s\\]")


def read(
    path: str, text: str, load: Callable[[str], str | None] = lambda _path: None, variables: Variables | None = None
) -> tuple[Source, ...]:
    """Read a Makefile and the files it includes, in that order. `load` returns a file's text, or None to skip it.

    Adds the files' definitions to `variables`. Raises `Problem` makefile-invalid where make itself would stop.
    """
    readings: list[Reading] = []
    _read(Reading(path, [], variables if variables is not None else Variables(), load=load, readings=readings), text)
    exported = [name for reading in readings for name in reading.exported]
    phony = frozenset(name for reading in readings for name in reading.phony)
    mentioned = phony | {name for reading in readings for name in reading.specific}
    exports: dict[str, list[str]] = {}
    for reading in readings:
        for target, names in reading.target_exports.items():
            exports.setdefault(target, []).extend(names)
    shells = sorted({shell for reading in readings for shell in reading.shells if not syntax.posix(shell)})
    one_shell = any(reading.one_shell for reading in readings)
    found = []
    for reading in readings:
        rules = []
        for rule in reading.rules:
            own = [name for target in rule.names for name in exports.get(target, ())]
            script = "all lines of the recipe run in one shell (.ONESHELL)" if one_shell and len(rule.steps) > 1 else ""
            kept = rule.kept or script
            rules.append(replace(rule, kept=kept, exported=tuple(dict.fromkeys((*exported, *own)))))
        values = reading.variables.values.items()
        found.append(
            Source(
                reading.path,
                tuple(reading.lines),
                tuple(rules),
                phony,
                mentioned,
                tuple(reading.includes),
                {name: value.text for name, value in values if value.text is not None},
                tuple(dict.fromkeys(reading.runs)),
                tuple(dict.fromkeys(reading.notes)),
                f"the recipes in this file run in {shells[0]}" if shells else "",
                makes_rules=reading.makes_rules,
            )
        )
    return tuple(found)


def _read(now: Reading, text: str) -> None:
    """Read one file to its end."""
    now.readings.append(now)
    outer = len(now.conditions)
    now.lines = text.split("\n")
    if now.lines[-1] == "":
        now.lines.pop()
    at = 0
    while at < len(now.lines):
        try:
            at = _line(now, at)
        except SelfReference as name:
            raise invalid(now.path, at + 1, f"the variable {name} refers to itself") from None
    now.close()
    if len(now.conditions) > outer:
        raise invalid(now.path, len(now.lines), f"{now.conditions[-1].split(':', 1)[-1].strip()} has no endif")
    now.lines = [line + "\n" for line in now.lines]
    if now.lines and not text.endswith("\n"):
        now.lines[-1] = now.lines[-1][:-1]


def _last_of(now: Reading, at: int) -> int:
    """Return the last line of the logical line that begins here."""
    while at + 1 < len(now.lines) and syntax.continued(now.lines[at]):
        at += 1
    return at


def _logical(now: Reading, first: int, last: int) -> str:
    """Join continued lines as make does: each backslash-newline and the blanks around it become one blank."""
    parts = [syntax.bare(line) for line in now.lines[first : last + 1]]
    if first == 0:
        parts[0] = parts[0].removeprefix("\ufeff")
    parts[:-1] = [(part[:-1] if syntax.odd(part) else part).rstrip(" \t") for part in parts[:-1]]
    parts[1:] = [part.lstrip(" \t") for part in parts[1:]]
    return " ".join(parts)


def _line(now: Reading, at: int) -> int:
    """Read the logical line that begins here; return the number of the next line."""
    last = _last_of(now, at)
    if now.open is not None and now.lines[at].startswith(now.prefix):
        _recipe_line(now, at, last)
        return last + 1
    whole = _logical(now, at, last)
    line = syntax.without_comment(whole).lstrip(" \t\r\f\v")  # trailing blanks are part of a value
    if not line.strip():
        return last + 1
    if _RUNS.search(line):
        now.runs.append(at + 1)
    if _CONDITION.match(line):
        _condition(now, at, line)
        return last + 1
    modifiers, rest = syntax.modifiers(line)
    if "define" in modifiers:
        return _define(now, at, rest)
    assigned = None if "undefine" in modifiers else syntax.assignment(rest)
    if assigned:
        now.close()
        _assign(now, at, assigned, exported="export" in modifiers)
    elif "undefine" in modifiers:
        now.close()
        now.variables.values.pop(rest.strip(), None)
    elif re.match(r"(export|unexport)(\s|$)", line):
        now.close()
        if line.startswith("unexport"):
            gone = (now.expand(line[8:]) or "").split()
            now.exported[:] = [name for name in now.exported if name not in gone]
        else:
            names = (now.expand(line[6:]) or "").split()
            now.exported += names
            if not names and not line[6:].strip():
                now.notes.append(
                    f"line {at + 1}: exports every variable, but cargo tasks receive only those passed with --env NAME"
                )
    elif found := _INCLUDE.match(line):
        now.close()
        _include(now, at, line[found.end() :].strip(), optional=found[1] != "include")
    elif word := re.match(r"(vpath|load|-load)(?=\s|$)", line):
        now.close()
        now.makes_rules = now.makes_rules or word[1] != "vpath"
        now.notes.append(f"line {at + 1}: `{line}` is not supported; the line is kept")
    else:
        rules.rule(now, at, last, whole)
    return last + 1


def _recipe_line(now: Reading, at: int, last: int) -> None:
    assert now.open is not None  # noqa: S101 - checked by the caller
    parts = [syntax.bare(now.lines[at])[len(now.prefix) :]]
    parts += [syntax.bare(line).removeprefix(now.prefix) for line in now.lines[at + 1 : last + 1]]
    text = "\n".join(parts)
    if now.conditions != list(now.open.rule.conditions):
        now.open.mixed = True
    if text.strip():
        now.open.steps.append(Step(at, last, text))


def _assign(now: Reading, at: int, assigned: tuple[str, str, str], *, exported: bool) -> None:
    name = now.expand(assigned[0])
    if name is None:
        now.notes.append(f"line {at + 1}: the variable name `{assigned[0]}` cannot be determined without running make")
        return
    operator, value = assigned[1], assigned[2]
    if operator == "!=":
        now.runs.append(at + 1)
    now.variables.define(name, operator, value, conditional=bool(now.conditions))
    if exported:
        now.exported.append(name)
    if name == ".RECIPEPREFIX":
        known = now.variables.values[name].text
        now.prefix = known[0] if known else "\t"
    if name == "SHELL":
        now.shells.add(now.variables.values[name].text or "an unknown shell")


def _define(now: Reading, at: int, rest: str) -> int:
    """Read a multi-line definition; return the line after its `endef`."""
    now.close()
    head = syntax.assignment(rest) or (rest.strip(), "=", "")
    body: list[str] = []
    depth, i = 1, at + 1
    while i < len(now.lines):
        line = syntax.bare(now.lines[i])
        word = "" if line.startswith(now.prefix) else (line.split(None, 1) or [""])[0]
        if word == "define":
            depth += 1
        elif word == "endef" or word.startswith("endef#"):
            depth -= 1
            if depth == 0:
                _assign(now, at, (head[0].strip(), head[1], "\n".join(body)), exported=False)
                return i + 1
        if _RUNS.search(line):
            now.runs.append(i + 1)
        body.append(line)
        i += 1
    raise invalid(now.path, at + 1, f"define {head[0].strip()} has no endef")


def _condition(now: Reading, at: int, line: str) -> None:
    found = _CONDITION.match(line)
    word = found[1] if found else ""
    if word in ("else", "endif"):
        if not now.conditions:
            raise invalid(now.path, at + 1, f"{word} has no matching condition")
        now.conditions.pop()
        if word == "else":
            now.conditions.append(f"{at + 1}: {line}")
    else:
        if word in ("ifeq", "ifneq"):
            now.expand(line[len(word) :])  # only for its errors
        now.conditions.append(f"{at + 1}: {line}")


def _include(now: Reading, at: int, written: str, *, optional: bool) -> None:
    names = now.expand(written)
    for name in (names or "").split() or ([] if names is not None else [""]):
        path = "" if re.search(r"[*?\[]", name) else name
        now.includes.append(Include(at + 1, written, path, optional))
        text = now.load(path) if path and all(path != reading.path for reading in now.readings) else None
        if text is not None:
            inner = Reading(path, [], now.variables, load=now.load, readings=now.readings)
            inner.conditions, inner.prefix = list(now.conditions), now.prefix
            _read(inner, text)
