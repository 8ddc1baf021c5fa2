"""Creates containers from images to look into them. They are never started."""

from __future__ import annotations

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.model import Result
from buildkit_tasks.dockercli import docker

#: How often to try: each retry unpacks the image again.
TRIES = 4

#: The engine's error if it deletes an unpacked layer that nothing uses just before it creates the container.
_LAYER_DELETED = "parent snapshot"


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
