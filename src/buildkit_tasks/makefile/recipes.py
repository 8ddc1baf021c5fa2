"""Map a recipe's commands to tasks, but only if they certainly have the same effect. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.equivalents import of_cargo, of_database, of_docker, words
from buildkit_tasks.equivalents.calls import Call, Facts, Stays, Unfit
from buildkit_tasks.equivalents.words import Command, Syntax, Word

from .model import Rule, Step

#: Maximum length of a line to split.
_LONGEST = 10_000
#: Commands that show or extract a Makefile's help.
_SHOWS = re.compile(
    r"\b(grep|awk|sed|perl)\b.*\bMakefile\b|\bMAKEFILE_LIST\b"
    r"|^(just|\{\{\s*just(_executable\(\))?\s*\}\})\s+(--list|-l)\b",
    re.DOTALL,
)


@dataclass(frozen=True)
class Line:
    """One line of a recipe: its calls in order, the text that replaces it, or why it is kept.

    `why` and `calls` are both empty for a line that only prints.
    """

    step: Step
    text: str
    calls: tuple[Call, ...] = ()
    why: str = ""
    perhaps: Call | None = None
    ours: bool = False
    group: bool = False


def line(step: Step, syntax: Syntax, facts: Facts, invoke: str, prefixes: str = "@+-") -> Line:
    """Map one line. `invoke`: the command that calls our tasks; `prefixes`: characters allowed before a command."""
    found = re.match(rf"[ \t]*(?:[{prefixes}][ \t]*)*", step.text)
    start = found.end() if found else 0
    body = step.text[start:]
    if len(body) > _LONGEST:
        return Line(step, step.text, why=f"the line is longer than {_LONGEST} characters")
    if _SHOWS.search(body):
        return Line(step, step.text, group=True)
    taken = words.split(body, syntax)
    if taken.why:
        return Line(step, step.text, why=taken.why)
    calls: list[Call] = []
    ours = group = False
    pieces: list[str] = []
    at = 0
    for command in taken.commands:
        if words.harmless(command):
            continue
        if _ours(command):
            ours = True
            continue
        if _another_target(command):
            group = True
            continue
        made = _command(command, facts)
        if isinstance(made, Stays):
            return Line(step, step.text, why=made.why, perhaps=made.perhaps)
        calls.append(made)
        pieces += [body[at : command.first], made.text(invoke)]
        at = command.last
    text = step.text[:start] + "".join(pieces) + body[at:]
    return Line(step, text, tuple(calls), ours=ours, group=group)


def _ours(command: Command) -> bool:
    """Return whether the command already calls a task."""
    names = [word.value or "" for word in command.words[:2]]
    first = names[0].rpartition("/")[2]
    return (
        first in ("invoke", "inv", "buildkit-tasks")
        or (first in ("dev", "uvx") and names[1:2] in (["invoke"], ["buildkit-tasks"]))
        or names[0] == "nox"
    )


def _another_target(command: Command) -> bool:
    """Return whether the command runs another target of the same file."""
    raw = command.words[0].raw
    if raw not in ("$(MAKE)", "${MAKE}", "just", "make", "{{just_executable()}}", "{{ just_executable() }}"):
        return False
    return not any((w.value or w.raw).startswith(("-C", "-f", "--dir", "--file")) for w in command.words[1:])


def _command(command: Command, facts: Facts) -> Call | Stays:
    env, rest = command.env, list(command.words)
    program = rest[0].value
    if program is None:
        return Stays(f"the program that {rest[0].raw} refers to is unknown")
    try:
        return _program(program, env, rest[1:], facts)
    except Unfit as reason:
        return Stays(str(reason), reason.perhaps)


def _program(program: str, env: Sequence[Word], rest: Sequence[Word], facts: Facts) -> Call | Stays:
    values = [word.value or word.raw for word in rest[:3]]
    if program == "docker" and values[:1] == ["compose"]:
        return of_docker.compose(env, rest[1:], facts)
    if program == "docker-compose":
        return of_docker.compose(env, rest, facts)
    if program == "docker":
        return of_docker.docker(env, rest, facts)
    if program == "cargo" and values[:1] == ["sqlx"]:
        return of_database.sqlx(env, rest[1:], facts)
    if program == "cargo":
        return of_cargo.call(env, rest, facts)
    if program in of_database.PROGRAMS:
        return of_database.PROGRAMS[program](env, rest, facts)
    if program == "rm" and [v.strip("./") for v in values if not v.startswith("-")] == ["target"]:
        return Call("cargo.clean", note="the host's target directory is kept")
    if program == "cd":
        return Stays(f"the command runs in a different directory ({' '.join(values)})")
    if program in ("$(MAKE)", "make"):
        return Stays("the command runs a different Makefile")
    return Stays(f"no task replaces `{' '.join([program, *values[:2]])}`")


def lines(rule: Rule, syntax: Syntax, facts: Facts, invoke: str, prefixes: str = "@+-") -> list[Line]:
    """Map each line of a recipe."""
    return [line(step, syntax, facts, invoke, prefixes) for step in rule.steps]
