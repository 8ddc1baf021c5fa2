"""Finds the programs that block the stack's ports, and stops them where possible, after listing them and asking."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Port
from buildkit_tasks.dockercli import docker
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.project import host_ports
from buildkit_tasks.project.discover import discover


@dataclass(frozen=True)
class Holder:
    """A user of one of our ports. `kind`: container, service (systemd), process or unknown.

    `name`: the container, the unit, or the process with its pid; `owner`: the compose project and its directory, or
    the user.
    """

    port: Port
    kind: str
    name: str
    owner: str


def stop(session: Session) -> None:
    """List the programs that use the ports, then stop containers and system services. Processes are only listed.

    Ports used by this project's own containers are skipped. Problems: consent-missing, command-failed, port-in-use.
    """
    project = discover(session, lesser=True)
    if not host_ports.shared_network(project.engine.host_name, engine_facts.host(session.world, session.root)):
        raise Problem(
            "engine-not-ours",
            "The engine is on another machine, so the programs that use its ports are not visible from here.",
            hint="run the command on that machine",
        )
    held = holders(session, project.workspace.project, project.workspace.ports)
    rows = [(f"{h.port.published}/{h.port.protocol}", h.port.service, h.kind, h.name, h.owner) for h in held]
    if session.report.json_only:
        keys = ("port", "wanted_by", "kind", "name", "owner")
        session.report.envelope({"holders": [dict(zip(keys, row, strict=True)) for row in rows]})
    if not held:
        session.report.say("every published port is free or already used by the stack")
        return
    if not session.report.json_only:
        session.report.table(("port", "needed by", "used by", "name", "owner"), rows)
    containers = list(dict.fromkeys(h.name for h in held if h.kind == "container"))
    units = list(dict.fromkeys(h.name for h in held if h.kind == "service"))
    for names, what, command in (
        (containers, "containers", docker.stop_containers(session.root, containers)),
        (units, "system services", _systemctl(session.root, units)),
    ):
        if names and session.report.consent(f"these {what} will be stopped: {', '.join(names)}"):
            run.check(session.world, command)
            session.report.say(f"stopped {', '.join(names)}")
    if others := [h for h in held if h.kind not in ("container", "service")]:
        raise Problem(
            "port-in-use",
            f"Ports are in use by processes that this task does not stop: {', '.join(h.name for h in others)}.",
            hint="stop these processes yourself, or change the ports (`invoke up` prints the variables to set)",
        )


def holders(session: Session, project: str, published: Sequence[Port]) -> tuple[Holder, ...]:
    """Return the users of these ports, except the project's own containers."""
    found = []
    for port in published:
        if not host_ports.taken(port.host, port.published, port.protocol):
            continue
        asked = docker.publishing(session.root, port.published, port.protocol)
        names = run.capture(session.world, asked).stdout.split()
        if names:
            facts = run.check(session.world, docker.container_facts(session.root, names))
            for name, image, owner, place in shapes.rows(facts, 4):
                if owner != project:
                    whose = f"{owner} in {place}" if owner else "no compose project"
                    found.append(Holder(port, "container", name.lstrip("/"), f"{whose}, image {image}"))
            continue
        holder = host_ports.holder(port.published, port.protocol)
        pid = re.search(r"\(pid (\d+)\)$", holder)
        unit = system_service(Path("/proc") / pid[1]) if pid else ""
        if unit:
            found.append(Holder(port, "service", unit, holder))
        elif holder:
            found.append(Holder(port, "process", holder, _user(Path("/proc") / pid[1]) if pid else ""))
        else:
            found.append(Holder(port, "unknown", f"port {port.published}", "another user's process"))
    return tuple(found)


def system_service(process: Path) -> str:
    """Return the systemd service that a process in /proc belongs to, or an empty string."""
    try:
        text = (process / "cgroup").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"/system\.slice/(?:[^/\n]+\.slice/)*([\w@:.\\-]+\.service)(?:/|$)", text, re.MULTILINE)
    return match[1] if match and match[1] not in ("docker.service", "containerd.service") else ""


def _user(process: Path) -> str:
    try:
        return pwd.getpwuid(process.stat().st_uid).pw_name
    except (OSError, KeyError):
        return ""


def _systemctl(root: Path, units: Sequence[str]) -> Command:
    sudo = ("sudo",) if os.geteuid() != 0 and shutil.which("sudo") else ()
    return Command((*sudo, "systemctl", "stop", "--", *units), root)
