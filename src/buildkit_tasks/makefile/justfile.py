"""Read a justfile without running anything: recipes, parameters, aliases, settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.equivalents.words import Syntax

from .mapping import Language
from .model import Include, Rule, Source, Step

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_ASSIGNMENT = re.compile(rf"(export\s+|eager\s+)?({_NAME})\s*:=\s*(.*)", re.DOTALL)
_ALIAS = re.compile(rf"alias\s+({_NAME})\s*:=\s*([\w:-]+)")
_IMPORT = re.compile(r"import(\?)?\s+['\"]([^'\"]+)['\"]")
_SETTING = re.compile(r"set\s+([\w-]+)(?:\s*:=\s*(.*))?", re.DOTALL)
_HEADER = re.compile(rf"@?({_NAME})(?=[\s:])")
#: Maximum length of a recipe's header. just has no limit, but real headers are shorter.
_LONGEST = 10_000
#: Attributes that change where or how a recipe runs.
_ELSEWHERE = {
    "working-directory": "the recipe runs in a different directory",
    "no-cd": "the recipe runs in the caller's directory",
    "script": "the recipe is a script",
}


@dataclass
class _Reading:
    path: str
    lines: list[str]
    rules: list[Rule] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    exported: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shell: str = ""
    attributes: list[str] = field(default_factory=list)
    comment: str = ""


def read(path: str, text: str, load: Callable[[str], str | None] = lambda _path: None) -> tuple[Source, ...]:
    """Read a justfile and the files it imports, in that order. `load` returns a file's text, or None to skip it.

    Raises `Problem` makefile-invalid for a line that just itself rejects.
    """
    readings = [_read(path, text)]
    for now in readings:  # imports add to this list
        for include in now.includes:
            beside = str(PurePosixPath(now.path).parent / include.path).removeprefix("./")
            if all(other.path != beside for other in readings) and (more := load(beside)) is not None:
                readings.append(_read(beside, more))
    exported = [name for now in readings for name in now.exported]
    values = {name: value for now in readings for name, value in now.values.items()}
    shell = next((now.shell for now in readings if now.shell), "")
    return tuple(
        Source(
            now.path,
            tuple(now.lines),
            tuple(replace(rule, exported=tuple(dict.fromkeys((*exported, *rule.exported)))) for rule in now.rules),
            includes=tuple(now.includes),
            variables=values,
            notes=tuple(now.notes),
            shell=shell,
            aliases=now.aliases,
        )
        for now in readings
    )


def _read(path: str, text: str) -> _Reading:
    now = _Reading(path, text.split("\n"))
    if now.lines[-1] == "":
        now.lines.pop()
    at = 0
    while at < len(now.lines):
        at = _line(now, at)
    now.lines = [line + "\n" for line in now.lines]
    if now.lines and not text.endswith("\n"):
        now.lines[-1] = now.lines[-1][:-1]
    return now


def _line(now: _Reading, at: int) -> int:
    """Read the item that begins on this line; return the number of the line after it."""
    line = now.lines[at].rstrip("\r")
    if at == 0:
        line = line.removeprefix("\ufeff")
    if not line.strip():
        now.comment = ""
        return at + 1
    if line.startswith("#"):
        now.comment = line.lstrip("#").strip()
        return at + 1
    if line[0] in " \t":
        raise _invalid(now, at, "the line is indented but not part of a recipe")
    if line.startswith("["):
        now.attributes.append(line)
        return at + 1
    last = _end_of_expression(now, at)
    whole = "\n".join(text.rstrip("\r") for text in now.lines[at : last + 1])
    if found := _ALIAS.match(whole):
        now.aliases[found[1]] = found[2]
    elif found := _IMPORT.match(whole):
        now.includes.append(Include(at + 1, whole, found[2], optional=bool(found[1])))
    elif re.match(rf"mod\??\s+{_NAME}", whole):
        now.notes.append(f"line {at + 1}: `{whole.strip()}` is a module; its recipes are kept")
    elif re.match(r"unexport\s", whole):
        now.exported = [name for name in now.exported if name != whole.split()[1]]
    elif (found := _SETTING.match(whole)) and not whole.startswith("set :"):
        _setting(now, at, found[1], (found[2] or "").strip())
    elif found := _ASSIGNMENT.match(whole):
        if (found[1] or "").startswith("export"):
            now.exported.append(found[2])
        now.values[found[2]] = found[3].strip()
    else:
        return _recipe(now, at)
    now.attributes, now.comment = [], ""
    return last + 1


def _end_of_expression(now: _Reading, at: int) -> int:
    """Return the last line of a definition; strings and brackets may span several lines."""
    if ":=" not in now.lines[at]:
        return at
    depth, quote, i = 0, "", at
    while i < len(now.lines):
        line, k = now.lines[i], 0
        while k < len(line):
            if quote:
                if quote in ('"', '"""') and line[k] == "\\":
                    k += 2
                    continue
                if line.startswith(quote, k):
                    k += len(quote)
                    quote = ""
                    continue
            elif line[k] == "#":
                break
            elif found := re.compile(r"'''|\"\"\"|```|['\"`]").match(line, k):
                quote = found[0]
                k += len(quote)
                continue
            elif line[k] in "([{":
                depth += 1
            elif line[k] in ")]}":
                depth -= 1
            k += 1
        if not quote and depth <= 0 and not line.rstrip().endswith("\\"):
            return i
        i += 1
    raise _invalid(now, at, "the expression is not closed")


