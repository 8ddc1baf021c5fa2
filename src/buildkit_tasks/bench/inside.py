"""Checks whether an image's files contain a text. Works for any image, even without a shell, and starts nothing."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.dockercli import docker, docker_run
from buildkit_tasks.images import container as image_container


def containing(session: Session, image: str, platform: str, texts: Collection[str]) -> set[str]:
    """Return the texts that a file in the image contains; none if the image does not exist."""
    wanted = {text: text.encode() for text in texts}
    name = f"buildkit-tasks-bench-{secrets.token_hex(4)}"
    made = image_container.create(session, name, image, platform, "/bench")
    if made.code != 0:
        return set()
    found: set[str] = set()
    longest = max((len(data) for data in wanted.values()), default=1)
    tail = b""

    def look(chunk: bytes) -> None:
        nonlocal tail
        data = tail + chunk
        found.update(text for text, sought in wanted.items() if text not in found and sought in data)
        tail = data[-longest:]

    try:
        run.follow(session.world, docker_run.files_of(session.root, name), look)
    finally:
        run.capture(session.world, docker.remove_container(session.root, name))
    return found
