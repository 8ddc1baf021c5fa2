"""The file with the same names, whose replaced recipes call our tasks. Every other byte stays. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .mapping import Row
from .model import Source

#: The line above the targets that we make phony.
MARK = "# These targets call tasks (import-makefile); they name no files."


def text(source: Source, rows: Sequence[Row], *, phony: bool = True) -> str:
    """The file's new text; the same text if no row replaces anything. `phony`: a Makefile, which lists such targets."""
    lines = list(source.lines)
    for row in sorted(_own(source, rows), key=lambda r: r.rule.first, reverse=True):
        if row.replaced:
            _replace(lines, source, row)
    missing = _not_phony(source, rows) if phony else ()
    if missing:
        _add_phony(lines, min(row.rule.first for row in _own(source, rows) if row.replaced), missing, source.newline)
    return "".join(lines)


def _add_phony(lines: list[str], first: int, names: Sequence[str], newline: str) -> None:
    """List targets as phony: where the last import did, or above the first that is replaced."""
    for i, line in enumerate(lines[:-1]):
        if line.rstrip() == MARK and lines[i + 1].startswith(".PHONY:"):
            lines[i + 1] = f"{lines[i + 1].rstrip()} {' '.join(names)}{newline}"
            return
    at = first
    while at > 0 and lines[at - 1].startswith("#"):  # the comment belongs to the target
        at -= 1
    if at > 0 and lines[at - 1].rstrip().endswith("\\"):
        at = first
    lines[at:at] = [MARK + newline, f".PHONY: {' '.join(names)}{newline}", newline]


def _own(source: Source, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.rule.path == source.path]


def _replace(lines: list[str], source: Source, row: Row) -> None:
    """Put the row's text in place of its recipe."""
    steps = row.rule.steps
    newline, prefix = source.newline, row.rule.prefix
    if len(row.text) == len(steps):
        for step, new in reversed(list(zip(steps, row.text, strict=True))):
            if new != step.text:
                _put(lines, row, step.first, step.last, new, prefix, newline)
        return
    first, last = steps[0].first, steps[-1].last  # the user chose a task in place of the whole recipe
    _put(lines, row, first, last, "\n".join(row.text), prefix, newline)


def _put(lines: list[str], row: Row, first: int, last: int, new: str, prefix: str, newline: str) -> None:
    recipe = [prefix + line + newline for line in new.split("\n")]
    if not lines[last].endswith("\n"):
        recipe[-1] = recipe[-1].removesuffix(newline)
    if row.rule.inline and first == row.rule.first:
        head = lines[first][: lines[first].index(";")].rstrip()
        recipe.insert(0, head + newline)
    lines[first : last + 1] = recipe


def _not_phony(source: Source, rows: Sequence[Row]) -> tuple[str, ...]:
    """Replaced targets that make would take for files."""
    own = _own(source, rows)
    found = [name for row in own if row.replaced and not row.rule.pattern for name in row.rule.names]
    return tuple(dict.fromkeys(_escaped(name) for name in found if name not in source.phony))


def _escaped(name: str) -> str:
    return name.replace("$", "$$").replace(":", "\\:").replace("#", "\\#")
