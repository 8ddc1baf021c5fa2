"""(settings, workspace, engine, request) to `BuildPlan`. Pure: everything is decided here, nothing is run or read."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, BuildRequest, Engine, Service, Workspace
from buildkit_tasks.core.settings import Settings
from buildkit_tasks.dockerfiles import platforms, syntax
from buildkit_tasks.project import compose

from .builder_facts import OWN, Builder, assigned, at, platforms_for


@dataclass(frozen=True)
class Surroundings:
    """What the edges found out for a plan.

    `dockerfiles`: text by path. `replacements`: image reference to the one to use instead. `transfer`: context
    directory to the link that BuildKit shall read it through. `foreign`: `replacements` for platforms other than the
    engine's own. `sources`: image to what a named context calls it, where the builder does not share the engine's
    images. `tier`: what the engine can do. `builder`: the one in use, with its nodes where it is not the engine's own.
    `ci`: a CI system runs us. `proxies`: the host's proxy variables, which every builder knows as arguments and keeps
    out of layers and cache keys.
    """

    dockerfiles: Mapping[Path, str]
    replacements: Mapping[str, str] = field(default_factory=dict)
    transfer: Mapping[Path, Path] = field(default_factory=dict)
    foreign: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    tier: str = "full"
    builder: Builder = OWN
    ci: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)


def make(
    settings: Settings, space: Workspace, engine: Engine, request: BuildRequest, around: Surroundings
) -> BuildPlan:
    """The whole decision for one build. Problems: of `workspace.select` and `platforms.check`, settings-invalid."""
    chosen = compose.select(space, request.services)
    incremental, why = _incremental(settings, request, around)
    request = replace(request, platforms=platforms_for(request, engine, around.builder))
    profile = request.profile or settings.build.profile
    compression, why_compression = _compression(engine, incremental, around.builder)
    routes = _routes(chosen, engine, request, around)
    nonce = secrets.token_hex(8) if request.no_cache else ""
    common = {
        "PROFILE": profile,
        "CARGO_INCREMENTAL": "1" if incremental else "0",
        "REBUILD": nonce,
        "STATIC": settings.build.static,
        "BUILDKIT_CACHE_MOUNT_NS": settings.caches.namespace,
    }
    bins = "" if len(chosen) == len(space.services) else " ".join(dict.fromkeys(s.binary for s in chosen))
    targets: dict[str, Any] = {}
    mounts: dict[str, None] = {}
    for service in chosen:
        text = around.dockerfiles[service.dockerfile]
        _check_static(settings, service, text, engine, request)
        ours = {**common, "BINS": bins, "PROGRAMS": _programs(space, service), "CACHE_SCOPE": space.scope}
        args = _arguments(service, text, ours, settings)
        args = {**around.proxies, **args}
        targets[service.name] = _target(service, text, args, settings, around, compression)
        targets[service.name] |= _destination(service, request)
        for platform in request.platforms or (platforms.own(engine),):
            known = _platform_args(at(engine, around.builder, platform), platform)
            mounts.update(dict.fromkeys(syntax.cache_ids(text, {**known, **args})))
    _layer_caches(targets, settings)
    return BuildPlan(
        workspace=space,
        services=chosen,
        profile=profile,
        incremental=incremental,
        definition={"group": {"default": {"targets": list(targets)}}, "target": targets},
        reasons={"incremental": why, "layers": why_compression, "binaries": bins or "all (one cargo run for all)"},
        mounts=tuple(mounts),
        routes={r.platform: f"{r.how}: {r.why}{_where(around.builder, r.platform)}" for r in routes},
        builder=around.builder.name,
    )


def _where(builder: Builder, platform: str) -> str:
    node = builder.node_for(platform)
    return f"; here is {node.name} ({node.endpoint})" if node and not builder.own else ""


def _routes(
    chosen: Sequence[Service], engine: Engine, request: BuildRequest, around: Surroundings
) -> list[platforms.Route]:
    """How each platform asked for is reached, the worst of all services; refuses what should not be tried."""
    found = [
        platforms.worst(
            [
                platforms.route(
                    around.dockerfiles[s.dockerfile], s.args, s.target, platform, at(engine, around.builder, platform)
                )
                for s in chosen
            ]
        )
        for platform in request.platforms
    ]
    platforms.check(engine, around.tier, around.builder.driver, request, found)
    nodes = {node.name: platform for platform, node in assigned(around.builder, request.platforms).items()}
    if request.oci and len(nodes) > 1:
        raise Problem(
            "platform-unsupported",
            f"buildx joins images of several nodes ({', '.join(nodes)}) in a registry only.",
            hint="--push HOST/PATH, or one --platform at a time",
        )
    return found


def _check_static(settings: Settings, service: Service, text: str, engine: Engine, request: BuildRequest) -> None:
    """Where the setting `static` would have no effect, or a wrong one, it is refused."""
    why = ""
    if not settings.build.static:
        return
    if "STATIC" not in syntax.arguments(text):
        why = f"{service.dockerfile} has no `ARG STATIC`: take over the newer docker/Dockerfile and docker/compile.rs"
    elif "RUSTFLAGS" in service.args:  # an empty one outdoes it as well
        why = "the build argument RUSTFLAGS outdoes it: write -C target-feature=+crt-static there instead"
    elif settings.build.static == "musl" and any(p != platforms.own(engine) for p in request.platforms):
        why = "for another platform than the engine's own there is no cross compiler for musl here: static = gnu"
    if why:
        raise Problem(
            "settings-invalid", f"static = {settings.build.static} is of no use here.", causes=[why], hint=why
        )


def _destination(service: Service, request: BuildRequest) -> dict[str, Any]:
    """Where an image goes, and for which platforms, where that is not the engine and its own."""
    where: dict[str, Any] = {"platforms": list(request.platforms)} if request.platforms else {}
    if request.push:
        image = pushed_name(service, request.push)
        where |= {"tags": [image], "output": ["type=image,push=true"]}
        if request.by_digest:
            where |= {"tags": [], "output": [f"type=image,name={repository(image)},push=true,push-by-digest=true"]}
    elif request.oci:
        where |= {"output": [f"type=oci,dest={request.oci}/{service.name}.tar"]}
    elif request.platforms:
        where |= {"output": ["type=docker" if len(request.platforms) == 1 else "type=image"]}
    return where


def pushed_name(service: Service, push: str) -> str:
    """What a service's image is called in the registry and path that images are pushed to."""
    return f"{push.rstrip('/')}/{service.image.rpartition('/')[2]}"


