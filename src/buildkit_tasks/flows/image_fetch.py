"""Base images from the team's repository, under the names that builds know them by."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from buildkit_tasks import command, platforms, registry_client, run
from buildkit_tasks.errors import Problem
from buildkit_tasks.images import Decision
from buildkit_tasks.model import Engine
from buildkit_tasks.registry_client import Client, Denied, Unreachable

from .image_choice import local, remember
from .session import Session


def fetch(session: Session, engine: Engine, wanted: Sequence[Decision], place: str) -> list[str]:
    """Pull those of the images that the repository has, and give them the names that builds know them by."""
    reference = registry_client.reference(place)
    client = Client(session.world, reference, session.settings.ca_bundle)
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
        run.check(session.world, command.pull_image(session.root, remote))
        right = bool(local(session, engine, [remote]))
        if right:
            run.check(session.world, command.tag_image(session.root, remote, image.use))
            taken.append(image.use)
        else:
            session.report.warn(f"{remote} is not for {platforms.own(engine)}: left out")
        run.capture(session.world, command.remove_images(session.root, [remote]))
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
    run.check(session.world, command.tag_image(session.root, image, remote))
    try:
        run.check(session.world, command.push_image(session.root, remote))
    finally:
        with contextlib.suppress(Problem):  # what kept it from being pushed says more
            run.capture(session.world, command.remove_images(session.root, [remote]))
