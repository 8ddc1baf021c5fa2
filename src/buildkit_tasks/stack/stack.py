"""The running stack: up until healthy, down, restart, ps, logs, shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import compose_cli, docker, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Command, Result, Workspace
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.pipeline import build as pipeline
from buildkit_tasks.project import compose, ports
from buildkit_tasks.project.discover import Project, discover, files_found, read_files

from . import state, wait


def up(session: Session, request: BuildRequest, *, with_build: bool = True, orphans: bool = False) -> None:
    """Build what is needed, start it, return when all of it is ready.

    Any service of the compose file may be asked for, built or not; compose starts what it depends on, too. `orphans`:
    remove containers of services that the compose file no longer has. Problems: port-in-use, unhealthy, build's.
    """
    project = discover(session, lesser=True, named=request.services)
    space = project.workspace
    chosen = named(project, request.services)
    started = state.with_dependencies(space.config, chosen)
    built = tuple(name for name in space.names if name in started)
    if with_build and built:
        outcome = pipeline.build_project(session, project, replace(request, services=built if chosen else ()))
        pipeline.tell_story(session, outcome)
    files = files_in_force(session, project)
    running = {c["Service"] for c in containers(session, files) if c.get("State") == "running"}
    check_ports(session, project, files, started - running)
    start(session, space, files, chosen, orphans=orphans)


def with_overlay(session: Session, overlays: Sequence[str]) -> None:
    """From now on the compose files are those that compose would read, and these on top, relative to where we stand.

    Problems: compose-invalid for a file that is not there.
    """
    if not overlays:
        return
    more = [session.world.cwd / name for name in overlays]
    for path in more:
        if not path.is_file():
            raise Problem("compose-invalid", f"There is no compose file {path}.", hint="name an existing file")
    read_files(session, (*files_found(session), *more))


def files_in_force(session: Session, project: Project) -> tuple[Path, ...]:
    """The compose files to name to compose: where base images are offline ones, all of them and the override."""
    override = base_images.override(session, project.engine, project.workspace)
    return (*files_found(session), override) if override else project.workspace.compose_files


def start(
    session: Session, space: Workspace, files: Sequence[Path], chosen: Sequence[str], *, orphans: bool = False
) -> None:
    """Start and wait, reporting each service as its container becomes ready. Problems: unhealthy, port-in-use."""
    wanted = wait.Wanted(
        space.project, state.with_dependencies(space.config, chosen), session.settings.stack.health_timeout
    )
    command = compose_cli.up(session.root, files, chosen, orphans=orphans)
    wait.until_ready(session, wanted, files, lambda: _heard(session, command))


def _heard(session: Session, command: Command) -> Result:
    """Run compose; its warnings and pulls are shown as they come, all it says is kept."""
    heard: list[str] = []
    partial = b""

    def hear(chunk: bytes) -> None:
        nonlocal partial
        *lines, partial = (partial + chunk).split(b"\n")
        for raw in lines:
            line = raw.decode(errors="replace").rstrip()
            heard.append(line)
            if "level=warning" in line or line.endswith((" Pulling", " Pulled")):
                session.report.say(f"  {line.strip()}")

    result = run.stream(session.world, command, hear)
    return replace(result, stderr="\n".join([*heard, partial.decode(errors="replace")]))


def check_ports(session: Session, project: Project, files: Sequence[Path], starting: Collection[str]) -> None:
    """Raise `Problem` port-in-use, with who holds it and the variable that moves it, before anything is started.

    Only where the engine shares this machine's network: elsewhere a free port here says nothing.
    """
    if not ports.shared_network(project.engine.host_name, engine_facts.host(session.world, session.root)):
        return
    for port in (p for p in project.workspace.ports if p.service in starting):
        if not ports.taken(port.host, port.published, port.protocol):
            continue
        asked = docker.publishing(session.root, port.published, port.protocol)
        other = run.capture(session.world, asked).stdout.split()
        who = f"container {other[0]}" if other else ports.holder(port.published, port.protocol) or "another program"
        raw = run.capture(session.world, compose_cli.raw_config(session.root, files)).stdout
        name = ports.variable(json.loads(raw or "{}"), port.service, port.target)
        move = f"set {name}=<a free port> in {session.root / '.env'}" if name else "change `ports:` in the compose file"
        raise Problem(
            "port-in-use",
            f"Port {port.published}/{port.protocol} of {port.service} is already in use.",
            causes=[f"{who} listens on {port.host}:{port.published}"],
            hint=f"{move}, or end {who}",
        )


def containers(session: Session, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The project's containers as compose lists them."""
    text = run.check(session.world, compose_cli.containers(session.root, files)).stdout.strip()
    if text.startswith("["):  # compose before 2.21 prints one array
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines() if line]


def down(session: Session, *, volumes: bool, orphans: bool = False) -> None:
    """Stop and remove containers and networks. Volumes hold data: they go only when asked and confirmed."""
    project = discover(session, lesser=True)
    if volumes:
        names = ", ".join(sorted(v.get("name", k) for k, v in (project.workspace.config.get("volumes") or {}).items()))
        what = f"the volumes of {project.workspace.project} are deleted with all data in them: {names or 'none'}"
        if not session.report.consent(what):
            session.report.say("nothing was changed")
            return
    files = files_in_force(session, project)
    run.check(session.world, compose_cli.down(session.root, files, volumes=volumes, orphans=orphans))
    name = project.workspace.project
    session.report.say(f"{name} is down" + ("" if volumes else "; its volumes are kept"))
    left = run.capture(session.world, docker.project_containers(session.root, name)).stdout.split("\n")
    for line in filter(None, left):
        container, _, service = line.partition(" ")
        session.report.warn(
            f"{container} stays: the service {service} is not in the compose file, or its profile is not active "
            f"(invoke down --remove-orphans; COMPOSE_PROFILES='*' invoke down)"
        )


def restart(session: Session, services: Sequence[str]) -> None:
    """Restart containers and wait until they are healthy again."""
    project, files, names = running(session, services)
    run.check(session.world, compose_cli.restart(session.root, files, names))
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
    project = discover(session, lesser=True)
    files, names = files_in_force(session, project), named(project, services)
    try:
        run.foreground(
            session.world, compose_cli.logs(session.root, files, names, tail=tail, follow=follow, since=since)
        )
    except KeyboardInterrupt:
        if not follow:
            raise


def shell(session: Session, service: str, what: str) -> int:
    """A shell (or `what`) inside a running service; returns its exit code."""
    _, files, names = running(session, [service])
    tty = session.world.interactive and sys.stdout.isatty()
    return run.foreground(
        session.world, compose_cli.execute(session.root, files, names[0], ("sh", "-c", what), tty=tty)
    )


def named(project: Project, services: Sequence[str]) -> list[str]:
    """The services named, each known to the compose file. Raises `Problem` service-unknown with near matches."""
    return list(dict.fromkeys(compose.expand(services, tuple(project.workspace.config.get("services") or ()))))


def running(session: Session, services: Sequence[str]) -> tuple[Project, tuple[Path, ...], list[str]]:
    project = discover(session, lesser=True)
    files, names = files_in_force(session, project), named(project, services)
    running = [c["Service"] for c in containers(session, files) if c.get("State") == "running"]
    absent = [n for n in names if n not in running]
    if absent or not running:
        raise Problem("not-running", f"Not running: {', '.join(absent) or 'the stack'}.", hint="invoke up")
    return project, files, names
