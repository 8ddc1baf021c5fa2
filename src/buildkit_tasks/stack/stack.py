"""The running stack: up until healthy, down, restart, ps, logs, shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from buildkit_tasks.core import docker, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Workspace
from buildkit_tasks.core.session import Session
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.pipeline import build as pipeline
from buildkit_tasks.project import compose, ports
from buildkit_tasks.project.discover import Project, discover

#: Log lines of a failing service that are shown.
LAST_LINES = 25


def up(session: Session, request: BuildRequest, *, with_build: bool = True) -> None:
    """Build what is needed, start it, return when everything is healthy. Problems: port-in-use, unhealthy, build's."""
    project = discover(session, lesser=True)
    space = project.workspace
    chosen = [s.name for s in compose.select(space, request.services)] if request.services else []
    if with_build:
        outcome = pipeline.build_project(session, project, request)
        pipeline.tell_story(session, outcome)
    files = files_in_force(session, project)
    running = containers(session, files)
    check_ports(session, space, files, {c["Service"] for c in running if c.get("State") == "running"})
    start(session, space, files, chosen)


def files_in_force(session: Session, project: Project) -> tuple[Path, ...]:
    """The compose files and, where base images are offline ones, the generated override."""
    override = base_images.override(session, project.engine, project.workspace)
    return (*project.workspace.compose_files, *([override] if override else []))


