"""A benchmark's result, as `invoke bench --json` writes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from buildkit_tasks.samples import figures
from buildkit_tasks.samples.catalogue import CASE_BY_KEY, OURS
from buildkit_tasks.samples.figures import Sample

LINE, SHARED = CASE_BY_KEY["line"].title, CASE_BY_KEY["shared"].title


def sample(who: str, case: str, number: int, seconds: float, **more: Any) -> Sample:
    """Return a sample that is right unless `more` differs."""
    fields = {"crates": 2, "visible": True, "compile": seconds / 2, "memory": 500_000_000, **more}
    return Sample(who, case, number, seconds, **fields)


def samples(ours: Sequence[float] = (4.0, 4.2, 4.1), stale: bool = True) -> list[Sample]:
    """Return three contenders in two cases. The last one is fast, and wrong if `stale`."""
    found = []
    for number, seconds in enumerate(ours):
        found += [
            sample(OURS, LINE, number, seconds),
            sample("classic", LINE, number, 24.0 + number / 10),
            sample("one that is stale", LINE, number, 0.5, visible=not stale),
            sample(OURS, SHARED, number, 2 * seconds, busy=number == 1),
            sample("classic", SHARED, number, 110.0 - number),
        ]
    return found


def document(taken: Sequence[Sample] | None = None, **more: Any) -> dict[str, Any]:
    """Return the part of the JSON document below `bench`."""
    taken = samples() if taken is None else taken
    return {
        "ended": "2026-01-02T03:04:05+00:00",
        "seconds": 1234.5,
        "facts": {
            **dict.fromkeys(("system", "kernel", "buildx", "compose", "buildkit_tasks"), "1.2"),
            "cpus": 2,
            "memory_gb": 8,
            "services": 3,
            "engine": "26.1.5",
        },
        "options": {"quick": False, "rounds": 3, "cases": ["line", "shared"], "contenders": ["ours", "classic"]},
        "edits": {"service": "api", "code": "api/src/main.rs", "shared": "common/src/lib.rs"},
        "left_out": {"cargo-chef": "error: could not find `cargo-chef` in registry"},
        "caches": {"ours": 1_000_000_000, "layers": 5_000_000},
        "samples": [dataclasses.asdict(one) for one in taken],
        "rows": [dataclasses.asdict(row) for row in figures.rows(taken, OURS)],
        **more,
    }
