"""Warms the caches for nightly jobs and new nodes: compiles the dependencies, but not the workspace's own crates."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from buildkit_tasks.builds.prepare import compiling, plan_build
from buildkit_tasks.builds.solve import solve, stand_in
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.model import BuildPlan, BuildRequest
from buildkit_tasks.platforms.names import named
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project, discover

from . import warm_step


@dataclass(frozen=True)
class Warmed:
    """One finished run: its profile and platform, wall seconds, number of compiled crates."""

    profile: str
    platform: str
    seconds: float
    crates: int


def warm(
    session: Session,
    *,
    profiles: Sequence[str] = (),
    platforms: Sequence[str] = (),
    builder: str = "",
    progress: str = "auto",
) -> None:
    """Compile the dependencies of all services for each profile and platform (default: those of the build).

    Problems: those of discovery and planning, cache-missing, compile-failed, build-failed.
    """
    project = discover(session)
    if builder:
        session.use_builder(builder)
    done = [
        _warm(session, project, profile, place, builder, progress)
        for profile in (profiles or ("",))
        for place in (named(platforms) or ("",))
    ]
    if session.report.json_only:
        runs = [
            {"profile": w.profile, "platform": w.platform or None, "seconds": round(w.seconds, 1), "crates": w.crates}
            for w in done
        ]
        session.report.envelope({"warmed": runs})
    for w in done:
        where = f", {w.platform}" if w.platform else ""
        crates = units.counted(w.crates, "crate")
        session.report.say(f"warm ({w.profile}{where}): {crates} compiled in {w.seconds:.1f} s")


def _warm(session: Session, project: Project, profile: str, place: str, builder: str, how: str) -> Warmed:
    request = BuildRequest(profile=profile, progress=how)
    plan = compiling(plan_build(session, project, request))
    began = session.world.clock()
    with as_file(files("buildkit_tasks") / "data" / "cache") as scripts:
        heard, _ = solve(session, plan, _definition(plan, scripts, place), how, builder)
    lines = "\n".join(line for vertex in heard.vertexes.values() for line in vertex.log)
    counts = [int(n) for n in re.findall(r"^buildkit-tasks: warmed (\d+)$", lines, re.MULTILINE)]
    return Warmed(plan.profile, place, session.world.clock() - began, sum(counts))


def _definition(plan: BuildPlan, scripts: Path, place: str) -> dict[str, Any]:
    """Return the plan's own targets with wrapped compile steps, one per compile group."""
    targets: dict[str, Any] = {}
    for service, *_others in plan.groups:
        target = plan.definition["target"][service.key]
        text, stage = warm_step.derive(sources.known(service).text, dict(target.get("args", {})), secrets.token_hex(8))
        contexts = {warm_step.CONTEXT: str(scripts)}
        targets[service.key] = stand_in(target, text, stage, contexts, place) | {"output": ["type=cacheonly"]}
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}
