"""Runs the plan of a build as a single bake solve. `prepare` computes the plan."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, Service, TargetResult
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.legacy import fallback
from buildkit_tasks.project.discover import Project, variables

from . import compose_target
from .solve import solve


def execute(
    session: Session,
    project: Project,
    plan: BuildPlan,
    how: str = "auto",
    progress: Progress | None = None,
    started: Callable[[], None] | None = None,
) -> BuildOutcome:
    """Run the solve and collect its progress. Forwards Ctrl-C to the child and waits for it to exit.

    `started` is called each time bake starts.
    """
    _check_disk(session, project)
    _check_layer_cache(session, project)
    began = session.world.clock()
    chosen = fallback.tier(session, project.engine)
    if chosen.name != "full":
        before_ids = image_choice.ids(session, [s.image for s in plan.services])
        return fallback.execute(session, plan, chosen, before_ids, how)
    if session.world.env.get("DOCKER_BUILDKIT", "").lower() in ("0", "false"):
        session.report.say("ignoring DOCKER_BUILDKIT=0; to build without BuildKit, set builders.name = legacy")
    for platform, route in plan.routes.items():
        session.report.say(f"  {platform}  {route}")
    names = (n for s in plan.services for n in compose_target.secret_variables(s, plan.workspace))
    secrets = variables(session, tuple(dict.fromkeys(names)))
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(image_choice.ids, session, [s.image for s in plan.services])
        progress, digests = solve(
            *(session, plan, plan.definition, how), variables=secrets, progress=progress, started=started
        )
        old = before.result()
    definition = plan.definition["target"]
    if foreign := [p for p in plan.routes if p != platforms.own(project.engine)]:
        from buildkit_tasks.images import start as image_start  # imported late: few builds are for another platform

        image_start.look(session, plan, foreign)
    targets = tuple(
        _target_result(s, definition[s.key], digests.get(s.key, {}), old.get(s.image, "")) for s in plan.services
    )
    return progress.outcome(session.world.clock() - began, targets, incremental=plan.incremental)


def _target_result(
    service: Service, target: Mapping[str, Any], metadata: Mapping[str, str], before: str
) -> TargetResult:
    """Return the result for one image. Without the containerd store, engines identify images by config digest."""
    digest, config = (metadata.get(f"containerimage.{name}", "") for name in ("digest", "config.digest"))
    same = before in (digest, config) and before != ""
    return TargetResult(service.name, next(iter(target["tags"]), service.image), digest, not same, config)


def _check_layer_cache(session: Session, project: Project) -> None:
    """Check that the engine can export the layer cache, if one is set. The docker driver needs the containerd store."""
    wanted = [one for one in session.settings.caches.layers_to if not one.startswith("type=inline")]
    if not wanted or project.engine.containerd_store:
        return
    if builder_choice.chosen(session).own:
        raise Problem(
            "settings-invalid",
            f"This engine cannot export the layer cache {wanted[0]!r}.",
            causes=["the docker driver can export layer caches only if the containerd image store is enabled"],
            hint='set {"features": {"containerd-snapshotter": true}} in daemon.json, or use another driver '
            "(docker buildx create --use)",
        )


def _check_disk(session: Session, project: Project) -> None:
    """If the engine's data is on this machine, fail below 1 GB of free space and warn below the setting."""
    root = Path(project.engine.root_dir or "/nonexistent")
    try:
        free = shutil.disk_usage(root).free / 1e9
    except OSError:
        return
    if free < 1:
        raise Problem(
            "disk-full",
            f"Only {free:.1f} GB is free on {root}; a build needs at least 1 GB.",
            hint="run `invoke prune`, which lists everything it would delete, then asks for confirmation",
        )
    if free * 1e9 < session.settings.caches.min_free:
        session.report.warn(f"only {free:.1f} GB is free on {root}; run `invoke prune` to free some space")
