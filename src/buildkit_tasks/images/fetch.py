"""Pulls base images from the team's repository and tags them with the names that builds use."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.dockercli import docker
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import RegistryError, Tag
from buildkit_tasks.registry.remote import bounded

from .choice import local, remember
from .names import Decision


def fetch(
    session: Session,
    engine: Engine,
    wanted: Sequence[Decision],
    place: str,
    *,
    seconds: float | None = None,
    timeout: float | None = None,
) -> list[str]:
    """Pull the requested images that the repository has, and tag them with the names that builds use.

    `seconds`: limit for queries to the repository; `timeout`: limit for each pull.
    """
    reference = registry_names.reference(place)
    client = Client(session.world, reference, session.settings.build.ca_bundle, seconds=seconds)
    taken: list[str] = []

    def look() -> list[Decision]:
        return [image for image in wanted if client.manifest(tag(engine, image.use)) is not None]

    try:
        there = bounded(seconds, look)
    except RegistryError as error:
        raise client.problem(error) from error
    for image in there:
        remote = f"{reference.name}:{tag(engine, image.use)}"
        session.report.say(f"  pulling {image.use} from {reference.name}")
        run.check(session.world, docker.pull_image(session.root, remote), timeout=timeout)
        if local(session, engine, [remote]):
            run.check(session.world, docker.tag_image(session.root, remote, image.use))
            taken.append(image.use)
        else:
            session.report.warn(f"skipping {remote}: the image is not for {platforms.own(engine)}")
        run.capture(session.world, docker.remove_images(session.root, [remote]))
    remember(session, engine, built=taken)
    return taken


def tag(engine: Engine, image: str) -> Tag:
    """Return the tag of an image in the repository: its local name and the engine's architecture."""
    return Tag(f"base-{word(image)}-{re.sub('[^a-z0-9_]', '_', engine.arch)}")


def word(image: str) -> str:
    """Return an image's name without its repository, in a form allowed in tags and directory names."""
    return re.sub(r"[^a-z0-9_.]", "_", image.rpartition("/")[2].lower())


def push(session: Session, image: str, remote: str) -> None:
    """Push an image under another name, which exists locally only during the push. Problems: command-failed."""
    run.check(session.world, docker.tag_image(session.root, image, remote))
    try:
        run.check(session.world, docker.push_image(session.root, remote))
    finally:
        with contextlib.suppress(Problem):  # the push's own error is more useful
            run.capture(session.world, docker.remove_images(session.root, [remote]))
