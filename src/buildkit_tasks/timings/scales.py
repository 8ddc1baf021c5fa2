"""The axes of charts: the position of a value between 0 and 1, and the labels. Pure."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from buildkit_tasks.core import units

#: Maximum number of labels on an axis.
MOST = 7

#: Durations with a label on a logarithmic axis, in seconds. Longer durations are powers of ten of a day.
_DURATIONS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
    *(60, 120, 300, 600, 1200, 3600, 7200, 18000, 36000),
    *(86400 * 10**n for n in range(6)),
)
#: The labels to keep if there are too many.
_FEW = (0.01, 0.1, 1, 10, 60, 600, 3600, 36000, *(86400 * 10**n for n in range(0, 6, 2)))


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`. `marks`: labeled values."""

    low: float
    high: float
    marks: tuple[tuple[float, str], ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Return the position of a value: 0 at the start of the axis, 1 at its end."""
        low, high, value = (math.log(max(v, 1e-9)) if self.log else v for v in (self.low, self.high, value))
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0


def nice(span: float, most: int = MOST) -> float:
    """Return the distance between marks, 1, 2 or 5 times a power of ten, for at most `most` marks."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(n * power for n in (1, 2, 5, 10) if span / (n * power) <= most)


def durations(values: Iterable[float]) -> Scale:
    """Return a logarithmic axis, because builds take from a fraction of a second to an hour."""
    known = list(values) or [1.0]
    low = max((mark for mark in _DURATIONS if mark <= min(known)), default=_DURATIONS[0])
    high = min((mark for mark in _DURATIONS if mark >= max(known)), default=_DURATIONS[-1])
    if high < 4 * low:  # center builds that took about equally long
        low = _DURATIONS[max(0, _DURATIONS.index(low) - 1)]
        high = _DURATIONS[min(len(_DURATIONS) - 1, _DURATIONS.index(high) + 1)]
    marks = [mark for mark in _DURATIONS if low <= mark <= high]
    scale = Scale(low, high, (), log=True)
    if len(marks) > MOST:
        few = [mark for mark in _FEW if min(scale.at(mark), 1 - scale.at(mark)) > 0.08]
        marks = [low, *few, high]
    return replace(scale, marks=tuple((mark, duration(mark)) for mark in marks))


def duration(value: float) -> str:
    """Return the label of a duration: `0.5 s`, `20 min`, `1 h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if value >= length:
            return f"{value / length:,.0f} {unit}"
    return f"{value:g} s"


def sizes(values: Iterable[float]) -> Scale:
    """Return an axis from 0 to the largest value in bytes."""
    most = max([*values, 1.0])
    step = nice(most, 4)
    marks = [n * step for n in range(math.ceil(most / step) + 1)]
    return Scale(0.0, marks[-1], tuple((mark, amount(mark)) for mark in marks))


def amount(value: float) -> str:
    """Return a size on an axis, without a trailing `.0`."""
    return units.human(value).replace(".0 ", " ") if value else "0"


def shares() -> Scale:
    """Return an axis from 0 to 100%."""
    return Scale(0.0, 1.0, tuple((n / 4, f"{25 * n}%") for n in range(5)))


def places(count: int, most: int = MOST) -> range:
    """Return the positions with a label among `count` positions: evenly spaced, including the last."""
    step = max(1, math.ceil(count / most))
    return range((count - 1) % step, count, step)


def moments(low: float, high: float) -> Scale:
    """Return an axis of points in time."""
    high = high if high > low else low + 1.0
    marks = [low + n * (high - low) / 4 for n in range(5)]
    form = "%b %d, %H:%M" if high - low < 4 * 86400 else "%b %d" if high - low < 300 * 86400 else "%b %Y"
    labels = [when(mark, form) for mark in marks]
    return Scale(low, high, tuple(zip(marks, _once(labels), strict=True)))


def _once(labels: Sequence[str]) -> list[str]:
    """Return the labels, with "" in place of a label that repeats the previous one."""
    return ["" if label == before else label for before, label in itertools.pairwise(["", *labels])]


def when(moment: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a point in time in the local time zone, or a dash if it is out of range."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(moment).astimezone().strftime(form)
    return "–"
