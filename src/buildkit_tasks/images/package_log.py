"""What a build of base images prints, as lines worth a line of ours, and the hint for one that failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildkit_tasks.core.progress import Progress

_DONE = {"lists": "package lists fetched", "buildkit-compile": "buildkit: compiled"}


def remedy(log: Sequence[str]) -> str:
    """The hint for a build of base images that failed with these last lines. Pure."""
    if any(line.startswith("go: ") for line in log) and not any(line.startswith("E: ") for line in log):
        return "have a Go module proxy that answers, or name yours: export GOPROXY=https://…; then the same again"
    return "check that apt works on this machine: apt-get update; then: invoke images.build"


def news(progress: Progress, printed: set[str]) -> Iterator[str]:
    """Steps worth a line that ended since the last call: installed packages, and images as they are stored."""
    for digest, vertex in progress.vertexes.items():
        if vertex.completed is None or vertex.error or digest in printed:
            continue
        printed.add(digest)
        stage = re.match(r"\[(?:\S+ )?(\S+) \d+/\d+\] RUN", vertex.name)
        if stage and not vertex.cached:
            yield _DONE.get(stage[1], f"{stage[1]}: packages installed")
        elif vertex.name.endswith("exporting to image"):
            # With a single target BuildKit does not say whose export it is.
            yield f"{vertex.name.partition(']')[0].lstrip('[').split()[0] if ']' in vertex.name else 'image'}: stored"
