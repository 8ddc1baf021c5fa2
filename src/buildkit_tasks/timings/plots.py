"""Charts of builds over time as SVG in HTML. Pure.

Coordinates are percentages, so a chart fits any width while its marks and labels keep their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from buildkit_tasks.core import units
from buildkit_tasks.history.model import Sizes

from . import points as data
from . import scales
from .markup import seconds, text
from .points import Point
from .scales import Scale

#: The shapes of the marks, one per kind of build: kinds must be distinguishable without colors.
_SHAPES = {
    "quiet": '<circle r="3.2"/>',
    "edit": '<circle r="3.6"/>',
    "deps": '<rect x="-3.6" y="-3.6" width="7.2" height="7.2"/>',
    "cold": '<path d="M0 -5L4.8 3.8H-4.8Z"/>',
    "failed": '<path d="M-3.6 -3.6L3.6 3.6M-3.6 3.6L3.6 -3.6"/>',
    "other": '<path d="M0 -4.6L4.6 0L0 4.6L-4.6 0Z"/>',
}
#: Number of services with a line, and number of colors.
LINES = 6
#: Maximum number of bars with gaps between them, and the maximum width of a bar, as a share of the chart's width.
SEPARATE, WIDEST = 60, 0.05


def shapes() -> str:
    """Return the definitions of the marks, once per page."""
    defined = "".join(f'<g id="mark-{name}" class="mark-{name}">{shape}</g>' for name, shape in _SHAPES.items())
    return f'<svg class="defs" aria-hidden="true" focusable="false"><defs>{defined}</defs></svg>'


def times(points: Sequence[Point]) -> str:
    """Return a chart of build times: a mark per build, which links to its row, and the running median of each kind."""
    scale = scales.durations([point.seconds for point in points])
    kinds = data.by_kind(points)
    at = {point.id: (n + 0.5) / len(points) for n, point in enumerate(points)}
    lines = []
    for name, of_kind in kinds.items():
        medians = data.running([point.seconds for point in of_kind])
        line = [(at[p.id], scale.at(m)) for p, m in zip(of_kind, medians, strict=True) if m is not None]
        if name != "failed" and len(line) > 1:
            lines.append(_line(line, f"line-{name}"))
    marks = (
        f'<a href="#build-{p.id}" tabindex="-1"><title>{text(about(p))}</title>'
        f'<use href="#mark-{p.kind}" x="{_percent(at[p.id])}" y="{_percent(1 - scale.at(p.seconds))}"/></a>'
        for p in points
    )
    words = {name: word for name, _, word in data.KINDS}
    legend = [
        (f'<svg><use href="#mark-{name}" x="50%" y="50%"/></svg>', f"{words[name]} ({len(of_kind)})")
        for name, of_kind in kinds.items()
    ]
    legend += [('<i class="median"></i>', f"median of up to {data.WINDOW} builds of the same kind")] if lines else []
    spread = f"{seconds(min(p.seconds for p in points))} to {seconds(max(p.seconds for p in points))}"
    summary = f"Duration of {units.counted(len(points), 'build')}: {spread}. The table of builds has the same data."
    drawn = [*marks, *lines]
    return _legend(legend) + _frame(summary, "duration, logarithmic", scale, drawn, _builds(points), high=True)


def about(point: Point) -> str:
    """Return a build on one line."""
    word = next(short for name, short, _ in data.KINDS if name == point.kind)
    return f"build {point.id}, {scales.when(point.began)}: {seconds(point.seconds)}, {word}, invoke {point.command}"


def shares(
    points: Sequence[Point],
    hits: Callable[[Point], float | None],
    words: tuple[str, str],
    counts: Callable[[Point], str],
) -> str:
    """Return a bar per build: the share of hits below, the share of misses above. `words`: for hits and misses."""
    width = 1 / len(points)
    thick = min(WIDEST, 0.84 * width) if len(points) <= SEPARATE else width
    bars: list[str] = []
    for n, point in enumerate(points):
        share = hits(point)
        if share is None:
            continue
        title = f"<title>{text(f'build {point.id}: {counts(point)}')}</title>"
        place = f'x="{_percent((n + 0.5) * width - thick / 2)}" width="{_percent(thick)}"'
        parts = [("hit", 1 - share, share), ("miss", 0.0, 1 - share)]
        drawn = "".join(
            f'<rect class="{name}" {place} y="{_percent(top)}" height="{_percent(height)}"/>'
            for name, top, height in parts
            if height
        )
        bars.append(f'<a href="#build-{point.id}" tabindex="-1">{title}{drawn}</a>')
    middle = data.median(map(hits, points))
    known = f", median {middle:.0%}" if middle is not None else ""
    summary = f"Share {words[0]} in {units.counted(len(bars), 'build')}{known}. The table of builds has the same data."
    legend = [(f'<i class="{name}"></i>', word) for name, word in zip(("hit", "miss"), words, strict=True)]
    return _legend(legend) + _frame(summary, "share", scales.shares(), bars, _builds(points))


def images(points: Sequence[Point]) -> tuple[str, int]:
    """Return a chart of the largest images, with a line per service, and the number of services left out."""
    newest: dict[str, int] = {}
    first: dict[str, int] = {}
    for point in points:
        newest.update(point.images)
        first = {**point.images, **first}
    chosen = sorted(newest, key=lambda name: (-newest[name], name))[:LINES]
    scale = scales.sizes(size for point in points for name, size in point.images.items() if name in chosen)
    drawn, legend = [], []
    for n, name in enumerate(chosen):
        line: list[tuple[float, float]] = []
        for at, point in enumerate(points):
            if name in point.images:
                here = ((at + 0.5) / len(points), scale.at(point.images[name]))
                line += (
                    [(here[0], line[-1][1]), here] if line else [(max(0.0, here[0] - 0.5 / len(points)), here[1]), here]
                )
        line.append((min(1.0, line[-1][0] + 0.5 / len(points)), line[-1][1]))
        drawn.append(_line(line, f"series s{n}"))
        change = newest[name] - first[name]
        grown = f", {'+' if change > 0 else '−'}{units.human(abs(change))}" if change else ""
        legend.append(
            (
                f'<svg><line x1="0" x2="100%" y1="50%" y2="50%" class="series s{n}"/></svg>',
                f"{_short(name)}: {units.human(newest[name])}{grown}",
            )
        )
    summary = "Image sizes: " + ", ".join(f"{_short(name)} {units.human(newest[name])}" for name in chosen)
    return _legend(legend) + _frame(summary, "image size", scale, drawn, _builds(points)), len(newest) - len(chosen)


def _short(name: str, width: int = 40) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def caches(taken: Sequence[Sizes], parts: Mapping[str, str]) -> str:
    """Return a stacked chart of cache sizes over time. `parts`: labels of the parts that occur, lowest first."""
    scale = scales.sizes(sum(sizes.parts.values()) for sizes in taken)
    low, high = taken[0].taken, taken[-1].taken
    span = max(high - low, 1.0)
    axis = scales.moments(low, high + 0.02 * span)  # the last bar also needs a width
    ends = [*(sizes.taken for sizes in taken[1:]), axis.high]
    drawn = []
    for sizes, end in zip(taken, ends, strict=True):
        left, right = axis.at(sizes.taken), axis.at(end)
        height, rects = 0.0, []
        for n, name in enumerate(parts):
            size = scale.at(sizes.parts.get(name, 0))
            height += size
            if size:
                place = f'x="{_percent(left)}" width="{_percent(right - left)}" y="{_percent(1 - height)}"'
                rects.append(f'<rect class="part p{n % LINES}" {place} height="{_percent(size)}"/>')
        listed = ", ".join(f"{word} {units.human(sizes.parts.get(name, 0))}" for name, word in parts.items())
        drawn.append(f"<g><title>{text(f'{scales.when(sizes.taken)}: {listed}')}</title>{''.join(rects)}</g>")
    legend = [
        (f'<i class="p{n % LINES}"></i>', f"{word}: {units.human(taken[-1].parts.get(name, 0))}")
        for n, (name, word) in enumerate(parts.items())
    ]
    marks = [(axis.at(mark), text(label)) for mark, label in axis.marks]
    total = units.human(sum(taken[-1].parts.values()))
    summary = f"Sizes of this project's caches, measured {units.counted(len(taken), 'time')}; most recently {total}."
    return _legend(legend) + _frame(summary, "size, stacked", scale, drawn, marks, high=True)


def _builds(points: Sequence[Point]) -> list[tuple[float, str]]:
    """Return the labels below a chart with a column per build: numbers and dates."""
    return [
        ((n + 0.5) / len(points), f"#{points[n].id}<small>{text(scales.when(points[n].began, '%b %d'))}</small>")
        for n in scales.places(len(points))
    ]


def _frame(
    summary: str,
    unit: str,
    scale: Scale,
    drawn: Iterable[str],
    marks: Iterable[tuple[float, str]],
    *,
    high: bool = False,
) -> str:
    """Return a chart with its axes. `marks`: positions and labels (HTML) of the horizontal axis."""
    labels = [(scale.at(value), label) for value, label in scale.marks]
    ys = "".join(f'<span style="bottom:{_percent(at)}">{text(label)}</span>' for at, label in labels)
    grid = "".join(_rule(at) for at, _ in labels)
    xs = "".join(f'<span class="{_edge(at)}" style="left:{_percent(at)}">{label}</span>' for at, label in marks)
    inside = "\n".join(drawn)
    return (
        f'<div class="plot{" high" if high else ""}" role="img" aria-label="{text(summary, 1000)}">'
        f'<div class="unit">{text(unit)}</div><div class="ys">{ys}</div>'
        f'<div class="field"><svg aria-hidden="true" focusable="false">{grid}\n{inside}</svg></div>'
        f'<div class="xs">{xs}</div></div>'
    )


def _rule(at: float) -> str:
    y = _percent(1 - at)
    return f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'


def _edge(at: float) -> str:
    """Return the alignment of a label, to keep labels near the edges inside the chart."""
    return "start" if at < 0.06 else "end" if at > 0.94 else "middle"


def _line(line: Iterable[tuple[float, float]], classes: str) -> str:
    """Return a line through points between 0 and 1, stretched to the chart's size."""
    through = " ".join(f"{1000 * x:.1f},{1000 * (1 - y):.1f}" for x, y in line)
    return (
        '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        f'<polyline class="{classes}" points="{through}"/></svg>'
    )


def _legend(items: Iterable[tuple[str, str]]) -> str:
    """Return a legend. `items`: (symbol as HTML, text)."""
    return f'<ul class="legend">{"".join(f"<li>{sign}{text(word)}</li>" for sign, word in items)}</ul>\n'


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
