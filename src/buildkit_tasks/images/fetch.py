"""Base images from the team's repository, under the names that builds know them by."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from buildkit_tasks.core import docker, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.core.session import Session
from buildkit_tasks.registry import client as registry_client
from buildkit_tasks.registry.client import Client, Denied, Unreachable

from .choice import remember
from .names import Decision


def fetch(session: Session, engine: Engine, wanted: Sequence[Decision], place: str) -> list[str]:
    """Pull those of the images that the repository has, and give them the names that builds know them by."""
    reference = registry_client.reference(place)
    client = Client(session.world, reference, session.settings.build.ca_bundle)
    taken: list[str] = []
    for image in wanted:
        name = tag(engine, image.use)
        try:
            if client.manifest(name) is None:
                continue
        except (Unreachable, Denied) as error:
            raise client.problem(error) from error
        remote = f"{reference.name}:{name}"
        session.report.say(f"  pulling {image.use} from {reference.name}")
        run.check(session.world, docker.pull_image(session.root, remote))
        run.check(session.world, docker.tag_image(session.root, remote, image.use))
        run.capture(session.world, docker.remove_images(session.root, [remote]))
        taken.append(image.use)
    remember(session, engine, built=taken)
    return taken


def tag(engine: Engine, image: str) -> str:
    """The tag of an image in the repository: its name here and the engine's architecture."""
    return f"base-{word(image)}-{re.sub('[^a-z0-9_]', '_', engine.arch)}"


def word(image: str) -> str:
    """An image's name without its repository, as tags and directories may be called."""
    return re.sub(r"[^a-z0-9_.]", "_", image.rpartition("/")[2].lower())


def push(session: Session, image: str, remote: str) -> None:
    """Push an image under another name, which it has here only as long as that takes. Problems: command-failed."""
    run.check(session.world, docker.tag_image(session.root, image, remote))
    try:
        run.check(session.world, docker.push_image(session.root, remote))
    finally:
        with contextlib.suppress(Problem):  # what kept it from being pushed says more
            run.capture(session.world, docker.remove_images(session.root, [remote]))
