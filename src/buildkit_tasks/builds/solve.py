"""One bake solve: started, its story read and shown, its failure told. The only place that runs one for a plan."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from buildkit_tasks.core import docker, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.core.progress import Decoder, Progress
from buildkit_tasks.core.session import Session

from . import failure as build_failure
from . import view as build_view


def stand_in(
    target: Mapping[str, Any], text: str, stage: str, contexts: Mapping[str, str], platform: str = ""
) -> dict[str, Any]:
    """A bake target like a service's, up to a stage of another Dockerfile, with more contexts, and for no image."""
    dropped = ("tags", "dockerfile", "cache-from", "cache-to")
    return {
        **{name: value for name, value in target.items() if name not in dropped},
        "dockerfile-inline": text,
        "target": stage,
        "args": {name: value for name, value in target.get("args", {}).items() if name != "BINS"},
        "contexts": {**target.get("contexts", {}), **contexts},
        **({"platforms": [platform]} if platform else {}),
    }


def solve(
    session: Session,
    plan: BuildPlan,
    definition: Mapping[str, Any],
    how: str = "auto",
    builder: str = "",
    timeout: float | None = None,
) -> tuple[Progress, dict[str, Any]]:
    """Run a definition of the plan; returns what was heard and buildx's metadata by target.

    Ctrl-C is passed on and waited for, so nothing is orphaned. Problems: those of `build_failure.explain`; timed-out
    after so many seconds.
    """
    progress, decoder = Progress(), Decoder()
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        metadata = Path(scratch) / "metadata.json"
        bake = docker.bake(session.root, definition, metadata, builder=builder)
        with build_view.building(session.report, plan, progress, how) as view:

            def hear(chunk: bytes) -> None:
                for status in decoder.feed(chunk):
                    view.update(progress.update(status))

            result = run.stream(session.world, bake, hear, timeout=timeout)
        if result.code == 124 and timeout:
            raise Problem("timed-out", f"It took more than {timeout:.0f} s and was cancelled.", hint="try again later")
        if result.code != 0:
            raise build_failure.explain(progress, decoder.close(), result.code)
        return progress, dict(json.loads(metadata.read_text("utf-8"))) if metadata.is_file() else {}