def repository(image: str) -> str:
    """An image's name without its tag."""
    return image.rpartition(":")[0] if ":" in image.rpartition("/")[2] else image


def _layer_caches(targets: Mapping[str, dict[str, Any]], settings: Settings) -> None:
    """BuildKit's own caches: every target reads them; one writes, because they share all but a last small layer."""
    sources, places = list(settings.caches.layers_from), list(settings.caches.layers_to)
    for name, given in (("caches.layers_from", sources), ("caches.layers_to", places)):
        for one in given:
            if not re.match(r"type=[a-z0-9]+(,|$)", one):
                raise Problem(
                    "settings-invalid",
                    f"{name} = {one!r} is no layer cache.",
                    hint="for example type=registry,ref=HOST/PATH:layers,mode=max",
                )
    for number, target in enumerate(targets.values()):
        if sources:
            target["cache-from"] = sources
        if places and number == 0:
            target["cache-to"] = places


def _incremental(settings: Settings, request: BuildRequest, around: Surroundings) -> tuple[bool, str]:
    """Incremental compilation shortens an edit's wait; its objects are larger and slower: not for what ships."""
    if request.incremental is not None:
        return request.incremental, "asked for on the command line"
    if settings.build.incremental != "auto":
        return settings.build.incremental == "on", f"setting incremental = {settings.build.incremental}"
    if request.platforms or request.push or request.oci:
        return False, "an image for other machines"
    if around.ci:
        return False, "CI is set: the image may ship"
    return True, "a local build"


def _compression(engine: Engine, incremental: bool, builder: Builder) -> tuple[str, str]:
    """Layers of a local edit build stay uncompressed: gzip costs more than the copy (15 MB: 1.7 s against 1.0 s).

    Only the containerd store keeps layers as blobs; images that may ship are compressed as always.
    """
    if not builder.own:
        return "type=docker", f"handed to the engine by the builder {builder.name}"
    if engine.containerd_store and incremental:
        return "type=image,compression=uncompressed", "uncompressed: a local build, not for shipping"
    return "type=docker", "compressed as docker build does"


