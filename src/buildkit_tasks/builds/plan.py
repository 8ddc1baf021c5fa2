"""Computes the `BuildPlan` from settings, workspace, engine and targets. Pure: does no I/O."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.builders.facts import Builder, at
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, BuildRequest, Engine, Service, Workspace
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.dockerfiles.document import Dockerfile, lookup_name
from buildkit_tasks.engine.facts import dotted
from buildkit_tasks.project import sources

from . import compile_groups, compose_target, outputs, own_images
from .compile_groups import Group
from .routes import find as find_routes
from .targets import Targets, needs_of


@dataclass(frozen=True)
class Surroundings:
    """Replacements for the paths and images in the user's files, and facts about the host.

    `files`: the Dockerfile path to pass to BuildKit for each service. `replacements`: maps an image reference to the
    one to use instead. `transfer`: maps a directory to the link that BuildKit reads it through. `foreign`:
    `replacements` for platforms other than the engine's own. `sources`: maps an image to its named context, if the
    builder does not share the engine's images. `ci`: whether the build runs in CI. `proxies`: the host's proxy
    variables, which every builder predefines as arguments and keeps out of layers and cache keys.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    replacements: Mapping[str, str] = field(default_factory=dict)
    transfer: Mapping[Path, Path] = field(default_factory=dict)
    foreign: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    ci: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)


