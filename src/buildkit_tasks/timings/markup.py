"""HTML from untrusted text; the only place that escapes values. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def text(value: object, width: int = 300) -> str:
    """A value as HTML, in elements and in attributes, without characters that are invisible or reorder the text."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in str(value)[: width + 1])
    return html.escape(shown if len(shown) <= width else f"{shown[: width - 1]}…", quote=True)


def seconds(value: float | None) -> str:
    """`2.35 s`, `41.2 s`, `6:04 min`; a dash if unknown."""
    if value is None:
        return "–"
    if value < 59.95:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{round(value) // 60}:{round(value) % 60:02d} min"


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A scrollable table, usable from the keyboard. Cells are HTML; a leading # in a heading marks a number column."""
    numbers = [heading.startswith("#") for heading in headings]
    head = "".join(
        f'<th scope="col"{" class=n" if n else ""}>{text(h.lstrip("#"))}</th>'
        for h, n in zip(headings, numbers, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(_cell(cell, number, at) for at, (cell, number) in enumerate(zip(row, numbers, strict=True)))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: str, number: bool, at: int) -> str:
    if at == 0:
        return f'<th scope="row" class="step">{cell}</th>'
    return f'<td class="n">{cell}</td>' if number else f"<td>{cell}</td>"