def _setting(now: _Reading, at: int, name: str, value: str) -> None:
    if name == "shell":
        program = re.match(r"\[\s*['\"]([^'\"]+)['\"]", value)
        if not program or not re.fullmatch(r"(?:\S*/)?(?:ba|da|z|k)?sh", program[1]):
            now.shell = f"the recipes in this file run in {program[1] if program else 'another shell'}"
    elif name == "working-directory":
        now.shell = "the recipes in this file run in a different directory"
    elif name == "export" and value in ("", "true"):
        now.notes.append(
            f"line {at + 1}: exports every variable, but cargo tasks receive only those passed with --env NAME"
        )


def _recipe(now: _Reading, at: int) -> int:
    line = now.lines[at].rstrip("\r")
    name = _HEADER.match(line)
    colon = _colon(line) if len(line) < _LONGEST else -1
    if not name or colon < 0:
        raise _invalid(now, at, "the line is not a recipe, a setting or an assignment")
    parameters, exported = _parameters(line[name.end() : colon])
    needs = re.sub(r"#.*", "", line[colon + 1 :])
    prerequisites = tuple(
        re.findall(rf"(?:^|(?<=[\s(]))({_NAME}(?:::{_NAME})*)", re.sub(r"\(([\w:-]+)[^()]*\)", r"\1", needs))
    )
    steps, last, prefix = _body(now, at + 1)
    attributes = " ".join(now.attributes)[:_LONGEST]
    why = next((why for word, why in _ELSEWHERE.items() if re.search(rf"[\[,]\s*{word}\b", attributes)), "")
    if steps and steps[0].text.startswith("#!"):
        why = "the recipe is a script with its own interpreter"
    documented = re.search(r"\bdoc\(\s*['\"]([^'\"]*)", attributes)
    now.rules.append(
        Rule(
            now.path,
            at,
            at,
            (name[1],),
            prerequisites,
            documented[1] if documented else now.comment,
            tuple(steps),
            why,
            prefix,
            exported=exported,
            parameters=parameters,
        )
    )
    now.attributes, now.comment = [], ""
    return last


def _colon(line: str) -> int:
    """Return the position of the colon after the name and parameters, outside strings and parentheses."""
    quote, depth = "", 0
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character in "({[":
            depth += 1
        elif character in ")}]":
            depth -= 1
        elif character == ":" and depth == 0 and not line.startswith(":=", i):
            return i
    return -1


def _parameters(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parameters, as stored in `Rule`, and the exported ones."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\([^)]*\)", "_", text)
    found, exported = [], []
    for word in re.finditer(rf"([*+]?)(\$?)({_NAME})\s*(=?)\s*\S*", plain):
        found.append(f"{word[1]}{word[3]}{word[4]}")
        if word[2]:
            exported.append(word[3])
    return tuple(found), tuple(exported)


def _body(now: _Reading, at: int) -> tuple[list[Step], int, str]:
    """Return the command lines of a recipe, the line after it, and its indentation."""
    steps: list[Step] = []
    indent, i, last = "", at, at
    while i < len(now.lines):
        line = now.lines[i].rstrip("\r")
        if not line.strip():
            i += 1
            continue
        if line[0] not in " \t":
            break
        if not indent:
            indent = line[: len(line) - len(line.lstrip(" \t"))]
        first = i
        while i + 1 < len(now.lines) and now.lines[i].rstrip("\r").endswith("\\"):
            i += 1
        texts = [text.rstrip("\r").removeprefix(indent) for text in now.lines[first : i + 1]]
        steps.append(Step(first, i, "\n".join(texts)))
        i += 1
        last = i
    return steps, max(last, at), indent or "    "


def _invalid(now: _Reading, at: int, why: str) -> Problem:
    return Problem(
        "makefile-invalid",
        f"{now.path}:{at + 1}: {why}.",
        causes=["the file is not a justfile, or it uses syntax that this version does not support"],
        hint=f"just --justfile {now.path} --list    (shows just's own error)",
    )


def language(values: Mapping[str, str]) -> Language:
    """Return the language of justfiles. `values`: expressions of variables; only plain strings can be resolved."""
    constants = {name: text for name, expression in values.items() if (text := _constant(expression)) is not None}

    def reference_end(text: str, at: int) -> int:
        if not text.startswith("{{", at) or text.startswith("{{{{", at):
            return at
        end = text.find("}}", at)
        return len(text) if end < 0 else end + 2

    def syntax(rule: Rule) -> Syntax:
        single = {p for p in rule.parameters if p[0] not in "*+" and not p.endswith("=")}
        named = {p.strip("*+=") for p in rule.parameters}

        def resolve(reference: str) -> str | None:
            name = reference[2:-2].strip()
            return None if name in named else constants.get(name)

        return Syntax(reference_end, resolve, lambda reference: reference[2:-2].strip() in single)

    return Language(syntax, "@-", re.compile(rf"\{{\{{\s*({_NAME})\s*\}}\}}"))


def _constant(expression: str) -> str | None:
    """Return the value of an expression that is a plain string, or that refers to the just program itself."""
    plain = re.fullmatch(r"'([^']*)'|\"([^\"\\]*)\"", expression.partition(" #")[0].strip())
    if plain:
        return plain[1] if plain[1] is not None else plain[2]
    return "just" if re.fullmatch(r"just_executable\(\)(\s*\+\s*['\"][^'\"]*['\"])*", expression) else None
