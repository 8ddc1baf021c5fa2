"""Benchmark samples and their statistics: medians, ratios within rounds, intervals, verdicts. Pure."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: From this many rounds on, the bootstrap gives a confidence interval; with fewer, it covers far less than it claims
#: (77% with 3 rounds), and is the range of the ratios.
ENOUGH = 6
#: Two times that differ by at most this share count as equal: with enough rounds, and with fewer.
NO_DIFFERENCE, NO_DIFFERENCE_FEW = 0.05, 0.10
#: What the two numbers in parentheses after a ratio are.
SPREAD = f"the range of the ratios (from {ENOUGH} rounds: their 95% confidence interval)"
#: A contender whose builds take at least this many seconds is measured in two rounds only, if its ratios are at most
#: `FAR` and differ by at most the factor `ALIKE`.
LONG, FAR, ALIKE = 30.0, 0.5, 1.25
#: How often the bootstrap resamples the rounds, the share of results inside the interval, and its seed.
RESAMPLES, CONFIDENCE, SEED = 2000, 0.95, 19


@dataclass(frozen=True)
class Sample:
    """One timed build.

    `seconds`: wall time; `crates`: number compiled, None if unknown; `visible`: the program contains the edit.
    `compile`: seconds of the steps that run cargo; `memory`: the most memory in use at once, in bytes, beyond what was
    in use before; `busy`: other processes kept the machine busy.
    """

    contender: str
    case: str
    round: int
    seconds: float
    crates: int | None = None
    visible: bool | None = None
    compile: float | None = None
    memory: int | None = None
    busy: bool = False


@dataclass(frozen=True)
class Row:
    """One contender in one case: median, minimum and maximum seconds of its samples, and our time relative to it.

    `ratio`: median of the ratios within each round; `rounds`: their number; `low` and `high`: its confidence interval,
    with fewer than `ENOUGH` rounds the range of the ratios, None with one round.
    """

    case: str
    contender: str
    median: float
    least: float
    most: float
    samples: int
    ratio: float | None
    crates: str
    correct: str
    low: float | None = None
    high: float | None = None
    compile: float | None = None
    memory: int | None = None
    busy: int = 0
    rounds: int = 0

    @property
    def wrong(self) -> bool:
        """Whether any program lacked its edit."""
        return self.correct.endswith("WRONG")


def rows(samples: Sequence[Sample], ours: str) -> tuple[Row, ...]:
    """Return one row per case and contender, in order of first appearance.

    The ratio is the median, across rounds, of our time divided by the contender's in the same round, when the machine
    was in the same state.
    """
    found = []
    for case in dict.fromkeys(s.case for s in samples):
        base = {s.round: s.seconds for s in samples if s.case == case and s.contender == ours}
        for who in dict.fromkeys(s.contender for s in samples if s.case == case):
            found.append(_row([s for s in samples if s.case == case and s.contender == who], base, who == ours))
    return tuple(found)


def _row(mine: Sequence[Sample], base: Mapping[int, float], own: bool) -> Row:
    pairs = [base[s.round] / s.seconds for s in mine if s.round in base and s.seconds > 0 and not own]
    seconds = [s.seconds for s in mine]
    seen = [s.visible for s in mine if s.visible is not None]
    crates = sorted({s.crates for s in mine if s.crates is not None})
    compiling = [s.compile for s in mine if s.compile is not None]
    low, high = interval(pairs) if len(pairs) > 1 else (None, None)
    return Row(
        case=mine[0].case,
        contender=mine[0].contender,
        median=statistics.median(seconds),
        least=min(seconds),
        most=max(seconds),
        samples=len(mine),
        ratio=statistics.median(pairs) if pairs else None,
        crates="-".join(map(str, (crates[0], crates[-1]) if len(crates) > 1 else crates)) or "?",
        correct="" if not seen else "yes" if all(seen) else f"{seen.count(False)} of {len(seen)} WRONG",
        low=low,
        high=high,
        compile=statistics.median(compiling) if compiling else None,
        memory=max((s.memory for s in mine if s.memory is not None), default=None),
        busy=sum(s.busy for s in mine),
        rounds=len(pairs),
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the bootstrap confidence interval of the median: resamples whole rounds, always with the same seed.

    With fewer than `ENOUGH` values, returns their range.
    """
    if len(values) < ENOUGH:
        return min(values), max(values)
    chance = random.Random(SEED)  # noqa: S311 - not used for secrets
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return medians[cut], medians[-1 - cut]


def same(row: Row) -> bool:
    """Return whether a ratio shows no difference: at most 5% from 1 (10% with few rounds), or 1 is in its interval."""
    if row.ratio is None:
        return False
    most = NO_DIFFERENCE if row.rounds >= ENOUGH else NO_DIFFERENCE_FEW
    inside = row.low is not None and row.high is not None and row.low <= 1 <= row.high
    return abs(1 - row.ratio) <= most or inside


def verdict(row: Row) -> str:
    """Format the ratio. A wrong program has none, whatever its time."""
    if row.wrong:
        return "WRONG"
    if row.ratio is None:
        return "-"
    spread = "" if row.low is None or row.high is None else f" ({row.low:.2f}-{row.high:.2f})"
    if same(row):
        return f"no difference, {row.ratio:.2f}{spread}"
    return f"{row.ratio:.2f}{spread}"


def decided(samples: Sequence[Sample], case: str, contender: str, ours: str = "invoke build") -> bool:
    """Return whether more rounds would not change the verdict: long builds, at least two rounds, far from 1.

    Saves a third of a run's time. `ours` is always measured.
    """
    base = {s.round: s.seconds for s in samples if (s.case, s.contender) == (case, ours)}
    mine = [s for s in samples if (s.case, s.contender) == (case, contender) and s.round in base]
    ratios = [base[s.round] / s.seconds for s in mine if s.seconds > 0]
    if contender == ours or len(ratios) < 2 or min(s.seconds for s in mine) < LONG:
        return False
    return max(ratios) <= FAR and max(ratios) <= ALIKE * min(ratios)


HEADINGS = ("case", "build", "median s", "min-max", "runs", "crates", "edit visible", "invoke build / this")


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row as text, in the order of `HEADINGS`."""
    spread = f"{row.least:.1f}-{row.most:.1f}" if row.samples > 1 else "-"
    head = (row.case, row.contender, f"{row.median:.1f}", spread, str(row.samples))
    return (*head, row.crates, row.correct or "-", verdict(row))


#: Headings of the tables on a terminal, one per case, at most 80 columns wide.
NARROW = ("build", "seconds", "crates", "invoke build / this")


def narrow(row: Row) -> tuple[str, ...]:
    """Return the cells of a row as text, in the order of `NARROW`. `=`: no difference."""
    seconds = f"{row.median:.1f}" + (f" ({row.least:.1f}-{row.most:.1f})" if row.samples > 1 else "")
    says = verdict(row).replace("no difference, ", "= ")
    if row.wrong:
        says = f"WRONG ({row.correct.removesuffix(' WRONG')})"
    return row.contender, seconds, row.crates, says


def markdown(table: Sequence[Row]) -> str:
    """Format the table in Markdown."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    return "\n".join([*lines, *("| " + " | ".join(cells(r)) + " |" for r in table)])
