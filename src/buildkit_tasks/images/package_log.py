"""The output of a base image build, reduced to lines worth showing, and the hint for a failed one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from buildkit_tasks.core.progress import Progress

_DONE = {"lists": "package lists fetched", "buildkit-compile": "buildkit: compiled"}


def remedy(log: Sequence[str]) -> str:
    """Return the hint for a failed build of base images, from its last lines. Pure."""
    if any(line.startswith("go: ") for line in log) and not any(line.startswith("E: ") for line in log):
        return "set a reachable Go module proxy (export GOPROXY=https://…), then rerun the command"
    return "check that apt works on this machine (apt-get update), then run `invoke images.build`"


def news(progress: Progress, printed: set[str]) -> Iterator[str]:
    """Yield a line for each notable step finished since the last call: packages installed, images stored."""
    for digest, vertex in progress.vertexes.items():
        if vertex.completed is None or vertex.error or digest in printed:
            continue
        printed.add(digest)
        stage = re.match(r"\[(?:\S+ )?(\S+) \d+/\d+\] RUN", vertex.name)
        if stage and not vertex.cached:
            yield _DONE.get(stage[1], f"{stage[1]}: packages installed")
        elif vertex.name.endswith("exporting to image"):
            # With a single target, BuildKit omits the target in the export step.
            yield f"{vertex.name.partition(']')[0].lstrip('[').split()[0] if ']' in vertex.name else 'image'}: stored"
