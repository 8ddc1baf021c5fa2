"""Estimates how long a running build will take, from earlier builds of the same kind. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from buildkit_tasks.core.model import Past
from buildkit_tasks.core.progress import Progress

#: Builds that an estimate is made from: the newest ones that did the same work.
NEWEST = 5
#: The factor by which more than half of them may differ from their median: no estimate is better than a wrong one.
SPREAD = 1.5


def total(past: Sequence[Past], progress: Progress, elapsed: float) -> float | None:
    """Seconds that a build will take in all, as earlier ones did that fit what it has done so far; None if unknown.

    Unknown also if it already takes longer.
    """
    started = set(progress.compiled)
    times = [build.seconds for build in past if _fits(build, progress, started)][:NEWEST]
    middle = statistics.median(times) if times else 0.0
    agreed = [one for one in times if middle / SPREAD <= one <= middle * SPREAD]  # a busy machine delays one of them
    expected = statistics.median(agreed) if 2 * len(agreed) > len(times) else 0.0
    return expected if expected > elapsed else None


def _fits(build: Past, progress: Progress, started: AbstractSet[str]) -> bool:
    """Whether an earlier build may have done what this one does. cargo starts crates in an order that varies a bit."""
    if progress.total is not None or build.empty:  # cargo starts from nothing: only if it has reported that
        return build.empty and progress.total is not None
    if progress.fresh is not None:  # cargo is done
        return started == set(build.crates)
    if started:
        return build.crates[:1] != () and build.crates[0] in started and started <= set(build.crates)
    return True


#: Up to so many seconds, an estimate is rounded to a multiple of so many.
_ROUNDED = ((5.0, 0.5), (30.0, 1.0), (100.0, 5.0), (600.0, 10.0))


def words(seconds: float) -> str:
    """An estimate as people say it, no more exact than it is."""
    for below, unit in _ROUNDED:
        if seconds < below:
            return f"about {max(unit, unit * round(seconds / unit)):g} s"
    return f"about {seconds / 60:.0f} min"
