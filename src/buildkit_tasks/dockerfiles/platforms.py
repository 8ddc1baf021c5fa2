"""Decides how to build an image for another platform: cross-compiled on the engine's platform, or emulated. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.core.model import Engine
from buildkit_tasks.dockerfiles.stages import Stage

from .document import Dockerfile

#: The cost of emulation: a small crate took 78.0 s under QEMU, 9.0 s cross-compiled (`nox -s bench_platforms`).
EMULATION_PRICE = "about nine times as long (a small crate: 78.0 s instead of 9.0 s)"

_COMPILES = re.compile(r"\b(cargo|rustc|compile\.sh)\b")


@dataclass(frozen=True)
class Route:
    """How to build the image for one platform: `how` is native, cross or emulated; `why` is the reason, as text."""

    platform: str
    how: str
    why: str


def own(engine: Engine) -> str:
    """Return the engine's own platform."""
    return f"{engine.os or 'linux'}/{engine.arch}"


def arguments(engine: Engine, platform: str) -> dict[str, str]:
    """Return the predefined build arguments for one platform built on an engine (or a builder's node)."""
    found: dict[str, str] = {}
    for side, name in (("TARGET", platform), ("BUILD", own(engine))):
        system, arch, variant = (*name.split("/"), "", "")[:3]
        found |= {f"{side}PLATFORM": name, f"{side}OS": system, f"{side}ARCH": arch, f"{side}VARIANT": variant}
    return found


def route(
    text: str | Dockerfile,
    args: Mapping[str, str],
    target: str,
    platform: str,
    engine: Engine,
    contexts: Collection[str] = (),
) -> Route:
    """Return how to build one Dockerfile for the platform, up to the stage `target` (empty = the last)."""
    if platform == own(engine):
        return Route(platform, "native", "the engine's own platform")
    needed = _needed(text, args, target, platform, engine, contexts)[0]
    emulated = [stage for stage in needed if stage.runs and stage.platform != "build"]
    compiling = [stage.name for stage in emulated if any(map(_COMPILES.search, stage.runs))]
    if compiling:
        return Route(platform, "emulated", f"the stage {compiling[0]} compiles in a {platform} image")
    if emulated:
        names = ", ".join(stage.name for stage in emulated)
        return Route(platform, "cross", f"compiled here for {platform}; the RUN steps of {names} are emulated")
    return Route(platform, "cross", f"compiled here for {platform}; no emulation needed")


def foreign_bases(
    text: str | Dockerfile,
    args: Mapping[str, str],
    target: str,
    engine: Engine,
    platform: str = "linux/other",
    contexts: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the references of images that must be for the target platform."""
    stages, images = _needed(text, args, target, platform, engine, contexts)
    theirs = {name for stage in stages for name in (stage.base, *stage.sources) if stage.platform != "build"}
    return tuple(ref for ref in images if ref in theirs)


def only_foreign(text: str | Dockerfile, args: Mapping[str, str], target: str, engine: Engine) -> set[str]:
    """Return the foreign bases that no stage for the engine's own platform uses."""
    stages, _ = _needed(text, args, target, "linux/other", engine, ())
    here = {name for stage in stages for name in (stage.base, *stage.sources) if stage.platform == "build"}
    return set(foreign_bases(text, args, target, engine)) - here


def _needed(
    text: str | Dockerfile,
    args: Mapping[str, str],
    target: str,
    platform: str,
    engine: Engine,
    contexts: Collection[str],
) -> tuple[list[Stage], tuple[str, ...]]:
    """Return the stages that a build up to `target` needs, in file order, and the images.

    A stage's `platform` is "build" if it runs on the engine's own platform.
    """
    file = text if isinstance(text, Dockerfile) else Dockerfile.read(text)
    needs = file.needs({**arguments(engine, platform), **args}, target, contexts)
    kinds: dict[str, str] = {}
    found = []
    for stage in sorted(needs.stages, key=lambda stage: stage.number):
        here = "BUILDPLATFORM" in stage.platform or stage.platform == own(engine)
        kind = "build" if here else "" if stage.platform else kinds.get(stage.base.lower(), "")
        kinds[stage.name] = kind
        found.append(replace(stage, platform=kind))
    return found, needs.images


def worst(routes: Sequence[Route]) -> Route:
    """Return the worst of several Dockerfiles' routes to a platform, which is the one to report."""
    return max(routes, key=lambda route: (route.how == "emulated", "emulated" in route.why))
