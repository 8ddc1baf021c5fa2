"""What a run needs before it starts: time and disk space, estimated from the size of the workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from buildkit_tasks.caches import look
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.samples import catalogue, figures
from buildkit_tasks.samples.catalogue import BY_KEY, CASES, Way

#: Seconds of a first build: for each package in Cargo.lock on one processor, and the least. Measured on the sample.
PER_PACKAGE, LEAST = 1.7, 20.0
#: Seconds to check a program after a build, and the processors that a first build can use.
CHECK, MOST_CPUS = 1.5, 8
#: Bytes that a family's mounts and layers take: at least, and for each package in Cargo.lock.
BASE_BYTES, PACKAGE_BYTES = 500_000_000, 4_500_000
#: Seconds to build a tool if it is not in the build cache.
TOOL = 240.0


def duration(ways: Sequence[Way], cases: Collection[str], rounds: int, packages: int, *, quick: bool) -> float:
    """Return the estimated seconds of a run on this machine."""
    cold = max(LEAST, packages * PER_PACKAGE / max(1, min(MOST_CPUS, os.cpu_count() or 1)))
    total = 0.0
    for case in (case for case in CASES if case.key in cases):
        ours = catalogue.seconds(case, BY_KEY["ours"], cold)
        for way in ways:
            if case.key != "cold" and catalogue.takes_part(way, case, quick=quick):
                seconds = catalogue.seconds(case, way, cold)
                few = seconds >= figures.LONG and ours <= figures.FAR * seconds  # see `figures.decided`
                times = 1 if not case.rounds else min(2, rounds) if few else rounds
                total += times * (seconds + CHECK)
    every = next(case for case in CASES if case.key == "shared")
    total += sum(catalogue.seconds(every, way, cold) for way in ways)  # warming up
    total += sum(cold for way in ways if way.leads)  # even if these builds are not measured
    return total + (cold if "pack" in cases and "cold" not in cases else 0.0)


def space(ways: Sequence[Way], packages: int, copied: int) -> int:
    """Return the estimated bytes that a run takes. `copied`: bytes of a scratch copy; a fresh clone is one more."""
    families = len({way.family for way in ways})
    return families * (BASE_BYTES + packages * PACKAGE_BYTES) + (families + 1) * copied


def require_space(engine: Engine, needed: int, folder: Path) -> None:
    """Raise `Problem` disk-full if the engine's disk, or the one with the scratch trees, has too little space."""
    found = look.disk_free(engine)
    free = found if found is not None else shutil.disk_usage(folder).free
    if free < needed:
        raise Problem(
            "disk-full",
            f"The benchmark needs about {units.human(needed)}, but only {units.human(free)} are free.",
            causes=["each way of building gets its own cache mounts"],
            hint="run `invoke cache` to see what can be deleted, or choose fewer contenders: invoke bench "
            "--contender ours,classic",
        )


def words(seconds: float) -> str:
    """Format a duration for a question: `about 5 minutes`."""
    minutes = max(1, round(seconds / 60))
    return f"about {units.counted(minutes, 'minute')}"
