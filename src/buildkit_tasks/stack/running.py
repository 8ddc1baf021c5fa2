"""Lists a project's containers through the engine, which works even if compose cannot read the project's files."""

from __future__ import annotations

from dataclasses import dataclass

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.dockercli import docker


@dataclass(frozen=True)
class Running:
    """A container, its state, and the id of its image as recorded by compose."""

    id: str
    name: str
    state: str
    service: str
    image: str


def listed(session: Session, project: str) -> tuple[Running, ...]:
    """Return the project's containers, including stopped ones. Problems: command-failed."""
    said = run.check(session.world, docker.service_containers(session.root, project))
    return tuple(Running(*parts) for parts in shapes.rows(said, 5))