def make(
    settings: Settings, workspace: Workspace, engine: Engine, targets: Targets, surroundings: Surroundings
) -> BuildPlan:
    """Make all remaining decisions for one build.

    Problems: those of `routes.find`, settings-invalid, compose-key-unsupported, bad-argument.
    """
    request, services, builder, places = targets.request, targets.services, targets.builder, targets.platforms
    incremental, why = _incremental(settings, request, surroundings)
    compression, why_compression = outputs.compression(engine, incremental, builder)
    routes = find_routes(targets, engine)
    groups = _groups(settings, workspace, targets)
    definition: dict[str, Any] = {}
    mounts: dict[str, None] = {}
    notes: list[str] = list(own_images.shared_names(services))
    nonce = secrets.token_hex(8)
    for service in services:
        file = targets.dockerfiles.get(service.name)
        target = compose_target.make(service, workspace, dotted(engine.compose))
        target |= _source(service, file, surroundings)
        if file and (group := groups.get(service.name)):
            _check_static(settings, service, file, engine, request)
            again = nonce if "REBUILD" in file.arguments and (request.no_cache or target.get("no-cache")) else ""
            if again:
                target.pop("no-cache", None)
            target["args"] = compile_groups.arguments(
                *(service, file, group, group.only(services), workspace.scope, settings, request),
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
        target["args"] = {**surroundings.proxies, **target["args"]}
        _replace_images(service, target, targets, surroundings, notes)
        for reference, other in targets.linked[service.name].items():
            target["contexts"] = {lookup_name(reference): f"target:{other.key}", **target.get("contexts", {})}
        target.setdefault("output", [compression if service.name in groups else "type=docker"])
        target |= outputs.destination(service, request, target, places[service.name])
        target |= outputs.attestations(settings, request, target)
        for platform in places[service.name] or (platforms.own(engine),):
            known = platforms.arguments(at(engine, builder, platform), platform)
            mounts.update(dict.fromkeys(file.cache_ids({**known, **target["args"]}) if file else ()))
        definition[service.key] = {name: value for name, value in target.items() if value or name == "tags"}
    exporter = next((s for s in targets.named if s.name in groups), targets.named[0])
    outputs.layer_caches(definition, settings, exporter.key)
    own_groups = {id(groups[s.name]): groups[s.name] for s in services if s.name in groups}
    grouped = [group.only(services) for group in own_groups.values()]
    return BuildPlan(
        workspace=workspace,
        services=targets.named,
        profile=compile_groups.profile(settings, request, grouped[0].services[0]) if grouped else "",
        incremental=incremental and bool(grouped),
        definition={"group": {"default": {"targets": [s.key for s in targets.named]}}, "target": definition},
        reasons={"incremental": why, "layers": why_compression, "binaries": _binaries(grouped)},
        mounts=tuple(mounts),
        routes={r.platform: f"{r.how}: {r.why}{_where(builder, r.platform)}" for r in routes},
        builder=builder.name,
        groups=tuple(group.services for group in grouped),
        notes=tuple(dict.fromkeys(notes)),
    )


def _binaries(groups: Sequence[Group]) -> str:
    return "; ".join(" ".join(group.binaries) for group in groups) or "none"


def _where(builder: Builder, platform: str) -> str:
    node = builder.node_for(platform)
    return f"; built on {node.name} ({node.endpoint})" if node and not builder.own else ""


def _groups(settings: Settings, workspace: Workspace, targets: Targets) -> dict[str, Group]:
    """Return the compile group of every service, built or not: the selection must not change cargo's features.

    A service that is not built uses the Dockerfile of a service that is built the same way.
    """
    twins = {s.name: other for s in workspace.services for other in targets.services if sources.same_build(s, other)}
    files = {n: targets.dockerfiles[other.name] for n, other in twins.items() if other.name in targets.dockerfiles}
    needs = {
        s.name: targets.needs[s.name] if s.name in targets.needs else needs_of(s, files.get(s.name), (), targets.node)
        for s in workspace.services
    }
    return compile_groups.find(workspace.services, files, needs, settings.build.binary_arg)


def _check_static(
    settings: Settings, service: Service, file: Dockerfile, engine: Engine, request: BuildRequest
) -> None:
    """Refuse the `build.static` setting if it would have no effect or the wrong effect."""
    why = hint = ""
    if not settings.build.static:
        return
    if "STATIC" not in file.arguments:
        why, hint = f"{service.dockerfile} has no `ARG STATIC`", "run `buildkit-tasks init --upgrade`"
    elif "RUSTFLAGS" in service.args:  # overrides it even if empty
        why = f"{service.name}'s RUSTFLAGS override build.static"
        hint = "add `-C target-feature=+crt-static` to RUSTFLAGS instead"
    elif settings.build.static == "musl" and any(p != platforms.own(engine) for p in request.platforms):
        why, hint = "no musl cross compiler is available for other platforms", "set build.static = gnu"
    if why:
        problem = f"static = {settings.build.static} cannot be used for this build."
        raise Problem("settings-invalid", problem, causes=[why], hint=hint)


def _incremental(settings: Settings, request: BuildRequest, surroundings: Surroundings) -> tuple[bool, str]:
    """Incremental compilation speeds up edits, but its output is larger and slower, so release images do not use it."""
    if request.incremental is not None:
        return request.incremental, "from the command line"
    if settings.build.incremental != "auto":
        return settings.build.incremental == "on", f"setting build.incremental = {settings.build.incremental}"
    if request.platforms or request.push or request.oci:
        return False, "the image is for other machines"
    if surroundings.ci:
        return False, "CI is set, so this may be a release image"
    return True, "a local build"


def _source(service: Service, file: Dockerfile | None, surroundings: Surroundings) -> dict[str, Any]:
    """Return the bake keys of the context and the Dockerfile."""
    if service.remote:
        found: dict[str, Any] = {"context": service.remote, "dockerfile": str(service.dockerfile)}
    else:
        context = surroundings.transfer.get(service.context, service.context)
        found = {"context": str(context), "dockerfile": str(surroundings.files.get(service.name, service.dockerfile))}
    if service.inline and file:
        found.pop("dockerfile")
        found["dockerfile-inline"] = file.text
    return found


def _replace_images(
    service: Service, target: dict[str, Any], targets: Targets, surroundings: Surroundings, notes: list[str]
) -> None:
    """Add named contexts: directories through their links, and replacements for base images."""
    given, images = target.get("contexts", {}), targets.needs[service.name].images
    contexts = {
        name: str(surroundings.transfer[Path(value)]) if Path(value) in surroundings.transfer else value
        for name, value in given.items()
    }
    for reference in images:
        if reference in surroundings.replacements:
            image = surroundings.replacements[reference]
            contexts.setdefault(lookup_name(reference), surroundings.sources.get(image, f"docker-image://{image}"))
    for platform, others in surroundings.foreign.items():
        if platform in targets.platforms[service.name]:
            # BuildKit looks up NAME::PLATFORM before NAME
            contexts |= {
                f"{lookup_name(ref)}::{platform}": surroundings.sources.get(image, f"docker-image://{image}")
                for ref, image in others.items()
                if ref in images
            }
    file = targets.dockerfiles.get(service.name)
    if file and file.syntax in surroundings.replacements:
        target["args"]["BUILDKIT_SYNTAX"] = surroundings.replacements[file.syntax]
    if contexts != given and target.pop("pull", False):
        notes.append(f"{service.name}: `pull` has no effect because local images replace its base images")
    if contexts:
        target["contexts"] = contexts


def _add_secrets(target: dict[str, Any], file: Dockerfile, settings: Settings) -> None:
    """Add the CA bundle and cargo's configuration if the Dockerfile uses them, unless the compose file sets them."""
    given = ",".join(target.get("secret", ()))
    for name, path in (("ca", settings.build.ca_bundle), ("cargo-config", settings.build.cargo_config)):
        if path and name in file.secrets and not re.search(rf"\bid={name}\b", given):
            entry = f"id={name}," + compose_target.field(f"src={path}")
            target["secret"] = [*target.get("secret", ()), entry]