def _programs(space: Workspace, service: Service) -> str:
    """The programs of all services that one cargo run compiles together with this one's, whichever are chosen.

    Features of dependencies depend on which packages are selected: so the selection never depends on the choice.
    """

    def group(one: Service) -> tuple[object, ...]:
        return one.context, one.dockerfile, {name: value for name, value in one.args.items() if name != "BIN"}

    return " ".join(sorted({one.binary for one in space.services if group(one) == group(service)}))


def _arguments(service: Service, text: str, ours: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The service's own arguments, and ours where the Dockerfile declares them; empty ones would only change keys."""
    declared = syntax.arguments(text) | {"BUILDKIT_CACHE_MOUNT_NS"}
    if ours["REBUILD"] and "REBUILD" not in declared:
        raise Problem(
            "bad-argument",
            f"{service.dockerfile} has no `ARG REBUILD`, so --no-cache has no safe way to run its steps again.",
            causes=["docker's own --no-cache would also throw away the cache mounts (moby/buildkit#4250)"],
            hint="add `ARG REBUILD` before the compile step",
        )
    args = dict(service.args)
    for name, value in ours.items():
        if name == "CACHE_SCOPE" and args.get(name) and not settings.caches.scope:
            continue  # the compose file decides, so that plain `docker compose build` uses the same mounts
        if name in declared and value:
            args[name] = value
    return args


def _target(
    service: Service,
    text: str,
    args: Mapping[str, str],
    settings: Settings,
    around: Surroundings,
    output: str,
) -> dict[str, Any]:
    context = around.transfer.get(service.context, service.context)
    file = service.dockerfile
    if file.is_relative_to(service.context):
        file = context / file.relative_to(service.context)
    contexts = dict(service.contexts)
    for reference in syntax.base_images(text, service.args):
        if reference in around.replacements:
            contexts.setdefault(reference, _source(around, around.replacements[reference]))
    for platform, images in around.foreign.items():
        # BuildKit asks for NAME::PLATFORM before NAME
        contexts |= {f"{reference}::{platform}": _source(around, image) for reference, image in images.items()}
    target: dict[str, Any] = {
        "context": str(context),
        "dockerfile": str(file),
        "args": dict(args),
        "tags": [service.image],
        "output": [output],
    }
    if service.target:
        target["target"] = service.target
    if contexts:
        target["contexts"] = contexts
    known = {m.options.get("id") for m in syntax.mounts(text) if m.type == "secret"}
    files = {"ca": settings.build.ca_bundle, "cargo-config": settings.build.cargo_config}
    secret = [f"id={name},src={file}" for name, file in files.items() if file and name in known]
    if secret:
        target["secret"] = secret
    return target


def _source(around: Surroundings, image: str) -> str:
    return around.sources.get(image, f"docker-image://{image}")


def _platform_args(engine: Engine, platform: str) -> dict[str, str]:
    system, _, arch = platform.partition("/")
    return {"TARGETARCH": arch.partition("/")[0], "TARGETOS": system, "BUILDARCH": engine.arch}


#: Arguments that every builder knows without an ARG: https://docs.docker.com/build/building/variables/#proxy-arguments
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of an environment, in the spelling (capitals or not) that they have there."""
    return {n: env[n] for name in PROXIES for n in (name, name.lower()) if env.get(n)}


def _shown(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition for a screen: what stands before the @ of a proxy's address is a password."""
    shown: dict[str, Any] = json.loads(json.dumps(definition))
    for target in shown.get("target", {}).values():
        for name, value in target.get("args", {}).items():
            if name.upper() in PROXIES:
                target["args"][name] = re.sub(r"//[^@/]*@", "//***@", value)
    return shown


def describe(plan: BuildPlan) -> dict[str, Any]:
    """The plan as JSON-ready values, for `--plan --json`."""
    return {
        "project": plan.workspace.project,
        "services": [s.name for s in plan.services],
        "binaries": [s.binary for s in plan.services],
        "profile": plan.profile,
        "incremental": plan.incremental,
        "reasons": dict(plan.reasons),
        "mounts": list(plan.mounts),
        "platforms": dict(plan.routes),
        "builder": plan.builder or None,
        "bake": _shown(plan.definition),
    }
