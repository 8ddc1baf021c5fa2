"""Generate the new file: replaced recipes call tasks, and all other bytes are unchanged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import syntax
from .mapping import Row
from .model import Source

#: The comment above the targets that we declare phony, and its start, which identifies it.
_START = "# These targets call tasks (import-makefile)"
MARK = f"{_START} and are not files."


@dataclass(frozen=True)
class Edit:
    """Lines `first` to `last` (counted from 0, excluding `last`) and the lines that replace them."""

    first: int
    last: int
    lines: tuple[str, ...]


def text(source: Source, rows: Sequence[Row], *, phony: bool = True) -> str:
    """Return the file's new text, unchanged if no row replaces anything. `phony`: whether to declare phony targets."""
    parts: list[str] = []
    at = 0
    for edit in edits(source, rows, phony=phony):
        parts += [*source.lines[at : edit.first], *edit.lines]
        at = edit.last
    return "".join([*parts, *source.lines[at:]])


def edits(source: Source, rows: Sequence[Row], *, phony: bool = True) -> list[Edit]:
    """Return the changes in the order of the file."""
    own = [row for row in rows if row.rule.path == source.path and row.replaced]
    found = [edit for row in own for edit in _of_row(source, row)]
    missing = _not_phony(source, own) if phony else ()
    if missing:
        found.append(_phony(source, min(row.rule.first for row in own), missing))
    return sorted(found, key=lambda edit: (edit.first, edit.last))


def diff(source: Source, changes: Sequence[Edit], around: int = 3) -> str:
    """Return the changes as a unified diff. difflib can take minutes if every other line changes."""
    out = [f"--- a/{source.path}", f"+++ b/{source.path}"] if changes else []
    grouped: list[list[Edit]] = []
    for edit in changes:
        if grouped and edit.first - grouped[-1][-1].last <= 2 * around:
            grouped[-1].append(edit)
        else:
            grouped.append([edit])
    shift = 0
    for group in grouped:
        first, last = max(0, group[0].first - around), min(len(source.lines), group[-1].last + around)
        more = sum(len(edit.lines) - (edit.last - edit.first) for edit in group)
        out.append(f"@@ -{first + 1},{last - first} +{first + 1 + shift},{last - first + more} @@")
        at = first
        for edit in group:
            out += [f" {line}" for line in source.lines[at : edit.first]]
            out += [f"-{line}" for line in source.lines[edit.first : edit.last]]
            out += [f"+{line}" for line in edit.lines]
            at = edit.last
        out += [f" {line}" for line in source.lines[at:last]]
        shift += more
    return "\n".join(line.rstrip("\r\n") for line in out)


def _of_row(source: Source, row: Row) -> list[Edit]:
    """Replace the row's recipe with its text."""
    steps = row.rule.steps
    if len(row.text) == len(steps):
        changed = [(step, new) for step, new in zip(steps, row.text, strict=True) if new != step.text]
        return [_edit(source, row, step.first, step.last, new) for step, new in changed]
    # the user chose a task in place of the whole recipe
    return [_edit(source, row, steps[0].first, steps[-1].last, "\n".join(row.text))]


def _edit(source: Source, row: Row, first: int, last: int, new: str) -> Edit:
    newline = source.newline
    recipe = [row.rule.prefix + line + newline for line in new.split("\n")]
    if not source.lines[last].endswith("\n"):
        recipe[-1] = recipe[-1].removesuffix(newline)
    if row.rule.inline and first == row.rule.first:
        line = source.lines[first]
        recipe.insert(0, line[: syntax.header_end(line)[0]].rstrip() + newline)
    return Edit(first, last + 1, tuple(recipe))


def _phony(source: Source, first: int, names: Sequence[str]) -> Edit:
    """Declare targets as phony: on the line of an earlier import, if any, else above the first replaced target."""
    lines, newline = source.lines, source.newline
    for i, line in enumerate(lines[:-1]):
        if line.startswith(_START) and lines[i + 1].startswith(".PHONY:"):
            return Edit(i + 1, i + 2, (f"{lines[i + 1].rstrip()} {' '.join(names)}{newline}",))
    at = first
    while at > 0 and lines[at - 1].startswith("#"):  # the comment belongs to the target
        at -= 1
    if at > 0 and lines[at - 1].rstrip().endswith("\\"):
        at = first
    return Edit(at, at, (MARK + newline, f".PHONY: {' '.join(names)}{newline}", newline))


def _not_phony(source: Source, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the replaced targets that make would treat as files."""
    found = [name for row in rows if not row.rule.pattern for name in row.rule.names]
    return tuple(dict.fromkeys(_escaped(name) for name in found if name not in source.phony))


def _escaped(name: str) -> str:
    return name.replace("$", "$$").replace(":", "\\:").replace("#", "\\#")
