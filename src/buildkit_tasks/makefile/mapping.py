"""Map each target to the task that replaces its recipe, or to the reason for keeping it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.core import lists
from buildkit_tasks.equivalents import names
from buildkit_tasks.equivalents.calls import Call, Facts
from buildkit_tasks.equivalents.words import Syntax

from . import recipes
from .model import Rule, Source
from .recipes import Line

#: Kinds of rows: a task does what the recipe does; the recipe already calls a task; it only runs other targets or
#: prints; the user chose the task (`--accept`); a task comes close; no task comes close.
CERTAIN, OURS, STAYS, ACCEPTED, PERHAPS, NONE = "certain", "ours", "stays", "accepted", "perhaps", "none"


@dataclass(frozen=True)
class Row:
    """One rule and the result of mapping it.

    `text` replaces its recipe if `kind` is certain or accepted: one text per step, or a single text. `left`: the
    lines of the recipe that no task replaces.
    """

    rule: Rule
    kind: str
    calls: tuple[Call, ...] = ()
    text: tuple[str, ...] = ()
    why: str = ""
    left: tuple[str, ...] = ()
    used: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The names of its targets."""
        return " ".join(self.rule.names) or "?"

    @property
    def acceptable(self) -> bool:
        """Whether the user can choose the nearest task in place of its recipe."""
        return self.kind == PERHAPS and bool(self.calls) and not self.rule.kept and not self.rule.pattern

    @property
    def replaced(self) -> bool:
        """Whether its recipe changes."""
        return self.kind in (CERTAIN, ACCEPTED)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the replacement differs from the recipe."""
        return tuple(dict.fromkeys(call.note for call in self.calls if call.note))


@dataclass(frozen=True)
class Language:
    """The properties of Makefiles or justfiles that the mapping needs. `files`: whether a target can be a file."""

    syntax: Callable[[Rule], Syntax]
    prefixes: str
    variables: re.Pattern[str]
    files: bool = False


def rows(
    sources: Sequence[Source], language: Language, facts: Facts, invoke: str, *, accept: Collection[str] = ()
) -> tuple[Row, ...]:
    """Return one row per rule of the files. `accept`: targets that the user replaces with the nearest task."""
    twice = _twice([rule for source in sources for rule in source.rules])
    found = []
    for source in sources:
        for rule in source.rules:
            built = _builds_file(rule, sources) if language.files else ""
            kept = source.shell or rule.kept or _defined_twice(rule, twice)
            found.append(_row(replace(rule, kept=kept, file=built), language, facts, invoke, accept))
    return tuple(_clean_last(found, accept))


def _clean_last(found: list[Row], accept: Collection[str]) -> list[Row]:
    """Keep `cargo clean` if other targets compile on the host: `cargo.clean` ignores the host's target directory."""
    host = [
        row.name
        for row in found
        if not row.replaced and any(re.search(r"\bcargo\s+(?!clean|sqlx|install)", s.text) for s in row.rule.steps)
    ]
    if not host:
        return found
    why = f"cargo.clean does not remove the host's target directory, which the target {host[0]} still uses"
    return [
        Row(row.rule, PERHAPS, row.calls, why=why, left=tuple(step.text for step in row.rule.steps))
        if row.kind == CERTAIN
        and any(call.task == "cargo.clean" for call in row.calls)
        and not set(row.rule.names) & set(accept)
        else row
        for row in found
    ]


def _twice(rules: Sequence[Rule]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for rule in rules:
        for name in rule.names if rule.steps else ():
            counts[name] = counts.get(name, 0) + 1
    return counts


def _defined_twice(rule: Rule, counts: Mapping[str, int]) -> str:
    return "two rules have this name" if any(counts.get(name, 0) > 1 for name in rule.names) else ""


def _builds_file(rule: Rule, sources: Sequence[Source]) -> str:
    """Return why make runs this rule only if a file is missing or outdated; empty if the targets are or look phony.

    Without `.PHONY`, a target is a file if its name is a path or if it depends on files, which no rule builds.
    """
    name = rule.names[0] if rule.names else ""
    phony = {each for source in sources for each in source.phony}
    if not name or rule.pattern or set(rule.names) <= phony:
        return ""
    if any("/" in each for each in rule.names if each not in phony) or rule.computed:
        return f"the target builds the file {name}"
    targets = {each for source in sources for other in source.rules for each in other.names} | phony
    read = {source.path for source in sources}
    unread = any(include.path not in read for source in sources for include in source.includes)
    unread = unread or any(source.makes_rules for source in sources)
    files = [need for need in rule.prerequisites if need not in targets and (not unread or re.search(r"[./*]", need))]
    return f"the target builds the file {name} from {files[0]}" if files else ""


def _row(rule: Rule, language: Language, facts: Facts, invoke: str, accept: Collection[str]) -> Row:
    if not rule.steps:
        return Row(rule, STAYS, why=f"runs {' '.join(rule.prerequisites)}" if rule.prerequisites else "does nothing")
    here = replace(facts, exported=rule.exported)
    syntax = language.syntax(rule)
    lines = recipes.lines(rule, syntax, here, invoke, language.prefixes)
    calls = tuple(call for line in lines for call in line.calls)
    missing = [line for line in lines if line.why]
    why = rule.kept or rule.file
    if not missing and not calls:
        return _without_tasks(rule, lines)
    if not missing and not why:
        return Row(rule, CERTAIN, calls, tuple(line.text for line in lines), used=_dropped(lines, language))
    near = _near(rule, missing, calls, facts)
    left = tuple(line.step.text for line in missing)
    if near and not rule.kept and not rule.pattern and set(rule.names) & set(accept):
        return Row(rule, ACCEPTED, (near,), (near.text(invoke),), left=left)
    reason = why or missing[0].why
    return Row(rule, PERHAPS if near else NONE, (near,) if near else (), why=reason, left=left)


def _without_tasks(rule: Rule, lines: Sequence[Line]) -> Row:
    if any(line.ours for line in lines):
        return Row(rule, OURS)
    if any(line.group for line in lines):
        return Row(
            rule, STAYS, why="shows the help" if "help" in rule.names else "runs other targets or shows the help"
        )
    return Row(rule, STAYS, why="only prints")


def _near(rule: Rule, missing: Sequence[Line], calls: Sequence[Call], facts: Facts) -> Call | None:
    """Return the nearest task: from the lines that no task replaces, else the target's name, else the other lines."""
    from_lines = next((line.perhaps for line in missing if line.perhaps), None)
    by_name = next((call for name in rule.names if (call := names.nearest(name)) and _likely(call, rule, facts)), None)
    return from_lines or by_name or (calls[0] if calls else None)


def _likely(call: Call, rule: Rule, facts: Facts) -> bool:
    """Return whether a service or crate known only from the target's name may exist."""
    flag = next((flag for flag in ("--service", "--crate") if flag in call.words), "")
    if not flag:
        return True
    name = call.words[call.words.index(flag) + 1]
    if flag == "--service" and facts.services is not None:
        return bool(lists.matching(name, facts.services))
    program = "cargo" if call.task.startswith("cargo.") else "docker"
    return any(re.search(rf"\b{program}\b", step.text) for step in rule.steps)


def _dropped(lines: Sequence[Line], language: Language) -> tuple[str, ...]:
    """Return the variables that the recipe uses but its replacement does not."""
    before = {name for line in lines for name in language.variables.findall(line.step.text)}
    after = {name for line in lines for name in language.variables.findall(line.text)}
    return tuple(sorted(before - after))
