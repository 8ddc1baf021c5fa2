"""Estimates how long a running build will take, from earlier builds of the same kind. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from buildkit_tasks.core.model import Past
from buildkit_tasks.core.progress import Progress

#: Builds that an estimate is made from: the newest ones that did the same work.
NEWEST = 5
#: Builds whose times differ by more than this factor are not of one kind: no estimate is better than a wrong one.
SPREAD = 2.0


def total(past: Sequence[Past], progress: Progress, elapsed: float) -> float | None:
    """Seconds that a build will take in all, as far as what it has done so far fits earlier ones; None if unknown."""
    started = set(progress.compiled)
    alike = [build for build in past if build.seconds > elapsed and _fits(build, progress, started)]
    times = [build.seconds for build in alike[:NEWEST]]
    if not times or max(times) > SPREAD * min(times):
        return None
    return statistics.median(times)


def _fits(build: Past, progress: Progress, started: AbstractSet[str]) -> bool:
    """Whether an earlier build may have done what this one does. cargo starts crates in an order that varies a bit."""
    if progress.total is not None:  # cargo starts from nothing
        return build.empty
    if progress.fresh is not None:  # cargo is done
        return not build.empty and started == set(build.crates)
    if started:
        return (
            not build.empty and build.crates[:1] != () and build.crates[0] in started and started <= set(build.crates)
        )
    return True


#: Up to so many seconds, an estimate is rounded to a multiple of so many.
_ROUNDED = ((5.0, 0.5), (30.0, 1.0), (100.0, 5.0), (600.0, 10.0))


def words(seconds: float) -> str:
    """An estimate as people say it, no more exact than it is."""
    for below, unit in _ROUNDED:
        if seconds < below:
            return f"about {max(unit, unit * round(seconds / unit)):g} s"
    return f"about {seconds / 60:.0f} min"
