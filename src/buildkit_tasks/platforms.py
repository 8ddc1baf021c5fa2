"""How an image for another platform comes to be: compiled here for there (cross), or by emulated programs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import caching, dockerfile
from .dockerfile import Stage
from .errors import Problem
from .model import Engine

#: What emulation costs, measured once: a small crate took 119.8 s under QEMU, 11.2 s cross-compiled.
EMULATION_PRICE = "about ten times as long (a small crate: 119.8 s instead of 11.2 s)"

_COMPILES = re.compile(r"\b(cargo|rustc|compile\.sh)\b")


@dataclass(frozen=True)
class Route:
    """How one platform's image is made: `how` is native, cross or emulated; `why` in words."""

    platform: str
    how: str
    why: str


def named(words: Sequence[str]) -> tuple[str, ...]:
    """Platforms as a user names them: comma lists taken apart, `arm64` made `linux/arm64`, each once."""
    short = [name.strip() for word in words for name in word.split(",") if name.strip()]
    return tuple(dict.fromkeys(caching.platform(name) for name in short))


def own(engine: Engine) -> str:
    """The engine's own platform."""
    return f"{engine.os or 'linux'}/{engine.arch}"


def route(text: str, args: Mapping[str, str], target: str, platform: str, engine: Engine) -> Route:
    """The route for one Dockerfile, up to the stage `target` (empty = the last)."""
    if platform == own(engine):
        return Route(platform, "native", "this engine's own platform")
    emulated = [
        stage for stage in _needed(dockerfile.stages(text, args), target) if stage.runs and stage.platform != "build"
    ]
    compiling = [stage.name for stage in emulated if any(map(_COMPILES.search, stage.runs))]
    if compiling:
        return Route(platform, "emulated", f"the stage {compiling[0]} compiles in an image of {platform}")
    if emulated:
        names = ", ".join(stage.name for stage in emulated)
        return Route(platform, "cross", f"compiled here for {platform}; the RUN steps of {names} are emulated")
    return Route(platform, "cross", f"compiled here for {platform}; nothing of it runs during the build")


def foreign_bases(text: str, args: Mapping[str, str], target: str) -> tuple[str, ...]:
    """References of the images that have to be of the target's platform."""
    every = dockerfile.stages(text, args)
    names = {stage.name for stage in every} | {"scratch"}
    needed = _needed(every, target)
    return tuple(dict.fromkeys(s.base for s in needed if s.platform != "build" and s.base.lower() not in names))


def _needed(stages: Sequence[Stage], target: str) -> list[Stage]:
    """The stages that a build up to `target` needs; `platform` is "build" for those of the builder's own platform."""
    by_name: dict[str, Stage] = {}
    for number, stage in enumerate(stages):
        parent = by_name.get(stage.base.lower())
        kind = "build" if "BUILDPLATFORM" in stage.platform else "" if stage.platform or not parent else parent.platform
        found = Stage(stage.name, stage.base, kind, stage.runs, stage.sources)
        by_name |= {stage.name: found, str(number): found}
    wanted = [target.lower() or (stages[-1].name if stages else "")]
    needed: dict[str, Stage] = {}
    while wanted:
        name = wanted.pop()
        if name in by_name and by_name[name].name not in needed:
            stage = by_name[name]
            needed[stage.name] = stage
            wanted += [stage.base.lower(), *stage.sources]
    return list(needed.values())


def check(engine: Engine, tier: str, platforms: Sequence[str], routes: Sequence[Route], allow_emulation: bool) -> None:
    """Refuse what should not be tried.

    Problems: platform-unsupported where the engine cannot hold the result; emulation-refused where cargo would be
    emulated and nobody asked for that.
    """
    if platforms and tier != "full":
        raise Problem(
            "platform-unsupported",
            "This engine builds for its own platform only.",
            causes=["building for others needs BuildKit and buildx"],
            hint="invoke engine.install",
        )
    if len(platforms) > 1 and not engine.containerd_store:
        raise Problem(
            "platform-unsupported",
            f"This engine cannot hold one image for {' and '.join(platforms)}.",
            causes=["manifest lists need the containerd image store, which is off here"],
            hint='{"features": {"containerd-snapshotter": true}} in daemon.json; or one --platform at a time; '
            "or --push with a builder of another driver (docker buildx create --use)",
        )
    slow = [r for r in routes if r.how == "emulated"]
    if slow and not allow_emulation:
        raise Problem(
            "emulation-refused",
            f"cargo would run emulated for {slow[0].platform}.",
            causes=[slow[0].why, f"emulated it takes {EMULATION_PRICE}"],
            hint="FROM --platform=$BUILDPLATFORM for that stage (docs/how-to/platforms.md), or: --allow-emulation",
        )
