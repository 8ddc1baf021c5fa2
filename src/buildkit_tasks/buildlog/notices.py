"""Prints each warning of a finished build once: rustc's about the project, BuildKit's about Dockerfiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from buildkit_tasks.core import units
from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.core.report import Report

from . import remarks

#: Print at most this many warnings from each source, and count the rest.
MOST = 5


def show(report: Report, plan: BuildPlan, progress: Progress) -> None:
    """Print the warnings of a successful build."""
    root = plan.workspace.root
    place = remarks.placer(list(_bases(plan)), lambda path: (root / path).is_file())
    lines = [line for vertex in progress.vertexes.values() if "warning" in "".join(vertex.log) for line in vertex.log]
    found = remarks.warnings(lines, place)
    _print(report, "rustc", [f"{one.message}  {one.file}:{one.line}" for one in found])
    _print(report, "BuildKit", [remarks.clean(text) for text in dict.fromkeys(progress.warnings)])


def _print(report: Report, origin: str, texts: list[str]) -> None:
    if not texts:
        return
    report.say(f"{units.counted(len(texts), 'warning')} from {origin}:", style="yellow")
    for text in texts[:MOST]:
        report.say(f"  {text}")
    if len(texts) > MOST:
        report.say(f"  and {len(texts) - MOST} more    (invoke build --no-cache --progress verbose)")


def _bases(plan: BuildPlan) -> Iterator[str]:
    """Directories, relative to the project, that rustc's paths can start from: each workspace and its context."""
    for service in plan.services:
        if service.remote:
            continue
        context = Path(os.path.relpath(service.context, plan.workspace.root))
        for folder in (context / service.args.get("SOURCE", "."), context):
            yield folder.as_posix()
