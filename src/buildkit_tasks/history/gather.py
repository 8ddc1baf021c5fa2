"""Collects the inputs of a build: its plan, the files that it sends, and the base images in the engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile
from buildkit_tasks.core.model import BuildPlan, Engine, Service
from buildkit_tasks.dockerfiles import cache_steps, platforms
from buildkit_tasks.dockerfiles.cache_steps import CacheStep
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.engine import ask
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project

from . import keys, trees
from .model import Inputs, ServiceRecord
from .places import Places, relative
from .store import Store

#: BuildKit's build argument for a separate namespace of cache mounts.
NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
#: Arguments of our own Dockerfile whose values are not secret. For all others, only digests are kept.
SHOWN = (
    "BINS",
    "PROGRAMS",
    "PROFILE",
    "CARGO_INCREMENTAL",
    "STATIC",
    "STRICT_TOOLCHAIN",
    "CACHE_SCOPE",
    "SOURCE",
    NAMESPACE,
)


@dataclass
class Gathered:
    """The inputs, the trees as read, and the texts of small files. `key`: the key used to compute the digests.

    `sizes`: bytes per image; `asked`: whether the engine could be queried for them.
    """

    inputs: Inputs
    trees: Mapping[str, trees.Tree]
    texts: Mapping[str, str]
    key: bytes
    sizes: Mapping[str, int] = field(default_factory=dict)
    asked: bool = False


def gather(session: Session, project: Project, plan: BuildPlan, store: Store) -> Gathered:
    """Return everything that the build currently depends on. Raises `OSError`, `ValueError`, `sqlite3.Error`."""
    files = {s.name: sources.read(s) for s in plan.services}
    steps = {s.name: _steps(s, files[s.name], plan, project.engine) for s in plan.services}
    images = {s.name: _images(steps[s.name], plan.definition["target"][s.key]) for s in plan.services}
    used = {reference: image for chosen in images.values() for reference, image in chosen.items()}
    # query first, before the build replaces the images
    answer = _ask(session, project.engine, plan, [*used.values(), *(s.image for s in plan.services)])
    ids = answer.images if answer else {}
    places = Places(session.root, store)
    found = keys.Steps(store.key, places.find)
    named = {s.name: {} if s.remote else {"": places.context(s), **dict(places.directories(s))} for s in plan.services}
    services = []
    for service in plan.services:
        target = plan.definition["target"][service.key]
        roots = {place: places.trees[name].root for place, name in named[service.name].items()}
        known = {place: ids[image] for place, image in images[service.name].items() if image in ids}
        at = found.add(steps[service.name], target, roots, known)
        name = "the compose file" if service.inline else relative(service.dockerfile, session.root)
        shown = {name: str(value) for name, value in target.get("args", {}).items() if name in SHOWN}
        file = files[service.name]
        frontend = target.get("args", {}).get("BUILDKIT_SYNTAX") or (file.syntax if file else "")
        services.append(ServiceRecord(service.name, name, named[service.name], at, shown, frontend))
    inputs = Inputs(
        engine=project.engine.id,
        engine_version=".".join(map(str, project.engine.version)),
        builder=plan.builder,
        commit=_commit(session),
        platforms=tuple(plan.routes),
        profile=plan.profile,
        incremental=plan.incremental,
        services=tuple(services),
        steps=tuple(found.steps),
        trees=places.records,
        bases={reference: ids.get(image, "") for reference, image in used.items()},
    )
    return Gathered(inputs, places.trees, places.texts, store.key, answer.sizes if answer else {}, answer is not None)


def _steps(service: Service, file: Dockerfile | None, plan: BuildPlan, engine: Engine) -> tuple[CacheStep, ...]:
    """Return the steps of a service's target; none if BuildKit reads the Dockerfile from a URL."""
    if file is None:
        return ()
    target = plan.definition["target"][service.key]
    platform = next(iter(target.get("platforms", ())), "") or platforms.own(engine)
    args = {**platforms.arguments(engine, platform), **target.get("args", {})}
    return cache_steps.steps(file, args, target.get("target", ""), tuple(target.get("contexts", ())))


def _images(steps: Iterable[CacheStep], target: Mapping[str, Any]) -> dict[str, str]:
    """Map the base images of the steps, as written, to the images used instead."""
    names = (name for step in steps for name in (step.base, *(s.place for s in step.sources)) if name)
    return {name: image for name in names if (image := keys.image_of(name, target.get("contexts", {})))}


def _ask(session: Session, engine: Engine, plan: BuildPlan, names: Iterable[str]) -> ask.Answer | None:
    """Return the images that the engine has; None if it is on another machine, or if another builder runs the build."""
    if plan.builder:
        return None
    with contextlib.suppress(OSError, ValueError):
        path = ask.address(session.world)
        answer = ask.images(path, filter(ask.valid, names)) if path else None
        return answer if answer and answer.engine == engine.id else None
    return None


def sizes(session: Session, images: Iterable[str]) -> dict[str, int]:
    """Return the sizes in bytes of a finished build's images, if the engine can be queried."""
    with contextlib.suppress(OSError, ValueError):
        if path := ask.address(session.world):
            return ask.sizes(path, filter(ask.valid, images))
    return {}


def _commit(session: Session) -> str:
    """Return the checked-out commit; "" outside of git. Reads git's files, because starting git takes longer."""
    for folder in (session.root, *session.root.parents):
        git = folder / ".git"
        if git.is_file():
            git = folder / _text(git, 10_000).removeprefix("gitdir:").strip()
        if git.is_dir():
            return _head(git)
    return ""


def _head(git: Path) -> str:
    head = _text(git / "HEAD")
    if not head.startswith("ref: "):
        return head[:40]
    name = head.removeprefix("ref: ").strip()
    common = git / (_text(git / "commondir") or ".")
    if ".." in name.split("/"):
        return ""
    packed = (line.partition(" ") for line in _text(common / "packed-refs", 10_000_000).split("\n"))
    return _text(git / name)[:40] or _text(common / name)[:40] or next((c for c, _, n in packed if n == name), "")[:40]


def _text(path: Path, most: int = 1000) -> str:
    try:
        return readfile.text(path, "replace", most).strip()
    except OSError:
        return ""
