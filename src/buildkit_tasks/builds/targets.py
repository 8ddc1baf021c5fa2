"""Chooses the services, platforms, builder and Dockerfiles of a build, once for all later steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.builders.facts import OWN, Builder, at, platforms_for
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildRequest, Engine, Service, Workspace
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.dockerfiles.document import Dockerfile, Needs
from buildkit_tasks.legacy import fallback
from buildkit_tasks.project import compose, sources
from buildkit_tasks.project.discover import Project

from . import compose_target, own_images

_DEFAULT_PLATFORM = "DOCKER_DEFAULT_PLATFORM"


@dataclass(frozen=True)
class Targets:
    """What a request builds, and on which builder.

    `named`: the requested services. `services`: also the services whose images they use as contexts. By service:
    `platforms`, to pass to buildx (none for the node's own); `dockerfiles` (none if the context is a URL); `needs`, the
    parts of the Dockerfile that the build uses; `linked`, the images of other targets that it uses. `tier`: what the
    engine supports. `node`: the machine that builds by default.
    """

    request: BuildRequest
    named: tuple[Service, ...]
    services: tuple[Service, ...]
    tier: str
    builder: Builder
    node: Engine
    platforms: Mapping[str, tuple[str, ...]]
    dockerfiles: Mapping[str, Dockerfile]
    needs: Mapping[str, Needs]
    linked: Mapping[str, Mapping[str, Service]]


def choose(session: Session, project: Project, request: BuildRequest) -> Targets:
    """Select the services, the builder and the platforms of a request.

    Problems: those of `compose.select`, platform-unsupported, builder-unreachable.
    """
    workspace, engine = project.workspace, project.engine
    named = compose.select(workspace, request.services)
    services = with_contexts(workspace, named)
    default = session.world.env.get(_DEFAULT_PLATFORM) or session.dotenv.get(_DEFAULT_PLATFORM, "")
    compose_target.check_platforms(services if not request.platforms else (), default)
    dockerfiles = {s.name: file for s in services if (file := sources.read(s)) is not None}
    tier = fallback.tier(session, engine).name
    builder = builder_choice.ready(session, engine, request) if tier == "full" else OWN
    return of(*(engine, request, named, services, dockerfiles), builder=builder, tier=tier, default_platform=default)


def of(
    engine: Engine,
    request: BuildRequest,
    named: tuple[Service, ...],
    services: tuple[Service, ...],
    dockerfiles: Mapping[str, Dockerfile],
    *,
    builder: Builder = OWN,
    tier: str = "full",
    default_platform: str = "",
) -> Targets:
    """Return the targets of the named services. Pure. `default_platform`: for services that do not set one."""
    default = (default_platform,) if default_platform else ()
    places = {
        s.name: request.platforms or s.platforms or default or platforms_for(request, engine, builder) for s in services
    }
    node = at(engine, builder)
    needs = {s.name: needs_of(s, dockerfiles.get(s.name), places[s.name], node) for s in services}
    linked = own_images.find(services, needs)
    return Targets(request, named, services, tier, builder, node, places, dockerfiles, needs, linked)


def with_contexts(workspace: Workspace, chosen: Sequence[Service]) -> tuple[Service, ...]:
    """Return the services, plus those whose images they use as contexts (`additional_contexts: service:NAME`)."""
    names = [service.name for service in chosen]
    by_name = {service.name: service for service in workspace.services}
    for name in names:
        values = by_name[name].contexts.values()
        more = (value.partition(":")[2] for value in values if value.startswith("service:"))
        names += [other for other in more if other in by_name and other not in names]
    return tuple(service for service in workspace.services if service.name in names)


def needs_of(service: Service, file: Dockerfile | None, places: Sequence[str], engine: Engine) -> Needs:
    """Return the stages and images that the build of one service needs, across all its platforms."""
    if file is None:
        return Needs()
    found = [
        file.needs({**platforms.arguments(engine, place), **service.args}, service.target, tuple(service.contexts))
        for place in places or (platforms.own(engine),)
    ]
    stages = {stage.number: stage for needs in found for stage in needs.stages}
    images = tuple(dict.fromkeys(image for needs in found for image in needs.images))
    return Needs(tuple(stages.values()), images, frozenset(name for needs in found for name in needs.contexts))
