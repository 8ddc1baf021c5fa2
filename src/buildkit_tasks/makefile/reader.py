"""Reads a Makefile as GNU make does, without running anything: rules, recipes, variables, conditions. Pure.

Every line stays known by its number, because a recipe is replaced in the file as it is. What make only learns by
running a command or by a function that we do not expand is noted, and stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from buildkit_tasks.core.errors import Problem

from . import expand as expansion
from .expand import Variables, reference_end
from .model import Include, Rule, Source, Step

_CONDITION = re.compile(r"(ifeq|ifneq|ifdef|ifndef|else|endif)(?=[\s(\"'#]|$)")
_INCLUDE = re.compile(r"(-include|sinclude|include)(?=\s|$)")
_OPERATOR = re.compile(r"\s*(:::=|::=|:=|\?=|\+=|!=|=)")
_RUNS = re.compile(r"\$[({]\s*(?:shell|eval|file|guile)\s")
#: Targets that mean something to make itself.
SPECIAL = re.compile(r"\.[A-Z_]+$")


@dataclass
class _Open:
    """A rule whose recipe is being read."""

    rule: Rule
    steps: list[Step]
    mixed: bool = False


@dataclass
class _Reading:
    """What is known at the current line."""

    path: str
    lines: list[str]
    variables: Variables
    rules: list[Rule] = field(default_factory=list)
    phony: set[str] = field(default_factory=set)
    includes: list[Include] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)
    special: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shells: set[str] = field(default_factory=set)
    target_exports: dict[str, list[str]] = field(default_factory=dict)
    specific: set[str] = field(default_factory=set)
    prefix: str = "\t"
    open: _Open | None = None
    load: Callable[[str], str | None] = lambda _path: None
    readings: list[_Reading] = field(default_factory=list)

    def close(self) -> None:
        """The rule's recipe ends here."""
        if self.open:
            mixed = "part of its recipe depends on a condition (ifeq, ifdef)" if self.open.mixed else ""
            made = replace(self.open.rule, steps=tuple(self.open.steps), kept=self.open.rule.kept or mixed)
            self.rules.append(made)
        self.open = None


def read(
    path: str, text: str, load: Callable[[str], str | None] = lambda _path: None, variables: Variables | None = None
) -> tuple[Source, ...]:
    """A Makefile and the files it includes, itself first. `load`: the text of an included file, None if it is not read.

    `variables` gets what the files define. Raises `Problem` makefile-invalid where make itself would stop.
    """
    readings: list[_Reading] = []
    _read(_Reading(path, [], variables if variables is not None else Variables(), load=load, readings=readings), text)
    exported = [name for reading in readings for name in reading.exported]
    phony = frozenset(name for reading in readings for name in reading.phony)
    mentioned = phony | {name for reading in readings for name in reading.specific}
    exports: dict[str, list[str]] = {}
    for reading in readings:
        for target, names in reading.target_exports.items():
            exports.setdefault(target, []).extend(names)
    shells = sorted({shell for reading in readings for shell in reading.shells if not _posix(shell)})
    found = []
    for reading in readings:
        rules = []
        for rule in reading.rules:
            own = [name for target in rule.names for name in exports.get(target, ())]
            rules.append(replace(rule, exported=tuple(dict.fromkeys((*exported, *own)))))
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
                f"its recipes run in {shells[0]}" if shells else "",
            )
        )
    return tuple(found)


def _read(now: _Reading, text: str) -> None:
    """Read one file to its end."""
    now.readings.append(now)
    outer = len(now.conditions)
    now.lines = text.split("\n")
    if now.lines[-1] == "":
        now.lines.pop()
    at = 0
    while at < len(now.lines):
        at = _line(now, at)
    now.close()
    if len(now.conditions) > outer:
        raise _invalid(now.path, len(now.lines), f"{now.conditions[-1].split(':', 1)[-1].strip()} has no endif")
    now.lines = [line + "\n" for line in now.lines]
    if now.lines and not text.endswith("\n"):
        now.lines[-1] = now.lines[-1][:-1]


def _posix(shell: str) -> bool:
    return shell.replace("/usr/bin/env ", "").split()[:1] == [] or bool(
        re.fullmatch(r"(?:\S*/)?(?:ba|da|z|k|a)?sh(?:\.exe)?", shell.replace("/usr/bin/env ", "").split()[0])
    )


def _invalid(path: str, line: int, why: str) -> Problem:
    return Problem(
        "makefile-invalid",
        f"{path}:{line}: {why}.",
        causes=["make stops at this line, too"],
        hint=f"make -n -f {path}    (shows what make says)",
    )


def _bare(line: str) -> str:
    return line[:-1] if line.endswith("\r") else line


def _continued(line: str) -> bool:
    bare = _bare(line)
    return (len(bare) - len(bare.rstrip("\\"))) % 2 == 1


def _last_of(now: _Reading, at: int) -> int:
    """The last line of the logical line that begins here."""
    while at + 1 < len(now.lines) and _continued(now.lines[at]):
        at += 1
    return at


