"""Generates HTML from untrusted text. Only this module escapes values. Pure.

Pages contain neither scripts nor external resources, and their Content-Security-Policy forbids both.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from .style import CSS

_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<main>
"""


def document(title: str, parts: Iterable[str], css: str = "") -> str:
    """Return a whole page with a heading. `css`: added to the style sheet of all pages."""
    body = "\n".join(parts)
    return (
        f"{_HEAD.format(title=text(title), css=CSS + css)}<h1>{text(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def tiles(facts: Iterable[tuple[str, str, str]]) -> str:
    """Return the most important facts at the top of a page: (name, value, more about it), as text."""
    cells = "".join(
        f"<div><dt>{text(n)}</dt><dd>{text(v)}<small>{text(more)}</small></dd></div>" for n, v, more in facts
    )
    return f'<dl class="facts">{cells}</dl>'


def bullets(notes: Iterable[str]) -> str:
    """Return notes as a list. The notes are HTML."""
    items = "".join(f"<li>{note}</li>\n" for note in notes)
    return f'<ul class="notes">{items}</ul>'


def text(value: object, width: int = 300) -> str:
    """Return a value as HTML for elements and attributes, without invisible or reordering characters."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in str(value)[: width + 1])
    return html.escape(shown if len(shown) <= width else f"{shown[: width - 1]}…", quote=True)


def seconds(value: float | None) -> str:
    """Format a duration as `2.35 s`, `41.2 s` or `6:04 min`, or as a dash if unknown."""
    if value is None:
        return "–"
    if value < 59.95:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{round(value) // 60}:{round(value) % 60:02d} min"


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a scrollable, keyboard-accessible table of HTML cells. A leading # in a heading marks a number column."""
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
