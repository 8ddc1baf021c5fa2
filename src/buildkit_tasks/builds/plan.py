"""Computes the `BuildPlan` from settings, workspace, engine and request. Pure: makes all decisions, does no I/O."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from buildkit_tasks.builders.facts import OWN, Builder, assigned, at, platforms_for
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, BuildRequest, Engine, Service, Workspace
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.dockerfiles.document import Dockerfile, Needs, lookup_name
from buildkit_tasks.engine.facts import dotted
from buildkit_tasks.project import compose, sources

from . import compile_groups, compose_target, outputs, own_images
from .compile_groups import Group


@dataclass(frozen=True)
class Surroundings:
    """The facts from outside that a plan needs.

    `dockerfiles`: each service's Dockerfile; None if the context is a URL. `files`: the Dockerfile path to pass to
    BuildKit for each service. `replacements`: maps an image reference to the one to use instead. `transfer`: maps a
    directory to the link through which BuildKit reads it. `foreign`: `replacements` for platforms other than the
    engine's own. `sources`: maps an image to its named context, if the builder does not share the engine's images.
    `tier`: what the engine supports. `builder`: the current builder, with its nodes unless it is the engine's own.
    `ci`: whether this is a CI system. `proxies`: the host's proxy variables, which every builder predefines as
    arguments and keeps out of layers and cache keys. `default_platform`: the platform of services that do not set one.
    """

    dockerfiles: Mapping[str, Dockerfile]
    files: Mapping[str, Path] = field(default_factory=dict)
    replacements: Mapping[str, str] = field(default_factory=dict)
    transfer: Mapping[Path, Path] = field(default_factory=dict)
    foreign: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    tier: str = "full"
    builder: Builder = OWN
    ci: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)
    default_platform: str = ""


def make(
    settings: Settings, space: Workspace, engine: Engine, request: BuildRequest, around: Surroundings
) -> BuildPlan:
    """Make all decisions for one build.

    Problems: those of `compose.select` and `platforms.check`, settings-invalid, compose-key-unsupported, bad-argument.
    """
    chosen = compose.select(space, request.services)
    every = with_contexts(space, chosen)
    incremental, why = _incremental(settings, request, around)
    compression, why_compression = outputs.compression(engine, incremental, around.builder)
    places = {s.name: places_of(s, request, engine, around.builder, around.default_platform) for s in every}
    twins = {s.name: other for s in space.services for other in every if sources.same_build(s, other)}
    files = {n: around.dockerfiles[other.name] for n, other in twins.items() if other.name in around.dockerfiles}
    there = at(engine, around.builder)
    needs = {s.name: needs_of(s, files.get(s.name), places.get(s.name, ()), there) for s in space.services}
    linked = own_images.find(every, needs)
    routes = _routes(every, engine, request, around, places, linked)
    groups = compile_groups.find(space.services, files, needs, settings.build.binary_arg)
    targets: dict[str, Any] = {}
    mounts: dict[str, None] = {}
    notes: list[str] = list(own_images.shared_names(every))
    nonce = secrets.token_hex(8)
    for service in every:
        file = around.dockerfiles.get(service.name)
        target = compose_target.make(service, space, dotted(engine.compose))
        target |= _source(service, around)
        if file and (group := groups.get(service.name)):
            _check_static(settings, service, file, engine, request)
            again = nonce if "REBUILD" in file.arguments and (request.no_cache or target.get("no-cache")) else ""
            if again:
                target.pop("no-cache", None)
            target["args"] = compile_groups.arguments(
                *(service, file, group, group.only(every), space.scope, settings, request),
                incremental=incremental,
                nonce=again,
            )
        elif request.no_cache:
            target["no-cache"] = True
        if file:
            _add_secrets(target, file, settings)
        if target.get("no-cache") and (file is None or file.has_cache_mounts):
            # BuildKit would empty the mounts, even other projects' mounts with the same id:
            # https://github.com/moby/buildkit/issues/4250
            target["args"]["BUILDKIT_CACHE_MOUNT_NS"] = nonce
        elif settings.caches.namespace:
            target["args"]["BUILDKIT_CACHE_MOUNT_NS"] = settings.caches.namespace
        target["args"] = {**around.proxies, **target["args"]}
        _replace_images(service, target, needs[service.name], places[service.name], around, notes)
        for reference, other in linked[service.name].items():
            target["contexts"] = {lookup_name(reference): f"target:{other.key}", **target.get("contexts", {})}
        target.setdefault("output", [compression if service.name in groups else "type=docker"])
        target |= outputs.destination(service, request, target, places[service.name])
        target |= outputs.attestations(settings, request, target)
        for platform in places[service.name] or (platforms.own(engine),):
            known = platforms.arguments(at(engine, around.builder, platform), platform)
            mounts.update(dict.fromkeys(file.cache_ids({**known, **target["args"]}) if file else ()))
        targets[service.key] = {name: value for name, value in target.items() if value or name == "tags"}
    outputs.layer_caches(targets, settings, next((s.key for s in chosen if s.name in groups), chosen[0].key))
    grouped = [g.only(every) for g in {id(groups[s.name]): groups[s.name] for s in every if s.name in groups}.values()]
    return BuildPlan(
        workspace=space,
        services=chosen,
        profile=compile_groups.profile(settings, request, grouped[0].services[0]) if grouped else "",
        incremental=incremental and bool(grouped),
        definition={"group": {"default": {"targets": [s.key for s in chosen]}}, "target": targets},
        reasons={"incremental": why, "layers": why_compression, "binaries": _binaries(grouped)},
        mounts=tuple(mounts),
        routes={r.platform: f"{r.how}: {r.why}{_where(around.builder, r.platform)}" for r in routes},
        builder=around.builder.name,
        groups=tuple(group.services for group in grouped),
        notes=tuple(dict.fromkeys(notes)),
    )


def with_contexts(space: Workspace, chosen: Sequence[Service]) -> tuple[Service, ...]:
    """The services, plus those whose images they use as contexts (`additional_contexts: service:NAME`)."""
    names = [service.name for service in chosen]
    by_name = {service.name: service for service in space.services}
    for name in names:
        values = by_name[name].contexts.values()
        more = (value.partition(":")[2] for value in values if value.startswith("service:"))
        names += [other for other in more if other in by_name and other not in names]
    return tuple(service for service in space.services if service.name in names)


def places_of(
    service: Service, request: BuildRequest, engine: Engine, builder: Builder, default: str = ""
) -> tuple[str, ...]:
    """The platforms to pass to buildx for one service; empty if the engine builds for its own platform."""
    named = request.platforms or service.platforms or ((default,) if default else ())
    return named or platforms_for(request, engine, builder)


def needs_of(service: Service, file: Dockerfile | None, places: Sequence[str], engine: Engine) -> Needs:
    """The stages and images that the build of one service needs, across all its platforms."""
    if file is None:
        return Needs()
    found = [
        file.needs({**platforms.arguments(engine, place), **service.args}, service.target, tuple(service.contexts))
        for place in places or (platforms.own(engine),)
    ]
    stages = {stage.number: stage for needs in found for stage in needs.stages}
    return Needs(tuple(stages.values()), tuple(dict.fromkeys(image for needs in found for image in needs.images)))


def _binaries(groups: Sequence[Group]) -> str:
    return "; ".join(" ".join(group.binaries) for group in groups) or "none"


def _where(builder: Builder, platform: str) -> str:
    node = builder.node_for(platform)
    return f"; built on {node.name} ({node.endpoint})" if node and not builder.own else ""


def _routes(
    services: Sequence[Service],
    engine: Engine,
    request: BuildRequest,
    around: Surroundings,
    places: Mapping[str, tuple[str, ...]],
    linked: Mapping[str, Mapping[str, Service]],
) -> list[platforms.Route]:
    """How each platform is built: the worst case across all services. Refuses builds that should not be attempted."""
    found = []
    for platform in dict.fromkeys(p for s in services for p in places[s.name]):
        there = at(engine, around.builder, platform)
        routes = [
            platforms.route(
                *(around.dockerfiles[s.name], s.args, s.target, platform, there, (*s.contexts, *linked[s.name]))
            )
            for s in services
            if platform in places[s.name] and s.name in around.dockerfiles
        ]
        found += [platforms.worst(routes)] if routes else []
    several = max((places[s.name] for s in services), key=len)
    asked = replace(request, platforms=several if request.platforms or len(several) > 1 else request.platforms)
    # a platform in the compose file is an explicit request, emulated or not
    checked = found if request.platforms else []
    platforms.check(engine, around.tier, around.builder.driver, asked, checked)
    nodes = {node.name: platform for platform, node in assigned(around.builder, request.platforms).items()}
    if request.oci and len(nodes) > 1:
        raise Problem(
            "platform-unsupported",
            f"buildx can join images from multiple nodes ({', '.join(nodes)}) only in a registry.",
            hint="use --push HOST/PATH, or build one --platform at a time",
        )
    own = () if request.platforms or not around.builder.own else (platforms.own(engine),)
    return [route for route in found if route.platform not in own]


def _check_static(
    settings: Settings, service: Service, file: Dockerfile, engine: Engine, request: BuildRequest
) -> None:
    """Refuse the setting `build.static` if it would have no effect or the wrong effect."""
    why = ""
    if not settings.build.static:
        return
    if "STATIC" not in file.arguments:
        why = f"{service.dockerfile} has no `ARG STATIC`: upgrade docker/Dockerfile and docker/compile.rs"
    elif "RUSTFLAGS" in service.args:  # overrides it even if empty
        why = "the build argument RUSTFLAGS overrides it: add -C target-feature=+crt-static to RUSTFLAGS instead"
    elif settings.build.static == "musl" and any(p != platforms.own(engine) for p in request.platforms):
        why = "no musl cross compiler is available for other platforms: set static = gnu"
    if why:
        raise Problem(
            "settings-invalid",
            f"static = {settings.build.static} cannot be used for this build.",
            causes=[why],
            hint=why,
        )


def _incremental(settings: Settings, request: BuildRequest, around: Surroundings) -> tuple[bool, str]:
    """Incremental compilation speeds up edits, but its output is larger and slower, so release images do not use it."""
    if request.incremental is not None:
        return request.incremental, "from the command line"
    if settings.build.incremental != "auto":
        return settings.build.incremental == "on", f"setting build.incremental = {settings.build.incremental}"
    if request.platforms or request.push or request.oci:
        return False, "the image is for other machines"
    if around.ci:
        return False, "CI is set, so this may be a release image"
    return True, "a local build"


def _source(service: Service, around: Surroundings) -> dict[str, Any]:
    """The sources of the context and the Dockerfile."""
    if service.remote:
        found: dict[str, Any] = {"context": service.remote, "dockerfile": str(service.dockerfile)}
    else:
        context = around.transfer.get(service.context, service.context)
        found = {"context": str(context), "dockerfile": str(around.files.get(service.name, service.dockerfile))}
    if service.inline:
        found.pop("dockerfile")
        found["dockerfile-inline"] = around.dockerfiles[service.name].text
    return found


def _replace_images(
    service: Service,
    target: dict[str, Any],
    needs: Needs,
    places: Sequence[str],
    around: Surroundings,
    notes: list[str],
) -> None:
    """Pass directories through their links, and replacements of base images, as named contexts."""
    given = target.get("contexts", {})
    contexts = {
        name: str(around.transfer[Path(value)]) if Path(value) in around.transfer else value
        for name, value in given.items()
    }
    for reference in needs.images:
        if reference in around.replacements:
            image = around.replacements[reference]
            contexts.setdefault(lookup_name(reference), around.sources.get(image, f"docker-image://{image}"))
    for platform, images in around.foreign.items():
        if platform in places:
            # BuildKit looks up NAME::PLATFORM before NAME
            contexts |= {
                f"{lookup_name(ref)}::{platform}": around.sources.get(image, f"docker-image://{image}")
                for ref, image in images.items()
                if ref in needs.images
            }
    file = around.dockerfiles.get(service.name)
    if file and file.syntax in around.replacements:
        target["args"]["BUILDKIT_SYNTAX"] = around.replacements[file.syntax]
    if contexts != given and target.pop("pull", False):
        notes.append(f"{service.name}: `pull` has no effect, because local images replace its base images")
    if contexts:
        target["contexts"] = contexts


def _add_secrets(target: dict[str, Any], file: Dockerfile, settings: Settings) -> None:
    """Add the CA bundle and cargo's configuration if the Dockerfile uses them and the compose file sets neither."""
    given = ",".join(target.get("secret", ()))
    for name, path in (("ca", settings.build.ca_bundle), ("cargo-config", settings.build.cargo_config)):
        if path and name in file.secrets and not re.search(rf"\bid={name}\b", given):
            entry = f"id={name}," + compose_target.field(f"src={path}")
            target["secret"] = [*target.get("secret", ()), entry]
