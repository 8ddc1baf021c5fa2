"""Estimates how long a running build will take, from earlier builds of the same kind. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from buildkit_tasks.core.model import Past
from buildkit_tasks.core.progress import Progress

#: Base an estimate on this many builds: the newest that did the same work.
NEWEST = 5
#: More than half of these builds must be within this factor of their median. A wrong estimate is worse than none.
SPREAD = 1.5


def total(past: Sequence[Past], progress: Progress, elapsed: float) -> float | None:
    """Return the expected total seconds of a build, from earlier builds that match its progress; None if unknown.

    Also return None if the build has already taken longer than expected.
    """
    started = set(progress.compiled)
    times = [build.seconds for build in past if _fits(build, progress, started)][:NEWEST]
    middle = statistics.median(times) if times else 0.0
    agreed = [one for one in times if middle / SPREAD <= one <= middle * SPREAD]  # skip builds on a busy machine
    expected = statistics.median(agreed) if 2 * len(agreed) > len(times) else 0.0
    return expected if expected > elapsed else None


def _fits(build: Past, progress: Progress, started: AbstractSet[str]) -> bool:
    """Return whether an earlier build may have done the same work. cargo varies the order of crates slightly."""
    if progress.total is not None or build.empty:  # the total is reported only for a build from scratch
        return build.empty and progress.total is not None
    if progress.fresh is not None:  # cargo has finished
        return started == set(build.crates)
    if started:
        return build.crates[:1] != () and build.crates[0] in started and started <= set(build.crates)
    return True


#: Pairs of a limit and a unit in seconds: below the limit, estimates are rounded to multiples of the unit.
_ROUNDED = ((5.0, 0.5), (30.0, 1.0), (100.0, 5.0), (600.0, 10.0))


def words(seconds: float) -> str:
    """Return an estimate in words, rounded to its precision."""
    for below, unit in _ROUNDED:
        if seconds < below:
            return f"about {max(unit, unit * round(seconds / unit)):g} s"
    return f"about {seconds / 60:.0f} min"
