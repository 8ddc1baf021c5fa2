"""Recorded builds as points over time: what each build compiled, its hit rates, and medians. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from buildkit_tasks.history.model import Build

from . import critical

#: What a build compiled, from least to most: (name, short text, longer text).
KINDS = (
    ("quiet", "no crates", "compiled no crates"),
    ("edit", "project crates", "compiled only project crates"),
    ("deps", "dependencies", "compiled dependencies"),
    ("cold", "cold", "cold: the target mount was empty"),
    ("failed", "failed", "failed"),
    ("other", "not recorded", "compiled crates not recorded"),
)
#: Number of builds in a running median, and how many of a kind are needed to draw it.
WINDOW, ENOUGH = 9, 3
#: The longest plotted duration, in seconds.
_LONGEST = 1e9


@dataclass(frozen=True)
class Point:
    """A build. `compiled`, `reused`: crates, None if unknown; `ran`, `cached`: steps, without image exports.

    `images`: bytes by service; `changed`: how many of `targets` images are new.
    """

    id: int
    began: float
    seconds: float
    kind: str
    command: str
    problem: str = ""
    services: tuple[str, ...] = ()
    compiled: int | None = None
    reused: int | None = None
    ran: int = 0
    cached: int = 0
    images: Mapping[str, int] = field(default_factory=dict)
    changed: int = 0
    targets: int = 0
    pulled: bool = False

    @property
    def crate_hits(self) -> float | None:
        """The share of crates that cargo reused; None if cargo did not run, or did not report it."""
        return _share(self.reused, self.compiled)

    @property
    def step_hits(self) -> float | None:
        """The share of steps that BuildKit took from its cache."""
        return _share(self.cached, self.ran)


def _share(hits: int | None, misses: int | None) -> float | None:
    return None if hits is None or misses is None or not hits + misses else hits / (hits + misses)


def of(build: Build) -> Point:
    """Return the point of a build."""
    cargo = build.cargo
    reported = cargo.fresh is not None or cargo.total is not None
    seen = [step for step in build.seen if not step.internal and not critical.exports(step)]
    return Point(
        id=build.id,
        began=build.began,
        seconds=min(_LONGEST, max(0.0, build.seconds)) if math.isfinite(build.seconds) else 0.0,
        kind=kind_of(build),
        command=build.command,
        problem=build.problem,
        services=tuple(service.name for service in build.inputs.services),
        compiled=len(cargo.crates) if reported or cargo.crates else None,
        reused=(cargo.fresh or 0) if reported else None,
        ran=sum(not step.cached for step in seen),
        cached=sum(step.cached for step in seen),
        images={image.service: image.size for image in build.images if image.size > 0},
        changed=sum(image.changed for image in build.images),
        targets=len(build.images),
        pulled=build.pulled,
    )


def kind_of(build: Build) -> str:
    """Return what a build compiled, as a name in `KINDS`."""
    cargo = build.cargo
    if build.outcome != "built":
        return "failed"
    if cargo.total is not None:
        return "cold"
    if not cargo.crates:
        return "quiet" if build.seen or cargo.fresh is not None else "other"
    if all(crate.place is not None for crate in cargo.crates):
        return "edit"
    # other Dockerfiles do not report which crates belong to the project
    return "deps" if cargo.fresh is not None else "other"


def by_kind(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Return the points of each kind, in the order of `KINDS`, without empty kinds."""
    found: dict[str, list[Point]] = {name: [] for name, *_ in KINDS}
    for point in points:
        found[point.kind].append(point)
    return {name: of_kind for name, of_kind in found.items() if of_kind}


def running(values: Sequence[float]) -> list[float | None]:
    """Return the running median over at most `WINDOW` values, or None while there are fewer than `ENOUGH`."""
    return [
        statistics.median(values[max(0, n + 1 - WINDOW) : n + 1]) if n + 1 >= ENOUGH else None
        for n in range(len(values))
    ]


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the known values."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
