"""A generated history: months of builds with edits, updated dependencies, cleared caches and failures."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from buildkit_tasks.history.model import Build, Cargo, Crate, ImageRecord, Inputs, Seen, ServiceRecord, Sizes

SERVICES = ("api", "executor", "notifier", "sensor", "worker")
#: The number of crates in the lock file, and of the project's own crates.
CRATES, OWN = 390, 8
START = 1_760_000_000.0


def builds(count: int, services: Sequence[str] = SERVICES, seed: int = 1) -> list[Build]:
    """Return builds, oldest first; the first one and every hundredth are cold."""
    chance = random.Random(seed)
    sizes = {name: 90_000_000 + 7_000_000 * n for n, name in enumerate(services)}
    began, found = START, []
    for number in range(1, count + 1):
        began += chance.choice((40, 300, 2000, 50_000))
        kind = "cold" if number % 100 == 1 else chance.choices(("quiet", "edit", "deps", "failed"), (2, 12, 2, 1))[0]
        chosen = services if chance.random() < 0.7 else services[:1]
        if kind != "quiet":
            sizes = {name: size + chance.randint(-80_000, 120_000) for name, size in sizes.items()}
        found.append(_build(number, began, kind, chosen, sizes, chance))
    return found


def _build(
    number: int, began: float, kind: str, services: Sequence[str], sizes: dict[str, int], chance: random.Random
) -> Build:
    compiled = {"cold": CRATES, "deps": chance.randint(5, 90), "quiet": 0}.get(kind, chance.randint(1, OWN))
    own = min(compiled, OWN)
    crates = [Crate(f"dependency-{n}", "1.0.0", None, n / 10) for n in range(compiled - own)]
    crates += [Crate(f"own-{n}", "0.1.0", f"services/own-{n}", 3.0) for n in range(own)]
    cargo = Cargo(tuple(crates), CRATES - compiled, CRATES if kind == "cold" else None, tree="2-a")
    ran = {"cold": 12, "quiet": 1}.get(kind, 4)
    steps = [
        Seen(f"[{services[0]} compile {n}/12] RUN step {n}", n >= ran, 1.0 if n < ran else None, n) for n in range(12)
    ]
    made = Build(
        began=began,
        seconds=round(
            {"cold": 240.0, "deps": 30.0, "quiet": 0.9}.get(kind, 4.0 + number / 200) * chance.lognormvariate(0, 0.25),
            3,
        ),
        command="build" if len(services) > 1 else f"build --service {services[0]}",
        outcome="failed" if kind == "failed" else "built",
        problem="compile-failed" if kind == "failed" else "",
        inputs=inputs(services),
        images=tuple(ImageRecord(s, f"shop-{s}", "sha256:1", kind != "quiet", sizes[s]) for s in services),
        seen=tuple(steps),
        cargo=Cargo() if kind == "quiet" and number % 2 else cargo,
        id=number,
    )
    return replace(made, images=()) if kind == "failed" else made


def inputs(services: Sequence[str]) -> Inputs:
    """Return the inputs of a build of these services."""
    records = tuple(ServiceRecord(name, "Dockerfile", {}, (), {}) for name in services)
    return Inputs("engine-1", "28.0.0", "", "", ("linux/amd64",), "release", True, records, (), {}, {})


def sizes(count: int, seed: int = 1) -> list[Sizes]:
    """Return listings of the caches, oldest first: caches grow until they are trimmed."""
    chance = random.Random(seed)
    taken, target, found = START, 1.2e9, []
    for _ in range(count):
        taken += chance.choice((600, 7000, 90_000))
        target = target + chance.uniform(0, 2.5e8) if target < 5e9 else 1.6e9
        parts = {"target": int(target), "cargo-registry": 410_000_000, "cargo-git": 1_200_000, "layers": 900_000_000}
        found.append(Sizes(taken, "engine-1", "", parts, sum(parts.values()) + 7_000_000_000))
    return found