def _logical(now: _Reading, first: int, last: int) -> str:
    """The lines as one: make collapses a continuation, and the blanks around it, into one blank."""
    text = _bare(now.lines[first])
    if first == 0 and text.startswith("\ufeff"):
        text = text[1:]
    for line in now.lines[first + 1 : last + 1]:
        text = (text[:-1] if _odd(text) else text).rstrip(" \t") + " " + _bare(line).lstrip(" \t")
    return text


def _odd(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _without_comment(text: str) -> str:
    """The text before an unescaped `#`."""
    for found in re.finditer(r"(\\*)#", text):
        if len(found[1]) % 2 == 0:
            return text[: found.end() - 1]
    return text


def _line(now: _Reading, at: int) -> int:
    """Read the logical line that begins here; returns the next one's number."""
    last = _last_of(now, at)
    if now.open is not None and now.lines[at].startswith(now.prefix):
        _recipe_line(now, at, last)
        return last + 1
    whole = _logical(now, at, last)
    line = _without_comment(whole).lstrip(" \t\r\f\v")  # the blanks at the end belong to a value
    if not line.strip():
        return last + 1
    if _RUNS.search(line):
        now.runs.append(at + 1)
    if _CONDITION.match(line):
        _condition(now, at, line)
        return last + 1
    modifiers, rest = _modifiers(line)
    if "define" in modifiers:
        return _define(now, at, rest)
    assigned = None if "undefine" in modifiers else _assignment(rest)
    if assigned:
        now.close()
        _assign(now, at, assigned, exported="export" in modifiers)
    elif "undefine" in modifiers:
        now.close()
        now.variables.values.pop(rest.strip(), None)
    elif re.match(r"(export|unexport)(\s|$)", line):
        now.close()
        if line.startswith("export"):
            names = (expansion.expand(line[6:], now.variables.values) or "").split()
            now.exported += names
            if not names and not line[6:].strip():
                now.notes.append(f"line {at + 1}: exports every variable; cargo tasks get them only by --env NAME")
    elif found := _INCLUDE.match(line):
        now.close()
        _include(now, at, line[found.end() :].strip(), optional=found[1] != "include")
    elif re.match(r"(vpath|load|-load)(\s|$)", line):
        now.close()
        now.notes.append(f"line {at + 1}: `{line}` is not read, and stays as it is")
    else:
        _rule(now, at, last, whole)
    return last + 1


def _recipe_line(now: _Reading, at: int, last: int) -> None:
    assert now.open is not None  # noqa: S101 - the caller looked
    parts = [_bare(now.lines[at])[len(now.prefix) :]]
    parts += [_bare(line).removeprefix(now.prefix) for line in now.lines[at + 1 : last + 1]]
    text = "\n".join(parts)
    if now.conditions != list(now.open.rule.conditions):
        now.open.mixed = True
    if text.strip():
        now.open.steps.append(Step(at, last, text))


def _modifiers(line: str) -> tuple[set[str], str]:
    """`export`, `override`, `private`, `define`, `undefine` in front of a definition."""
    found: set[str] = set()
    rest = line
    while True:
        word = re.match(r"(export|override|private|define|undefine)(?=[ \t]|$)", rest)
        if not word or (after := rest[word.end() :].lstrip(" \t"))[:1] in ("=", ":", "?", "+", "!"):
            break
        found.add(word[1])
        rest = after
        if word[1] in ("define", "undefine"):
            return found, rest
    if found and not _assignment(rest):
        return set(), line
    return found, rest


def _assignment(line: str) -> tuple[str, str, str] | None:
    """Name, operator and value if this is a definition, as make decides it."""
    at = 0
    while at < len(line):
        character = line[at]
        if character == "$":
            at = reference_end(line, at)
            continue
        if character in " \t":
            found = _OPERATOR.match(line, at)
            return (line[:at], found[1], line[found.end() :].lstrip(" \t")) if found else None
        if found := _OPERATOR.match(line, at):
            return (line[:at], found[1], line[found.end() :].lstrip(" \t")) if at else None
        if character in ":#":
            return None
        at += 1
    return None


def _assign(now: _Reading, at: int, assigned: tuple[str, str, str], *, exported: bool) -> None:
    name = expansion.expand(assigned[0], now.variables.values)
    if name is None:
        now.notes.append(f"line {at + 1}: the name of the variable `{assigned[0]}` is not known without running make")
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
        now.shells.add(now.variables.values[name].text or "a shell that is not known")


def _define(now: _Reading, at: int, rest: str) -> int:
    """A definition of several lines; returns the line after its `endef`."""
    now.close()
    head = _assignment(rest) or (rest.strip(), "=", "")
    body: list[str] = []
    depth, i = 1, at + 1
    while i < len(now.lines):
        line = _bare(now.lines[i])
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
    raise _invalid(now.path, at + 1, f"define {head[0].strip()} has no endef")


def _condition(now: _Reading, at: int, line: str) -> None:
    found = _CONDITION.match(line)
    word = found[1] if found else ""
    if word in ("else", "endif"):
        if not now.conditions:
            raise _invalid(now.path, at + 1, f"{word} has no condition before it")
        now.conditions.pop()
        if word == "else":
            now.conditions.append(f"{at + 1}: {line}")
    else:
        now.conditions.append(f"{at + 1}: {line}")


def _include(now: _Reading, at: int, written: str, *, optional: bool) -> None:
    names = expansion.expand(written, now.variables.values)
    for name in (names or "").split() or ([] if names is not None else [""]):
        path = "" if re.search(r"[*?\[]", name) else name
        now.includes.append(Include(at + 1, written, path, optional))
        text = now.load(path) if path and all(path != reading.path for reading in now.readings) else None
        if text is not None:
            inner = _Reading(path, [], now.variables, load=now.load, readings=now.readings)
            inner.conditions, inner.prefix = list(now.conditions), now.prefix
            _read(inner, text)


def _header_end(line: str) -> tuple[int, str]:
    """Where the targets and prerequisites end: at an unescaped `;` or `#` outside references, and which it is."""
    at = 0
    while at < len(line):
        if line[at] == "$":
            at = reference_end(line, at)
        elif line[at] == "\\":
            at += 2
        elif line[at] in ";#":
            return at, line[at]
        else:
            at += 1
    return len(line), ""


def _colon(text: str) -> int:
    at = 0
    while at < len(text):
        if text[at] == "$":
            at = reference_end(text, at)
        elif text[at] == "\\":
            at += 2
        elif text[at] == ":":
            return at
        else:
            at += 1
    return -1


def _rule(now: _Reading, at: int, last: int, whole: str) -> None:
    now.close()
    end, stop = _header_end(whole)
    head = whole[:end].strip(" \t")
    if stop == ";" and _target_specific(now, at, _without_comment(whole).strip()):
        return
    colon = _colon(head)
    if colon < 0:
        if head.startswith("$"):
            now.notes.append(f"line {at + 1}: `{head}` makes rules only when make runs; it stays as it is")
            return
        raise _invalid(now.path, at + 1, "it is neither a rule nor a definition (missing separator)")
    if _target_specific(now, at, head):
        return
    grouped = head[:colon].endswith("&")
    targets = _names(now, head[:colon].removesuffix("&"))
    double = head.startswith("::", colon)
    rest = head[colon + (2 if double else 1) :]
    static = _colon(rest)
    needs = _names(now, rest[static + 1 :] if static >= 0 else rest) or ()
    help_text = _help(whole[end:]) if stop == "#" else ""
    if targets is None:
        now.notes.append(f"line {at + 1}: the targets `{head[:colon].strip()}` are not known without running make")
        targets = ()
    if SPECIAL.fullmatch(targets[0] if targets else ""):
        _special(now, targets[0], needs)
        now.open = None
        return
    why = (
        f"it is inside a condition (line {now.conditions[-1]})"
        if now.conditions
        else "a double-colon rule"
        if double
        else "one recipe that makes several targets (&:)"
        if grouped
        else "a recipe that begins on the target's own line and continues on the next"
        if stop == ";" and last > at
        else "its name is not known without running make"
        if not targets
        else ""
    )
    rule = Rule(
        now.path,
        at,
        last,
        targets,
        tuple(n for n in needs if n != "|"),
        help_text,
        kept=why,
        prefix=now.prefix,
        inline=stop == ";",
        pattern=any("%" in t for t in targets) or static >= 0,
        conditions=tuple(now.conditions),
    )
    first = [Step(at, last, whole[end + 1 :].strip(" \t"))] if stop == ";" and whole[end + 1 :].strip() else []
    now.open = _Open(rule, first)


def _names(now: _Reading, text: str) -> tuple[str, ...] | None:
    whole = expansion.expand(text, now.variables.values)
    if whole is None:
        return None
    words = re.findall(r"(?:\\.|[^\s\\])+|\\$", whole)
    return tuple(re.sub(r"\\([:#%\s])", r"\1", word) for word in words)


def _help(comment: str) -> str:
    found = re.match(r"##+\s*(.*)", comment)
    return found[1].strip() if found else ""


def _target_specific(now: _Reading, at: int, head: str) -> bool:
    """`target: NAME = value`: a variable of that target only."""
    colon = _colon(head)
    if colon < 0 or (head.startswith("::", colon) and not head.startswith("::=", colon)):
        return False
    rest = head[colon + 1 :].strip(" \t")
    modifiers, rest = _modifiers(rest)
    assigned = _assignment(rest)
    if not assigned or not re.fullmatch(r"[^\s:]+", assigned[0]):
        return False
    targets = _names(now, head[:colon]) or ()
    now.specific |= set(targets)
    if "export" in modifiers:
        for target in targets:
            now.target_exports.setdefault(target, []).append(assigned[0])
    # its value holds for some targets only: it counts as not known
    now.variables.define(assigned[0], "=", assigned[2], conditional=True)
    if assigned[1] == "!=":
        now.runs.append(at + 1)
    return True


def _special(now: _Reading, name: str, needs: tuple[str, ...]) -> None:
    now.special[name] = needs
    if name == ".PHONY":
        now.phony |= set(needs)
    elif name in (".ONESHELL", ".POSIX"):
        now.notes.append(f"{name} is set; it stays")
