"""What a shared cache costs and saves, by builds a day: the table of docs/explanation/scale.md.

    ./dev python -m tests.bench.scale        # prints the same table every time: the seeds are fixed

Days are simulated build by build; nothing is averaged in advance. Seconds and bytes were measured on two cores
(`nox -s bench_travel`, `invoke bench --quick`). How often each part of a repository changes is an assumption.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

# ---- measured: seconds on two cores, bytes as stored
COLD = 217.2  # everything compiled, one service requested
PULL = 4.1  # fetch from a registry on the same machine, unpack 1.01 GB
PUSH = 4.3
NOTHING = 3.6  # a build that finds everything compiled
CHANGED = {"one service": 16.0, "shared crate": 64.0, "dependency": 28.8, "nothing": 0.0}
DEPS, REST = 188.5e6, 19.7e6  # changes with the lock file; the workspace's own objects, which change with every commit

# ---- assumed: what a commit changes, and where it is built
COMMITS = {"one service": 0.60, "shared crate": 0.18, "dependency": 0.05, "nothing": 0.17}
MAIN = 0.10  # builds of the main branch, which push
EPHEMERAL = 0.70  # builds on machines that have never built
DRIFT = 3.0  # average number of a branch's own commits: recompiled after pulling main's pack
KEPT_DAYS = 30


COLUMNS = (
    *("builds a day", "hours without", "hours with", "saved", "down a day", "up a day"),
    *("stored after 30 days", "mean rate", "pushes"),
)


@dataclass
class Day:
    """The sums of one day."""

    cold: float = 0.0
    shared: float = 0.0
    down: float = 0.0
    up: float = 0.0
    pushes: int = 0


def play(builds: int, seed: int) -> Day:
    """Simulate one day: every build separately, in order."""
    dice, day = random.Random(seed), Day()  # not used for secrets
    kinds, weights = list(COMMITS), list(COMMITS.values())
    for _ in range(builds):
        main = dice.random() < MAIN
        touched = dice.choices(kinds, weights, k=1 if main else 1 + int(dice.expovariate(1 / DRIFT)))
        compiling = min(COLD, sum(CHANGED[kind] for kind in set(touched)))
        if dice.random() < EPHEMERAL:
            wait = min(COLD, PULL + NOTHING + compiling)
            day.cold += COLD
            day.down += DEPS + REST
        else:  # the last build's output still exists: no pull, with or without a shared cache
            wait = NOTHING + CHANGED[touched[0]]
            day.cold += wait
        if main:
            day.up += REST + (DEPS if "dependency" in touched else 0.0)
            day.pushes += 1
            wait += PUSH
        day.shared += wait
    return day


def size(value: float) -> str:
    """Return bytes in readable, decimal units."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} EB"


def main() -> None:
    """Print the table."""
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for builds in (10, 1_000, 100_000):
        days = [play(builds, seed) for seed in range(200 if builds < 100 else 5)]
        n = len(days)
        cold, shared = (sum(getattr(d, name) for d in days) / n / 3600 for name in ("cold", "shared"))
        down, up = (sum(getattr(d, name) for d in days) / n for name in ("down", "up"))
        pushes = sum(d.pushes for d in days) / n
        print(
            f"| {builds:,} | {cold:,.1f} | {shared:,.1f} | {100 * (1 - shared / cold):.0f}% "
            f"| {size(down)} | {size(up)} | {size(up * KEPT_DAYS)} | {size(down / 86400)}/s | {pushes:,.0f} |"
        )


if __name__ == "__main__":
    main()
