"""Audits the images of services, or any local images, by streaming a single `docker image save` of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, lists, run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.core.release import VERSION
from buildkit_tasks.dockercli import docker
from buildkit_tasks.dockerfiles import program
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.project import compose, sources
from buildkit_tasks.project.discover import discover
from buildkit_tasks.registry.layer_stream import Refused

from . import archive, base, crates, rules, sbom, scanners, suppress
from .catalogue import Finding
from .facts import Image
from .scanners import Scanned
from .secrets import Search


@dataclass(frozen=True)
class Target:
    """An image to audit. `service` and `entry` (its part of the compose model): None for an image alone.

    Several services can use the same image in different ways.
    """

    name: str
    id: str = ""
    service: Service | None = None
    entry: dict[str, Any] | None = None


@dataclass(frozen=True)
class Audited:
    """The result. `size`: bytes of the files read; `layers`: how many; `short`: variables with short values."""

    images: tuple[Image, ...]
    services: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]
    scanned: Scanned
    written: dict[str, str]
    size: int
    layers: int
    seconds: float
    short: tuple[str, ...] = ()

    @property
    def failing(self) -> tuple[Finding, ...]:
        """Errors that are not suppressed."""
        return tuple(f for f in self.findings if f.failing)


def audit(session: Session, services: Sequence[str] = (), images: Sequence[str] = (), folder: str = "") -> Audited:
    """Audit the images of services (default: all that are built here), or these images. `folder`: where to write SBOMs.

    Problems: image-unavailable, unknown-service, command-failed, settings-invalid, those of discovery.
    """
    began = session.world.clock()
    named = lists.names(images, "image")
    ignored: tuple[suppress.Entry, ...] = ()
    search, cwd = Search({}), session.world.cwd
    if not named or services or _in_project(session):
        ignored = suppress.entries(session.settings.audit.ignore)
        search, cwd = Search(session.secrets()), session.root
    targets = _identified(session, cwd, _targets(session, services, named), required=bool(services or named))
    first: dict[str, Target] = {}
    for target in targets:
        first.setdefault(target.name, target)
    read = _read(session, cwd, list(first.values()), search)
    found = {
        target.name: [_with_base(image, target.service) for image in group]
        for target, group in zip(first.values(), read, strict=True)
    }
    every = tuple(image for group in found.values() for image in group)
    spaces = crates.Workspaces()
    findings: list[Finding] = []
    written: dict[str, str] = {}
    for target in targets:
        for image in found[target.name]:
            several = len(found[target.name]) > 1
            name = f"{image.name} ({image.platform})" if several else image.name
            findings += [replace(f, image=name) for f in rules.check(rules.Case(image, search, target.entry))]
            if folder and _key(image) not in written:
                written[_key(image)] = str(_write(session, folder, image, target.service, spaces, several))
    scanned = scanners.scan(session.world, cwd, first)
    complete = not named and not services
    judged = suppress.apply(ignored, [*dict.fromkeys(findings), *scanned.findings], complete=complete)
    layers = {layer.name: layer for image in every for layer in image.layers}
    return Audited(
        every,
        {name: tuple(t.service.name for t in targets if t.service and t.name == name) for name in first},
        judged,
        scanned,
        written,
        sum(layer.size for layer in layers.values()),
        len(layers),
        session.world.clock() - began,
        search.short,
    )


def _key(image: Image) -> str:
    return f"{image.name} {image.platform}"


def _in_project(session: Session) -> bool:
    try:
        return session.root.is_dir()
    except Problem:
        return False


def _targets(session: Session, services: Sequence[str], images: Sequence[str]) -> list[Target]:
    targets: list[Target] = []
    if services or not images:
        project = discover(session, lesser=True, named=services, looking=True)
        entries = project.workspace.config.get("services") or {}
        for service in compose.select(project.workspace, services):
            targets.append(Target(service.image, "", service, entries.get(service.name) or {}))
    else:
        engine_facts.facts(session.world, session.world.cwd)
    for name in images:
        if name.startswith("-"):
            raise Problem("bad-argument", f"{name!r} is not a valid image name.", hint="pass a name or an id")
        if name not in {target.name for target in targets}:
            targets.append(Target(name))
    return targets


def _identified(session: Session, cwd: Path, targets: list[Target], *, required: bool) -> list[Target]:
    """Return the targets with their ids. Skips services that have not been built, unless the user named them."""
    result = run.capture(session.world, docker.image_id(cwd, [target.name for target in targets]))
    ids = re.findall(r"^(sha256:[0-9a-f]{64}) \S+$", result.stdout, re.MULTILINE)
    if result.code == 0 and len(ids) == len(targets):
        return [replace(target, id=one) for target, one in zip(targets, ids, strict=True)]
    found, missing = [], []
    for target in targets:  # some are missing: query each to find out which
        single = run.capture(session.world, docker.image_id(cwd, [target.name]))
        match = re.match(r"(sha256:[0-9a-f]{64}) \S+$", single.stdout.strip())
        if single.code == 0 and match:
            found.append(replace(target, id=match[1]))
        else:
            missing.append((target, single))
    if missing and (required or not found):
        target, single = missing[0]
        hint = f"invoke build --service {target.service.name}" if target.service else f"docker pull {target.name}"
        raise Problem(
            "image-unavailable",
            f"The engine has no image {target.name}.",
            causes=single.stderr.strip().splitlines()[-1:],
            hint=hint,
        )
    for target, _ in missing:
        name = target.service.name if target.service else target.name
        session.report.warn(f"skipping {name}: it has not been built yet")
    return found


def _read(session: Session, cwd: Path, targets: Sequence[Target], search: Search) -> list[tuple[Image, ...]]:
    """Read all images from one stream. Shared layers are read once."""

    def take(stream: IO[bytes]) -> archive.Archive | Refused:
        try:
            return archive.read(stream, search)
        except Refused as refused:
            return refused

    session.report.say(f"reading {units.counted(len(targets), 'image')}")
    command = docker.save_images(cwd, [target.name for target in targets])
    made, result = run.consume(session.world, command, take)
    if isinstance(made, Refused):
        made_by = result.stderr.strip()
        if made_by and "broken pipe" not in made_by.lower():
            raise Problem("command-failed", "docker could not save the images.", details=made_by)
        raise _unreadable(f"The archive from `docker image save` cannot be read: {made}.")
    if result.code != 0:
        said = result.stderr.strip() or f"docker image save exited with {result.code} and printed nothing"
        raise Problem("command-failed", "docker could not save the images.", details=said)
    found = []
    for target in targets:
        try:
            found.append(archive.images(made, target.name, target.id, search))
        except Refused as refused:
            raise _unreadable(f"The image {target.name} cannot be read: {refused}.") from None
    return found


def _unreadable(words: str) -> Problem:
    return Problem(
        "image-unavailable",
        words,
        causes=["the image may have been replaced while it was being read, or the engine's store may be corrupt"],
        hint="rerun the command; if that does not help, rebuild the image (invoke build --no-cache)",
    )


def _with_base(image: Image, service: Service | None) -> Image:
    if service is None:
        return image
    return replace(image, base=base.layers(sources.known(service), service.args, service.target, image.steps))


def _write(
    session: Session, folder: str, image: Image, service: Service | None, spaces: crates.Workspaces, several: bool
) -> Path:
    recorded = crates.recorded(image.texts)
    context = service.context if service and not service.remote else None
    programs = [sbom.started(image)]
    if recorded and service:
        programs.append(program.place(sources.known(service), service.args, service.target, recorded.binary))
    shipped = spaces.shipped(recorded, context)
    made = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    content = sbom.document(image, shipped, programs, version=VERSION, made=made)
    place = session.world.cwd / folder / sbom.file_name(image, several)
    place.parent.mkdir(parents=True, exist_ok=True)
    files.replace(place, json.dumps(content, indent=2) + "\n")
    return place
