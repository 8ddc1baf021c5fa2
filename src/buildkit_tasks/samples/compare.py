"""Compares two benchmark documents: which cases of `invoke build` became slower or faster. Pure.

Both runs are noisy and may come from machines in different states. So a difference counts only if the confidence
interval of the ratio (or the range of all ratios, if there are few rounds) excludes 1, and if the ratio is also large
compared with how much the contenders without code of buildkit-tasks differ between the two runs.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from buildkit_tasks.core import shapes

from . import checked, figures
from .catalogue import OUR_CODE

#: The least ratio that counts as slower: with an interval, and if a run has only one sample of the case.
SLOWER, SLOWER_ALONE = 1.10, 1.25
#: Differences of at most this many seconds are never a regression.
LEAST_SECONDS = 0.5

#: The parts of a document that are read.
SHAPE: shapes.Shape = {
    "bench": {
        "ended": str,
        "seconds": (int, float),
        **dict.fromkeys(("facts", "options", "edits"), dict),
        "left_out": {"*": str},
        "caches": {"*": int},
        "samples": [checked.SAMPLE],
    }
}

HEADINGS = ("case", "build", "before s", "now s", "now / before", "verdict")


@dataclass(frozen=True)
class Change:
    """One contender in one case, before and now. `ratio` is corrected for the drift of the machine, with its interval.

    `verdict`: slower, faster, same; WRONG (a program lacks its edit only now), fixed (only before), still WRONG.
    """

    case: str
    contender: str
    before: float
    now: float
    ratio: float
    low: float | None
    high: float | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All changes. `drift`: the median of now / before of right contenders without our code, 1 if fewer than two.

    `differing`: facts of the machine that differ, as text.
    """

    changes: tuple[Change, ...]
    drift: float
    differing: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The cases in which `invoke build` became slower or wrong."""
        return tuple(c for c in self.changes if c.verdict in ("slower", "WRONG"))


def read(text: str) -> dict[str, Any]:
    """Parse a document of `bench --json`. Raises ValueError."""
    content = shapes.loads(text, dict)
    shapes.check(content, SHAPE)
    if not (content.get("bench") or {}).get("samples"):
        raise ValueError("it has no samples")
    bench = dict(content["bench"])
    for number, sample in enumerate(bench["samples"]):
        checked.sample(sample, f"bench.samples[{number}]")
    for part in ("left_out", "caches"):
        checked.filled(bench.get(part), f"bench.{part}")
    checked.finite(bench, "bench")
    return bench


def compare(old: Mapping[str, Any], new: Mapping[str, Any], ours: str) -> Comparison:
    """Compare the samples of two documents. Only cases that both contain count."""
    before, now = _grouped(old), _grouped(new)
    both = [key for key in now if key in before]
    medians = {key: (statistics.median(_seconds(before[key])), statistics.median(_seconds(now[key]))) for key in both}
    rivals = [
        new_ / old_
        for (case, who), (old_, new_) in medians.items()
        if who not in (ours, *OUR_CODE) and not _wrong(before[case, who]) and not _wrong(now[case, who])
    ]
    drift = statistics.median(rivals) if len(rivals) > 1 else 1.0
    changes = tuple(_change(key, before[key], now[key], drift) for key in both if key[1] == ours)
    facts = [
        f"{name}: {old.get('facts', {}).get(name)} before, {value} now"
        for name, value in (new.get("facts") or {}).items()
        if name in (old.get("facts") or {}) and old["facts"][name] != value
    ]
    return Comparison(changes, drift, tuple(facts))


def _grouped(document: Mapping[str, Any]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for sample in document["samples"]:
        found.setdefault((sample["case"], sample["contender"]), []).append(sample)
    return found


def _seconds(samples: Sequence[Mapping[str, Any]]) -> list[float]:
    return [max(1e-3, float(sample["seconds"])) for sample in samples]


def _change(
    key: tuple[str, str], before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], drift: float
) -> Change:
    old, new = _seconds(before), _seconds(now)
    medians = statistics.median(old), statistics.median(new)
    ratio = medians[1] / medians[0] / drift
    few = min(len(old), len(new)) < 2
    low, high = (None, None) if few else _interval(old, [seconds / drift for seconds in new])
    small = abs(medians[1] / drift - medians[0]) <= LEAST_SECONDS
    least = SLOWER_ALONE if few else SLOWER
    verdict = "same"
    if _wrong(now) or _wrong(before):  # the times of wrong programs say nothing
        verdict = "fixed" if not _wrong(now) else "still WRONG" if _wrong(before) else "WRONG"
    elif not small and ratio >= least and (low is None or low > 1):
        verdict = "slower"
    elif not small and ratio <= 1 / least and (high is None or high < 1):
        verdict = "faster"
    return Change(*key, *medians, ratio, low, high, verdict)


def _wrong(samples: Sequence[Mapping[str, Any]]) -> bool:
    return any(sample.get("visible") is False for sample in samples)


def _interval(old: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the ratio of two medians. The samples of two runs are not paired.

    With enough rounds, a bootstrap confidence interval; otherwise the range of all ratios.
    """
    if min(len(old), len(new)) < figures.ENOUGH:
        return min(new) / max(old), max(new) / min(old)
    chance = random.Random(figures.SEED)  # noqa: S311 - not used for secrets
    ratios = sorted(
        statistics.median(chance.choices(new, k=len(new))) / statistics.median(chance.choices(old, k=len(old)))
        for _ in range(figures.RESAMPLES)
    )
    cut = int(figures.RESAMPLES * (1 - figures.CONFIDENCE) / 2)
    return ratios[cut], ratios[-1 - cut]


def cells(change: Change) -> tuple[str, ...]:
    """Return the cells of a change as text, in the order of `HEADINGS`."""
    spread = "" if change.low is None or change.high is None else f" ({change.low:.2f}-{change.high:.2f})"
    times = (f"{change.before:.1f}", f"{change.now:.1f}", f"{change.ratio:.2f}{spread}")
    return (change.case, change.contender, *times, change.verdict)