def start(session: Session, space: Workspace, files: Sequence[Path], chosen: Sequence[str]) -> None:
    """Start and wait, telling each service as its container becomes healthy."""
    began = session.world.clock()
    told: set[tuple[str, str]] = set()

    def hear(line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        action = str(event.get("Action") or event.get("status") or "")
        name = (event.get("Actor", {}).get("Attributes") or {}).get("com.docker.compose.service", "")
        word = {"health_status: healthy": "healthy", "start": "started", "die": "ended"}.get(action, "")
        if word and (name, word) not in told:
            told.add((name, word))
            session.report.say(f"  {name} {word} ({session.world.clock() - began:.1f} s)")

    seconds = session.settings.stack.health_timeout
    with run.follow(session.world, docker.events(session.root, space.project), hear):
        result = run.capture(session.world, docker.wait_healthy(session.root, files, chosen, seconds))
    if result.code != 0:
        raise _not_healthy(session, files, result.stderr, seconds, {name for name, word in told if word == "ended"})
    session.report.say(f"everything is healthy ({session.world.clock() - began:.1f} s)", style="green")


def _not_healthy(session: Session, files: Sequence[Path], said: str, seconds: float, ended: set[str]) -> Problem:
    """Which service failed, and its last words. One that `ended` may be up again by now, and end again."""
    bad = [
        c
        for c in containers(session, files)
        if c.get("Health") in ("unhealthy", "starting") or c.get("State") != "running" or c.get("Service") in ended
    ]
    if not bad:
        return Problem("unhealthy", "The stack did not start.", details=said.strip(), hint="invoke ps; invoke logs")
    names = [str(c["Service"]) for c in bad]
    log = run.capture(session.world, docker.logs(session.root, files, names, tail=str(LAST_LINES)))
    return Problem(
        "unhealthy",
        f"Not healthy after {seconds} s: {', '.join(names)}.",
        causes=[f"{c['Service']}: {c.get('State')} {c.get('Health') or ''}".strip() for c in bad],
        details=(log.stdout or log.stderr or said).strip(),
        hint=f"invoke logs --service {names[0]}    (its last lines stand above)",
    )


def check_ports(session: Session, space: Workspace, files: Sequence[Path], running: set[str]) -> None:
    """Raise `Problem` port-in-use, with who holds it and the variable that moves it, before anything is started."""
    for port in space.ports:
        if port.service in running or not ports.taken(port.host, port.published):
            continue
        other = run.capture(session.world, docker.publishing(session.root, port.published)).stdout.split()
        who = f"container {other[0]}" if other else ports.holder(port.published) or "another program"
        raw = run.capture(session.world, docker.raw_config(session.root, files)).stdout
        name = ports.variable(json.loads(raw or "{}"), port.service, port.target)
        move = f"set {name}=<a free port> in {session.root / '.env'}" if name else "change `ports:` in the compose file"
        raise Problem(
            "port-in-use",
            f"Port {port.published}, which {port.service} publishes, is in use.",
            causes=[f"{who} listens on {port.host}:{port.published}"],
            hint=f"{move}, or end {who}",
        )


def containers(session: Session, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The project's containers as compose tells them."""
    text = run.check(session.world, docker.containers(session.root, files)).stdout.strip()
    if text.startswith("["):  # compose before 2.21 prints one array
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines() if line]


def down(session: Session, *, volumes: bool) -> None:
    """Stop and remove containers and networks. Volumes hold data: they go only when asked and confirmed."""
    project = discover(session, lesser=True)
    if volumes:
        names = ", ".join(sorted(v.get("name", k) for k, v in (project.workspace.config.get("volumes") or {}).items()))
        what = f"the volumes of {project.workspace.project} are deleted with all data in them: {names or 'none'}"
        if not session.report.consent(what):
            session.report.say("nothing was changed")
            return
    run.check(session.world, docker.down(session.root, files_in_force(session, project), volumes=volumes))
    session.report.say(f"{project.workspace.project} is down" + ("" if volumes else "; its volumes are kept"))


def restart(session: Session, services: Sequence[str]) -> None:
    """Restart containers and wait until they are healthy again."""
    project, files, names = _running(session, services)
    run.check(session.world, docker.restart(session.root, files, names))
    start(session, project.workspace, files, names)


def ps(session: Session) -> None:
    """What runs where."""
    project = discover(session, lesser=True)
    found = containers(session, files_in_force(session, project))
    rows = [
        (c["Service"], c.get("State", ""), c.get("Health") or "-", _published(c), c.get("Image", "")) for c in found
    ]
    if session.report.json_only:
        keys = ("service", "state", "health", "ports", "image")
        session.report.envelope({"containers": [dict(zip(keys, r, strict=True)) for r in rows]})
    else:
        session.report.table(("service", "state", "health", "ports", "image"), rows)


def _published(container: dict[str, Any]) -> str:
    pairs = {
        f"{p.get('URL') or '*'}:{p['PublishedPort']}->{p['TargetPort']}"
        for p in container.get("Publishers") or ()
        if p.get("PublishedPort")
    }
    return ", ".join(sorted(pairs)) or "-"


def logs(session: Session, services: Sequence[str], *, follow: bool, since: str, tail: str) -> None:
    """The services' log lines, on our own streams; Ctrl-C ends following."""
    _, files, names = _known(session, services)
    try:
        run.foreground(session.world, docker.logs(session.root, files, names, tail=tail, follow=follow, since=since))
    except KeyboardInterrupt:
        if not follow:
            raise


def shell(session: Session, service: str, what: str) -> int:
    """A shell (or `what`) inside a running service; returns its exit code."""
    _, files, names = _running(session, [service])
    tty = session.world.interactive and sys.stdout.isatty()
    return run.foreground(session.world, docker.execute(session.root, files, names[0], ("sh", "-c", what), tty=tty))


def _known(session: Session, services: Sequence[str]) -> tuple[Project, tuple[Path, ...], list[str]]:
    project = discover(session, lesser=True)
    known = (*project.workspace.names, *project.workspace.images)
    names = [n.strip() for item in services for n in item.split(",") if n.strip()]
    for name in names:
        compose.check_name(name, known)
    return project, files_in_force(session, project), names


def _running(session: Session, services: Sequence[str]) -> tuple[Project, tuple[Path, ...], list[str]]:
    project, files, names = _known(session, services)
    running = [c["Service"] for c in containers(session, files) if c.get("State") == "running"]
    absent = [n for n in names if n not in running]
    if absent or not running:
        raise Problem("not-running", f"Not running: {', '.join(absent) or 'the stack'}.", hint="invoke up")
    return project, files, names
