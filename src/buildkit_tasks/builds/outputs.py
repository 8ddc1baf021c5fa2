"""Chooses the outputs of a build (engine, registry or archives) and its layer caches. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from buildkit_tasks.builders.facts import Builder
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Engine, Service


def destination(
    service: Service, request: BuildRequest, target: Mapping[str, Any], places: Sequence[str]
) -> dict[str, Any]:
    """Return the bake keys for an image's output and platforms: none if it is loaded for the engine's own platform."""
    where: dict[str, Any] = {"platforms": list(places)} if places else {}
    if request.push:
        image = pushed_name(service, request.push)
        where |= {"tags": [image], "output": ["type=image,push=true"]}
        if request.by_digest:
            where |= {"tags": [], "output": [f"type=image,name={repository(image)},push=true,push-by-digest=true"]}
    elif request.oci:
        where |= {"output": [f"type=oci,dest={request.oci}/{service.name}.tar"]}
    elif "output" in (service.build.get("x-bake") or {}):
        where |= {"output": target["output"]}
    elif places:
        where |= {"output": ["type=docker" if len(places) == 1 else "type=image"]}
    return where


def attestations(settings: Settings, request: BuildRequest, target: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attestations to attach to a pushed image, unless the compose file sets them."""
    given = target.get("attest") or []
    if not request.push:
        return {}
    kinds = {"provenance": settings.build.provenance, "sbom": settings.build.sbom}
    words = {
        kind: f"type={kind},mode={value}" if kind == "provenance" else f"type={kind}"
        for kind, value in kinds.items()
        if value != "off" and not any(one.startswith(f"type={kind}") for one in given)
    }
    return {"attest": [*given, *words.values()]} if words else {}


def compression(engine: Engine, incremental: bool, builder: Builder) -> tuple[str, str]:
    """Leave layers of local development builds uncompressed: gzip takes longer than copying (15 MB: 1.7 s vs 1.0 s).

    Only the containerd store keeps layers as blobs; release images are compressed as usual.
    """
    if not builder.own:
        return "type=docker", f"loaded into the engine by builder {builder.name}"
    if engine.containerd_store and incremental:
        return "type=image,compression=uncompressed", "uncompressed: a local build, not a release"
    return "type=docker", "compressed as with docker build"


def pushed_name(service: Service, push: str) -> str:
    """Return the name under which a service's image is pushed. `push`: the registry and path."""
    return f"{push.rstrip('/')}/{service.image.rpartition('/')[2]}"


def repository(image: str) -> str:
    """Return an image's name without its tag."""
    return image.rpartition(":")[0] if ":" in image.rpartition("/")[2] else image


def layer_caches(targets: Mapping[str, dict[str, Any]], settings: Settings, writer: str) -> None:
    """Add BuildKit's layer caches. All targets import them. Only one exports them, because most layers are shared."""
    sources, places = list(settings.caches.layers_from), list(settings.caches.layers_to)
    for name, given in (("caches.layers_from", sources), ("caches.layers_to", places)):
        for one in given:
            if not re.match(r"type=[a-z0-9]+(,|$)", one):
                raise Problem(
                    "settings-invalid",
                    f"{name} = {one!r} is not a valid layer cache.",
                    hint="use a value such as type=registry,ref=HOST/PATH:layers,mode=max",
                )
    for key, target in targets.items():
        if sources:
            target["cache-from"] = [*target.get("cache-from", ()), *sources]
        if places and key == writer:
            target["cache-to"] = [*target.get("cache-to", ()), *places]
