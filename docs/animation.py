"""An animated picture (SVG) of a terminal: the frames lie side by side, and CSS shows one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import pyte

#: The size of a character, and the margin and the title bar around the text, in pixels.
WIDTH, HEIGHT, MARGIN, BAR = 8.4, 18, 14, 34

BACKGROUND, FOREGROUND, DIM = "#1b1f27", "#d8dee9", "#8a93a5"
COLOURS = {
    "black": "#4c566a",
    "red": "#f07178",
    "green": "#a3d977",
    "brown": "#e6c274",
    "blue": "#82aaff",
    "magenta": "#d699e8",
    "cyan": "#7fd4e0",
    "white": "#e5e9f0",
}

#: Text with one style: column, text, colour, and whether it is bold.
Run = tuple[int, str, str, bool]
Row = tuple[Run, ...]


@dataclass(frozen=True)
class Frame:
    """The screen at a time in seconds. `note`: shown in the title bar."""

    at: float
    rows: tuple[Row, ...]
    note: str = ""


def rows(screen: pyte.Screen) -> tuple[Row, ...]:
    """Return the screen's content, with the cursor as a block."""
    made = []
    for y in range(screen.lines):
        line, runs = screen.buffer[y], list[Run]()
        for x in range(screen.columns):
            character = line[x]
            text, colour = character.data, _colour(character)
            if (x, y) == (screen.cursor.x, screen.cursor.y) and not screen.cursor.hidden:
                text, colour = "█", DIM
            if text == " ":
                continue
            if runs and runs[-1][2:] == (colour, character.bold) and runs[-1][0] + len(runs[-1][1]) >= x - 1:
                start, before, *style = runs[-1]
                runs[-1] = (start, before + " " * (x - start - len(before)) + text, *style)
            else:
                runs.append((x, text, colour, character.bold))
        made.append(tuple(runs))
    return tuple(made)


def _colour(character: pyte.screens.Char) -> str:
    name = character.bg if character.reverse and character.bg != "default" else character.fg
    if name == "default":
        return FOREGROUND
    name = name.removeprefix("bright")
    return COLOURS.get(name, f"#{name}" if len(name) == 6 else FOREGROUND)


def svg(title: str, columns: int, lines: int, frames: Sequence[Frame], end: float) -> str:
    """Return the picture. `end`: how many seconds the last frame stays. Without animation, only it is shown."""
    width, height = round(columns * WIDTH + 2 * MARGIN), lines * HEIGHT + MARGIN + BAR
    began, total = frames[0].at, frames[-1].at - frames[0].at + end
    known: dict[Row, int] = {}
    strip, steps = [], []
    for number, frame in enumerate(frames):
        uses = []
        for y, row in enumerate(frame.rows):
            if row:
                name = known.setdefault(row, len(known))
                uses.append(f'<use href="#r{name}" y="{y * HEIGHT}"/>')
        note = f'<text x="{width - 2 * MARGIN}" y="-18" text-anchor="end" fill="{DIM}">{frame.note}</text>'
        strip.append(f'<g transform="translate({number * width})">{"".join(uses)}{note if frame.note else ""}</g>')
        steps.append(f"{(frame.at - began) / total * 100:.3f}%{{transform:translateX({-number * width}px)}}")
    last = f"translateX({-(len(frames) - 1) * width}px)"
    texts = "".join(f'<g id="r{name}">{"".join(map(_text, row))}</g>' for row, name in known.items())
    dots = "".join(
        f'<circle cx="{18 + 20 * i}" cy="17" r="6" fill="{c}"/>'
        for i, c in enumerate(("#f07178", "#e6c274", "#a3d977"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{escape(title)}</title><style>'
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        f".film{{transform:{last};animation:film {total:.2f}s steps(1,end) infinite}}"
        f"@keyframes film{{{''.join(steps)}100%{{transform:{last}}}}}"
        "@media (prefers-reduced-motion:reduce){.film{animation:none}}"
        f'</style><rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>{dots}'
        f'<text x="{width / 2}" y="22" text-anchor="middle" fill="{DIM}">{escape(title)}</text><defs>{texts}</defs>'
        f'<svg x="{MARGIN}" y="0" width="{width - 2 * MARGIN}" height="{height}"><g class="film">'
        f'<g transform="translate(0,{BAR + 13})">{"".join(strip)}</g></g></svg></svg>\n'
    )


def _text(run: Run) -> str:
    x, text, colour, bold = run
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x * WIDTH:.1f}" textLength="{len(text) * WIDTH:.1f}" fill="{colour}"{weight}>{escape(text)}</text>'
    )
