"""Passes locally built base images to builders that do not share the engine's image store.

By default, a build passes them as an OCI layout, and each node fetches each blob only once. If the setting
builders.repository is set, the nodes pull them from that repository instead.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.dockercli import docker
from buildkit_tasks.images import fetch as image_fetch
from buildkit_tasks.images import names as image_names
from buildkit_tasks.images.choice import ids
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import Digest, RegistryError, Tag

from .facts import Builder


def sources(session: Session, engine: Engine, found: Builder, names: Iterable[str], *, make: bool) -> dict[str, str]:
    """Map images that exist only in the engine to named contexts. Without `make`, writes nothing.

    Problems: image-unavailable if a node's architecture differs from the image's; registry-unreachable, -denied.
    """
    ours = [name for name in dict.fromkeys(names) if name.startswith(f"{image_names.OWN}/")]
    if not ours:
        return {}
    _check_processor(engine, found, ours)
    if not make:
        return {name: f"oci-layout://{_home(session) / 'layouts'}" for name in ours}
    known = ids(session, ours)
    place = session.settings.builders.repository
    return {
        name: _through_registry(session, place, name, known[name]) if place else _layout(session, name, known[name])
        for name in ours
        if name in known
    }


def _check_processor(engine: Engine, found: Builder, ours: list[str]) -> None:
    for node in found.nodes:
        arch = node.platforms[0].split("/")[1] if node.platforms else engine.arch
        if arch != engine.arch:
            raise Problem(
                "image-unavailable",
                f"The node {node.name} is {arch}, but {ours[0]} was built for {engine.arch}.",
                causes=["base images from Debian packages are built only for the engine's own architecture"],
                hint="set a mirror that has both architectures: BUILDKIT_TASKS_IMAGES_REGISTRY=mirror.example",
            )


def _home(session: Session) -> Path:
    """Return the directory for exported images: per user, not per checkout, because the images belong to the engine."""
    return session.world.state_home / "images"


def _layout(session: Session, name: str, identity: str) -> str:
    """Export the image to a directory that is kept while the name refers to this image. Returns a named context."""
    home = _home(session) / "layouts"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    word = image_fetch.word(name)
    folder = home / f"{word}-{Digest(identity).partition(':')[2][:16]}"
    with files.locked(home / "lock", lambda: session.report.say("  waiting for another run to export an image")):
        if not folder.exists():
            session.report.say(f"  exporting {name} for the builder's nodes (once)")
            for old in home.glob(f"{word}-*"):
                shutil.rmtree(old, ignore_errors=True)
            _unpack(session, name, folder)
    entry = shapes.loads((folder / "index.json").read_bytes(), dict)["manifests"][0]
    return f"oci-layout://{folder}@{Digest(entry['digest'])}"


def _unpack(session: Session, name: str, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part{os.getpid()}")
    archive = part.with_suffix(".tar")
    try:
        run.check(session.world, docker.save_image(session.root, name, archive))
        part.mkdir()
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(part, filter="data")
            else:  # Python before 3.10.12; safe because the engine wrote this archive
                tar.extractall(part)  # noqa: S202
        part.rename(folder)
    finally:
        archive.unlink(missing_ok=True)
        shutil.rmtree(part, ignore_errors=True)


def _through_registry(session: Session, place: str, name: str, identity: str) -> str:
    """Push the image unless the repository has it. The tag contains the image id, so it never moves."""
    reference = registry_names.reference(place)
    client = Client(session.world, reference, session.settings.build.ca_bundle)
    tag = Tag(f"node-{image_fetch.word(name)}-{Digest(identity).partition(':')[2][:16]}")
    remote = f"{reference.name}:{tag}"
    try:
        there = client.manifest(tag) is not None
    except RegistryError as error:
        raise client.problem(error) from error
    if not there:
        session.report.say(f"  pushing {name} to {reference.name} for the builder's nodes")
        image_fetch.push(session, name, remote)
    return f"docker-image://{remote}"
