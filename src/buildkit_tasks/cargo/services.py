"""Starts the copy of the services for integration tests, and always removes it afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import compose_cli, docker_run
from buildkit_tasks.images import bases
from buildkit_tasks.project.discover import Project

from . import integration


@dataclass(frozen=True)
class Running:
    """The network and the variables that tests need to reach the services."""

    network: str
    env: dict[str, str] = field(repr=False)


@contextmanager
def running(session: Session, project: Project) -> Iterator[Running]:
    """Start the services and wait until they are healthy. On exit, even after Ctrl-C, remove everything created here.

    Problems: cargo-no-services, unknown-service, image-unavailable, unhealthy.
    """
    workspace = project.workspace
    names = integration.chosen(workspace, session.settings.cargo.services)
    images = bases.ensure(session, project.engine, tuple(dict.fromkeys(workspace.images[name] for name in names)))
    name = f"{_prefix(project)}{secrets.token_hex(4)}"
    model = integration.model(workspace, names, images, name)
    session.report.say(f"  starting {', '.join(names)} for the tests")
    try:
        timeout = round(session.settings.stack.health_timeout)
        started = run.capture(session.world, compose_cli.up_alone(session.root, name, model, timeout))
        if started.code != 0:
            raise Problem(
                "unhealthy",
                f"The services for the integration tests did not become ready: {', '.join(names)}.",
                details=session.masked(started.stderr.strip()),
                hint="run `invoke up`, then `invoke logs`, to see the same services in the stack",
            )
        yield Running(f"{name}_default", integration.environment(workspace, names, session.dotenv))
    finally:
        run.capture(session.world, compose_cli.down_alone(session.root, name, model))


def _prefix(project: Project) -> str:
    return f"{project.workspace.project[:40].rstrip('-_') or 'project'}-cargo-test-"


def remove_all(session: Session, project: Project) -> None:
    """Remove every copy of this project's services, running or left behind by a killed run."""
    root, prefix = session.root, _prefix(project)
    if found := run.capture(session.world, docker_run.containers_named(root, prefix)).stdout.split():
        session.report.say(f"removed {', '.join(found)}")
        run.capture(session.world, docker_run.remove_containers(root, found))
    networks = shapes.rows(run.capture(session.world, docker_run.networks_named(root, prefix)), 1)
    if networks:
        run.capture(session.world, docker_run.remove_networks(root, [name for (name,) in networks]))


def stack_network(session: Session, project: Project) -> str:
    """Return the stack's network if it exists, else an empty string."""
    default = (project.workspace.config.get("networks") or {}).get("default") or {}
    name = str(default.get("name") or f"{project.workspace.project}_default")
    found = run.capture(session.world, docker_run.network(session.root, name))
    return name if found.code == 0 else ""
