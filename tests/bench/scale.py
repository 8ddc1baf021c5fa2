"""What a shared cache costs and saves at a number of builds a day: the table of docs/explanation/scale.md.

    ./dev python -m tests.bench.scale        # the same table every time: the seeds are fixed

Days are played build by build; nothing is averaged beforehand. Seconds and bytes were measured (`nox -s bench_travel`,
`invoke bench --quick`, two cores); how often which part of a repository changes is an assumption, named below.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

# ---- measured: seconds on two cores, bytes as stored
COLD = 217.2  # everything compiled, one service asked for
PULL = 4.1  # fetch from a registry on the same machine, unpack 1.01 GB
PUSH = 4.3
NOTHING = 3.6  # a build that finds all of it compiled
CHANGED = {"one service": 16.0, "shared crate": 64.0, "dependency": 28.8, "nothing": 0.0}
DEPS, REST = 188.5e6, 19.7e6  # what changes with the lock file; the workspace's own, which changes with every commit

# ---- assumed: what a commit touches, who builds it
COMMITS = {"one service": 0.60, "shared crate": 0.18, "dependency": 0.05, "nothing": 0.17}
MAIN = 0.10  # builds that are of the main branch, and push
EPHEMERAL = 0.70  # builds on machines that never built
DRIFT = 3.0  # commits of its own that a branch has, on average: compiled again where main's pack was pulled
KEPT_DAYS = 30


COLUMNS = (
    *("builds a day", "hours without", "hours with", "saved", "down a day", "up a day"),
    *("30 days of it", "mean rate", "pushes"),
)


@dataclass
class Day:
    """Sums of one day."""

    cold: float = 0.0
    shared: float = 0.0
    down: float = 0.0
    up: float = 0.0
    pushes: int = 0


def play(builds: int, seed: int) -> Day:
    """One day: every build on its own, in order."""
    dice, day = random.Random(seed), Day()  # no secrets are made here
    kinds, weights = list(COMMITS), list(COMMITS.values())
    for _ in range(builds):
        main = dice.random() < MAIN
        touched = dice.choices(kinds, weights, k=1 if main else 1 + int(dice.expovariate(1 / DRIFT)))
        compiling = min(COLD, sum(CHANGED[kind] for kind in set(touched)))
        if dice.random() < EPHEMERAL:
            wait = min(COLD, PULL + NOTHING + compiling)
            day.cold += COLD
            day.down += DEPS + REST
        else:  # what it built last is there: no pull, with or without a shared cache
            wait = NOTHING + CHANGED[touched[0]]
            day.cold += wait
        if main:
            day.up += REST + (DEPS if "dependency" in touched else 0.0)
            day.pushes += 1
            wait += PUSH
        day.shared += wait
    return day


def size(value: float) -> str:
    """Bytes for people, decimal."""
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
            f"| {builds:,} | {cold:,.1f} | {shared:,.1f} | {100 * (1 - shared / cold):.0f} % "
            f"| {size(down)} | {size(up)} | {size(up * KEPT_DAYS)} | {size(down / 86400)}/s | {pushes:,.0f} |"
        )


if __name__ == "__main__":
    main()
