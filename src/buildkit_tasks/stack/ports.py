"""Detects ports that are already in use, before the stack starts or from compose's output."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.project import host_ports
from buildkit_tasks.project.discover import Project


def check(session: Session, project: Project, files: Sequence[Path], starting: Collection[str]) -> None:
    """Before anything starts, raise `Problem` port-in-use with the port's user and the variable that sets the port.

    Does nothing if the engine publishes its ports on another machine.
    """
    if not host_ports.shared_network(project.engine.host_name, engine_facts.host(session.world, session.root)):
        return
    for port in (p for p in project.workspace.ports if p.service in starting):
        if not host_ports.taken(port.host, port.published, port.protocol):
            continue
        who = host_ports.user(session.world, session.root, port)
        raw = run.capture(session.world, compose_cli.raw_config(session.root, files))
        name = host_ports.variable(shapes.answer(raw, dict) if raw.stdout else {}, port.service, port.target)
        raise Problem(
            "port-in-use",
            f"Port {port.published}/{port.protocol} of {port.service} is already in use.",
            causes=[f"{who} is listening on {port.host}:{port.published}"],
            hint=f"{host_ports.remedy(name, session.root / '.env')}, or stop {who}",
        )


def taken_on_start(said: str) -> Problem | None:
    """Return a problem if compose's output shows that the engine could not publish a port, else None."""
    if not any(words in said for words in ("port is already allocated", "address already in use")):
        return None
    return Problem(
        "port-in-use",
        "The engine could not publish a port, because the port is already in use on the engine's machine.",
        causes=[said.splitlines()[-1].strip()],
        hint="change the port in .env or the compose file, or stop the program that uses it",
    )
