"""Build an image for multiple platforms on multiple builders: each pushes its part, and a manifest list joins them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from buildkit_tasks.builds import outputs
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildRequest
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.project.discover import Project

Build = Callable[[Session, Project, BuildRequest], BuildOutcome]


def build(
    session: Session,
    project: Project,
    request: BuildRequest,
    groups: Mapping[str, tuple[str, ...]],
    one: Build,
) -> BuildOutcome:
    """Build each builder's platforms with `one`, then join the results.

    `groups`: builder to platforms; "" is the session's. Raises `Problem` platform-unsupported without a registry.
    """
    if not request.push:
        raise Problem(
            "platform-unsupported",
            "These platforms are built by multiple builders, and only a registry can join their images.",
            causes=[f"{', '.join(places)}: {name or 'the current builder'}" for name, places in groups.items()],
            hint="use --push HOST/PATH, or one builder with multiple nodes: invoke builder.create NAME --append",
        )
    first = session.world.env.get("BUILDX_BUILDER") or project.engine.context
    parts: list[BuildOutcome] = []
    for name, places in groups.items():
        session.use_builder(name or first)
        parts.append(one(session, project, replace(request, platforms=places, by_digest=True)))
    session.use_builder(first)
    joined = []
    for results in zip(*(part.targets for part in parts), strict=True):
        service = next(s for s in project.workspace.services if s.name == results[0].service)
        image = outputs.pushed_name(service, request.push)
        digests = [f"{outputs.repository(image)}@{result.digest}" for result in results]
        run.check(session.world, buildx.join_images(session.root, image, digests))
        session.report.say(f"{image}: pushed the manifest list for {', '.join(request.platforms)}")
        joined.append(replace(results[0], image=image, digest=""))
    return replace(
        parts[0],
        seconds=sum(part.seconds for part in parts),
        compiled=tuple(dict.fromkeys(crate for part in parts for crate in part.compiled)),
        steps=tuple(step for part in parts for step in part.steps),
        targets=tuple(joined),
        recorded=tuple(number for part in parts for number in part.recorded),
    )
