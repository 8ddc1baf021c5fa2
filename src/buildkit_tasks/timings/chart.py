"""The timeline as HTML and SVG: a row per step, the number of concurrent steps, and the crates. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from buildkit_tasks.core import units

from . import scales
from .markup import seconds, text
from .timeline import Bar, Start, Timeline

#: Maximum number of rows for steps. Steps shorter than this share of the total time are only in the table.
ROWS, SHORT = 150, 0.002
#: Number of crates with a bar below the curve: those followed by the longest pauses.
PAUSES = 8

LEGEND = (
    ("run", "RUN"),
    ("copy", "other instructions"),
    ("export", "image export"),
    ("internal", "BuildKit: load, pull"),
    ("failed", "failed"),
    ("pause", "from the start of one crate to the start of the next"),
)


def html(line: Timeline) -> str:
    """Return the chart. Screen readers get a summary, because the tables below contain the same data."""
    tick = ticks(line.span)
    shown = rows(line)
    most = max(count for _, count in line.running)
    parts = [_axis(line.span, tick), _running(line, most)]
    of_step: dict[int | None, list[Start]] = {}
    for crate in line.crates:
        of_step.setdefault(crate.step, []).append(crate)
    for bar in shown:
        parts.append(_bar(line, bar))
        crates = of_step.pop(bar.step, [])
        parts += _crates(line, crates, bar) if crates else ()
    lost = [crate for crates in of_step.values() for crate in crates]
    parts += _crates(line, sorted(lost, key=lambda crate: crate.began), None) if lost else ()
    summary = (
        f"Timeline of {units.counted(len(shown), 'step')} in {seconds(line.span)}, "
        f"with up to {most} at the same time. The tables below contain the same data."
    )
    legend = "".join(f'<li><i class="{kind}"></i>{text(word)}</li>' for kind, word in LEGEND)
    legend += '<li><span class="mark">◆</span> critical path</li>'
    chart = "\n".join(parts)
    return (
        f'<ul class="legend" aria-hidden="true">{legend}</ul>\n'
        f'<div class="chart" style="--tick:{share(tick, line.span)}" role="img" aria-label="{text(summary)}">\n'
        f"{chart}\n</div>"
    )


def rows(line: Timeline) -> tuple[Bar, ...]:
    """Return the steps that get a row: at most `ROWS`, excluding the shortest."""
    long = [
        bar for bar in line.ran if bar.on_path or bar.state == "failed" or (bar.seconds or 0.0) >= SHORT * line.span
    ]
    least = sorted((bar.seconds or 0.0 for bar in long), reverse=True)[:ROWS][-1:] or [0.0]
    return tuple([bar for bar in long if (bar.seconds or 0.0) >= least[0]][:ROWS])


def ticks(span: float) -> float:
    """Return the seconds between two marks: 1, 2 or 5 times a power of ten (minutes: 60), at most seven marks."""
    if span > 300:
        return next((60.0 * n for n in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if span / (60 * n) <= 7), span)
    return scales.nice(span, 7)


def share(value: float, span: float) -> str:
    """Return a share of the total time in percent."""
    return f"{100 * min(1.0, max(0.0, value / span)):.3f}%"


def _axis(span: float, tick: float) -> str:
    marks = [n * tick for n in range(int(span / tick) + 1) if n * tick <= 0.97 * span]
    spans = "".join(f'<span style="left:{share(mark, span)}">{_mark(mark, tick)}</span>' for mark in marks)
    return (
        f'<div class="row axis"><div class="name"></div><div class="track">{spans}</div><div class="much"></div></div>'
    )


def _mark(second: float, tick: float) -> str:
    if tick >= 60:
        return f"{second / 60:.0f} min"
    return f"{second:.{max(0, -math.floor(math.log10(tick)))}f} s"


def _bar(line: Timeline, bar: Bar) -> str:
    mark = '<span class="mark">◆</span> ' if bar.on_path else ""
    label = name(bar)
    classes = f"bar {bar.kind if bar.state != 'failed' else 'failed'}{' path' if bar.on_path else ''}"
    place = f"left:{share(bar.began, line.span)};width:{share(bar.seconds or 0.0, line.span)}"
    about = text(f"{label}: {seconds(bar.seconds)}, from {seconds(bar.began)}")
    return _row(
        f"{mark}{text(label)}",
        f'<span class="{classes}" style="{place}" title="{about}"></span>',
        seconds(bar.seconds),
        title=label,
    )


def _running(line: Timeline, most: int) -> str:
    points = [(second / line.span, count / max(1, most)) for second, count in line.running]
    return _row("steps running", _curve(points), f"max. {most}", high="high", title="Steps running at the same time")


def _crates(line: Timeline, crates: Sequence[Start], bar: Bar | None) -> Iterator[str]:
    """Plot how many crates cargo had started at each time, and show the crates followed by the longest pauses."""
    many = len(crates) > PAUSES
    if many:
        points = [(crate.began / line.span, (n + 1) / len(crates)) for n, crate in enumerate(crates)]
        end = (bar.finished or bar.ended) if bar else line.span
        curve = _curve([*points, (end / line.span, 1.0)])
        yield _row("crates started", curve, str(len(crates)), high="tall", below=True, title="Crates started so far")
    long = sorted(crates, key=lambda crate: -(crate.pause or 0.0))[:PAUSES]
    for crate in sorted(long, key=lambda crate: crate.began):
        place = f"left:{share(crate.began, line.span)};width:{share(crate.pause or 0.0, line.span)}"
        pause = f", then {seconds(crate.pause)} until the next crate starts or cargo ends" if crate.pause else ""
        about = text(f"{crate.name} started at {seconds(crate.began)}{pause}")
        track = f'<span class="bar pause" style="{place}" title="{about}"></span>'
        label = f"{'pause after' if many else 'crate'} {text(crate.name)}"
        yield _row(label, track, seconds(crate.pause), below=True, title=crate.name)


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Draw a step curve from left to right; both coordinates are between 0 and 1."""
    path, height = [], 0.0
    for x, y in points:
        path += [f"L{1000 * x:.1f} {100 - 94 * height:.1f}", f"L{1000 * x:.1f} {100 - 94 * y:.1f}"]
        height = y
    drawn = "M0 100" + "".join(path)
    last = 1000 * points[-1][0] if points else 0.0
    return (
        '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<path class="area" d="{drawn}L{last:.1f} 100Z"/><path class="edge" d="{drawn}"/></svg>'
    )


def _row(label: str, track: str, much: str, *, high: str = "", below: bool = False, title: str = "") -> str:
    return (
        f'<div class="row{" below" if below else ""}"><div class="name" title="{text(title)}">{label}</div>'
        f'<div class="track {high}">{track}</div><div class="much">{much}</div></div>'
    )


def name(bar: Bar) -> str:
    """Return a step on one line: its services, its stage, its instruction."""
    services = ", ".join(bar.services[:3]) + (f" and {len(bar.services) - 3} more" if len(bar.services) > 3 else "")
    return " · ".join(filter(None, (services, bar.stage, bar.text)))
