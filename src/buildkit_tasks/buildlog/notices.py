"""Prints each warning of a finished build once: rustc's about the project, and BuildKit's about Dockerfiles."""

from __future__ import annotations

from buildkit_tasks.core import units
from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.core.report import Report

from . import remarks, source_paths

#: Print at most this many warnings from each source, and count the rest.
MOST = 5


def show(report: Report, plan: BuildPlan, progress: Progress) -> None:
    """Print the warnings of a successful build."""
    lines = [line for vertex in progress.vertexes.values() if "warning" in "".join(vertex.log) for line in vertex.log]
    found = remarks.warnings(lines, source_paths.placer(plan))
    _print(report, "rustc", [f"{one.message}  {one.file}:{one.line}" for one in found])
    _print(report, "BuildKit", [remarks.clean(text) for text in dict.fromkeys(progress.warnings)])


def _print(report: Report, origin: str, texts: list[str]) -> None:
    if not texts:
        return
    report.say(f"{units.counted(len(texts), 'warning')} from {origin}:", style="yellow")
    for text in texts[:MOST]:
        report.say(f"  {text}")
    if len(texts) > MOST:
        report.say(f"  and {len(texts) - MOST} more    (to see all, run `invoke build --no-cache --progress verbose`)")
