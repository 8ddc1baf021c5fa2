"""Creates containers from images to look into them. They are never started."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run
from buildkit_tasks.core.model import Result
from buildkit_tasks.dockercli import docker

#: How often to try: each retry unpacks the image again.
TRIES = 4

#: The engine's error if it deletes an unpacked layer that nothing uses just before it creates the container.
_LAYER_DELETED = "parent snapshot"


@contextlib.contextmanager
def created(session: Session, what: str, image: str, platform: str, *argv: str) -> Iterator[tuple[str, Result]]:
    """Yield the name of a new container, which begins with `what`, and the result of `create`; remove it afterwards."""
    name = f"{what}-{secrets.token_hex(4)}"
    made = None
    try:
        made = create(session, name, image, platform, *argv)
        yield name, made
    finally:
        if made is None or made.code == 0:  # None: interrupted, so it may exist
            run.capture(session.world, docker.remove_container(session.root, name))


def text(session: Session, name: str, path: str) -> str:
    """Return a file's text; empty if the container has no such file, or something else at its path."""
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
        file = Path(folder) / "file"
        copied = run.capture(session.world, docker.copy_out(session.root, name, path, file))
        with contextlib.suppress(OSError):
            return readfile.text(file, "replace") if copied.code == 0 else ""
    return ""


def create(session: Session, name: str, image: str, platform: str, *argv: str) -> Result:
    """Create a container from the local image for exactly this platform. Pulls nothing; a failure has a code other
    than 0.

    With the containerd image store, the engine unpacks an image for another platform only when a container needs it.
    If anything else on the engine deletes a container or image at that moment, its garbage collection may delete the
    layers before the container uses them (seen with engine 26.1.5). A retry unpacks them again.
    """
    command = docker.create_container(session.root, name, image, platform, *argv)
    made = run.capture(session.world, command)
    for _ in range(TRIES - 1):
        if made.code == 0 or _LAYER_DELETED not in made.stderr:
            break
        made = run.capture(session.world, command)
    return made
