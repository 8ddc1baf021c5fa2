"""Checks whether a program contains a text: in any image, even without a shell, or in a volume."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.dockercli import docker_run
from buildkit_tasks.dockercli.docker_run import Container, Mount
from buildkit_tasks.images import container as image_container


def containing(session: Session, name: str, image: str, platform: str, texts: Collection[str]) -> set[str] | None:
    """Return the texts that a file in the image contains; None if the image cannot be read. Starts nothing.

    `name`: the run's, so that its containers are found after a kill.
    """
    found, look = _finder(texts)
    with image_container.created(session, f"{name}-look", image, platform, "/bench") as (container, made):
        if made.code != 0:
            return None
        code = run.follow(session.world, docker_run.files_of(session.root, container), look)
    return found if code == 0 else None


def compiled(
    session: Session, name: str, image: str, volume: str, program: str, texts: Collection[str]
) -> set[str] | None:
    """Return the texts that a program in the volume with cargo's target directory contains; None if it cannot be read.

    `name`: the run's; `image` has `cat`.
    """
    found, look = _finder(texts)
    argv = ("cat", f"/target/release/{program}")
    container = Container(
        f"{name}-look-{secrets.token_hex(4)}", image, argv, (Mount(volume, "/target", readonly=True),), network="none"
    )
    code = run.follow(session.world, docker_run.run_container(session.root, container), look)
    return found if code == 0 else None


def _finder(texts: Collection[str]) -> tuple[set[str], Callable[[bytes], None]]:
    """Return a set, and a function that adds the texts it finds in a stream to this set."""
    wanted = {text: text.encode() for text in texts}
    longest = max((len(data) for data in wanted.values()), default=1)
    found: set[str] = set()
    tail = b""

    def look(chunk: bytes) -> None:
        nonlocal tail
        data = tail + chunk
        found.update(text for text, sought in wanted.items() if text not in found and sought in data)
        tail = data[-longest:]

    return found, look
