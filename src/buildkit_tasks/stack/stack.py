"""Operations on the running stack: up, down, restart, ps, logs, shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Command, Result, Workspace
from buildkit_tasks.dockercli import compose_cli, docker
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.pipeline import build as pipeline
from buildkit_tasks.project import compose, dotenv
from buildkit_tasks.project.discover import Project, discover, files_found, read_files

from . import ports, state, wait


def up(session: Session, request: BuildRequest, *, with_build: bool = True, orphans: bool = False) -> None:
    """Build what changed, start it, and return when everything is ready.

    Accepts any service in the compose file, built or not; compose also starts its dependencies. `orphans`: remove
    containers of services that are no longer in the compose file. If .env is missing, offers to create it.
    Problems: port-in-use, unhealthy, any from the build.
    """
    dotenv.offer(session, lambda: files_found(session))
    up_project(
        session,
        discover(session, lesser=True, named=request.services),
        request,
        with_build=with_build,
        orphans=orphans,
    )


def up_project(
    session: Session, project: Project, request: BuildRequest, *, with_build: bool = True, orphans: bool = False
) -> None:
    """Like `up`, for an already discovered project."""
    workspace = project.workspace
    chosen = named(project, request.services)
    started = state.with_dependencies(workspace.config, chosen)
    built = tuple(name for name in workspace.names if name in started)
    if with_build and built:
        outcome = pipeline.build_project(session, project, replace(request, services=built if chosen else ()))
        pipeline.show_summary(session, outcome)
    files = files_in_force(session, project)
    running = {c["Service"] for c in containers(session, files) if c.get("State") == "running"}
    ports.check(session, project, files, started - running)
    start(session, workspace, files, chosen, orphans=orphans)


def with_overlay(session: Session, overlays: Sequence[str]) -> None:
    """Add compose files to those that compose would read; the paths are relative to the working directory.

    Problems: compose-invalid for a missing file.
    """
    if not overlays:
        return
    more = [session.world.cwd / name for name in overlays]
    for path in more:
        if not path.is_file():
            raise Problem("compose-invalid", f"The compose file {path} does not exist.", hint="pass an existing file")
    read_files(session, (*files_found(session), *more))


def files_in_force(session: Session, project: Project) -> tuple[Path, ...]:
    """Return the compose files to pass to compose, including the override for offline base images if they are used."""
    override = base_images.override(session, project.engine, project.workspace)
    return (*files_found(session), override) if override else project.workspace.compose_files


def start(
    session: Session, workspace: Workspace, files: Sequence[Path], chosen: Sequence[str], *, orphans: bool = False
) -> None:
    """Start and wait, reporting each service once its container is ready. Problems: unhealthy, port-in-use."""
    wanted = wait.Wanted(
        workspace.project, state.with_dependencies(workspace.config, chosen), session.settings.stack.health_timeout
    )
    command = compose_cli.up(session.root, files, chosen, orphans=orphans)
    wait.until_ready(session, wanted, files, lambda: _run_compose(session, command))


def replace_containers(
    session: Session,
    workspace: Workspace,
    files: Sequence[Path],
    names: Sequence[str],
    *,
    dependencies: bool = False,
    enough: Callable[[], bool] = lambda: False,
) -> bool:
    """Replace the outdated containers of some services; return whether all were ready before `enough` became true.

    `dependencies`: also replace those of the services they depend on. Compose finishes what it began even after a
    Ctrl-C, so no container is lost. Problems: as for `start`.
    """
    services = state.with_dependencies(workspace.config, names) if dependencies else set(names)
    limit = session.settings.stack.health_timeout
    wanted = wait.Wanted(workspace.project, services, limit, enough, summary=False, report_running=False)
    command = compose_cli.up(session.root, files, names, dependencies=dependencies)
    return wait.until_ready(session, wanted, files, lambda: _run_compose(session, command, group=True))


def _run_compose(session: Session, command: Command, *, group: bool = False) -> Result:
    """Run compose; show its warnings and pulls as they arrive, and keep all of its output."""
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

    result = run.stream(session.world, command, hear, group=group)
    return replace(result, stderr="\n".join([*heard, partial.decode(errors="replace")]))


def containers(session: Session, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the project's containers as listed by compose."""
    # compose before 2.21 prints one array
    listed = run.check(session.world, compose_cli.containers(session.root, files))
    return shapes.answers(listed, compose_cli.CONTAINER, needs=("Service",))


def down(session: Session, *, volumes: bool, orphans: bool = False) -> None:
    """Stop and remove containers and networks. Volumes contain data, so delete them only on request, after asking."""
    project = discover(session, lesser=True)
    if volumes:
        names = ", ".join(sorted(v.get("name", k) for k, v in (project.workspace.config.get("volumes") or {}).items()))
        what = f"{project.workspace.project}'s volumes will be deleted with all data in them: {names or 'none'}"
        if not session.report.consent(what):
            session.report.say("nothing was changed")
            return
    files = files_in_force(session, project)
    run.check(session.world, compose_cli.down(session.root, files, volumes=volumes, orphans=orphans))
    name = project.workspace.project
    session.report.say(f"{name} is down" + ("" if volumes else "; its volumes are kept"))
    left = run.capture(session.world, docker.project_containers(session.root, name))
    for container, service in shapes.rows(left, 2):
        session.report.warn(
            f"{container} was kept: the service {service} is not in the compose file, or its profile is not active "
            f"(to remove it, run `invoke down --remove-orphans` or `COMPOSE_PROFILES='*' invoke down`)"
        )


def restart(session: Session, services: Sequence[str]) -> None:
    """Restart containers as compose does, including finished jobs (once). Return when all are ready again.

    Problems: not-running for a service without a container; unhealthy.
    """
    project = discover(session, lesser=True)
    files, names = files_in_force(session, project), named(project, services)
    config = project.workspace.config
    present = {c["Service"] for c in containers(session, files)} & (config.get("services") or {}).keys()
    _refuse_absent([n for n in names if n not in present], any_present=bool(present))
    affected = present & state.with_dependents(config, names) if names else present
    wanted = wait.Wanted(
        project.workspace.project, affected, session.settings.stack.health_timeout, report_running=False
    )
    command = compose_cli.restart(session.root, files, names)
    wait.until_ready(session, wanted, files, lambda: _run_compose(session, command))


def ps(session: Session) -> None:
    """List the containers with their ports and health."""
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
        f"{p.get('URL') or '*'}:{p['PublishedPort']}->{p['TargetPort']}/{p.get('Protocol') or 'tcp'}"
        for p in container.get("Publishers") or ()
        if p.get("PublishedPort")
    }
    return ", ".join(sorted(pairs)) or "-"


def logs(session: Session, services: Sequence[str], *, follow: bool, since: str, tail: str) -> None:
    """Print the services' logs to our own stdout and stderr; Ctrl-C stops following."""
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
    """Run a shell (or `what`) inside a running service and return its exit code."""
    _, files, names = _running(session, [service])
    tty = session.world.interactive and session.world.prints_to_terminal
    return run.foreground(
        session.world, compose_cli.execute(session.root, files, names[0], ("sh", "-c", what), tty=tty)
    )


def named(project: Project, services: Sequence[str]) -> list[str]:
    """Check services against the compose file; return their names. Problems: unknown-service, with suggestions."""
    return list(dict.fromkeys(compose.expand(services, tuple(project.workspace.config.get("services") or ()))))


def _running(session: Session, services: Sequence[str]) -> tuple[Project, tuple[Path, ...], list[str]]:
    project = discover(session, lesser=True)
    files, names = files_in_force(session, project), named(project, services)
    running = [c["Service"] for c in containers(session, files) if c.get("State") == "running"]
    _refuse_absent([n for n in names if n not in running], any_present=bool(running))
    return project, files, names


def _refuse_absent(absent: Sequence[str], *, any_present: bool) -> None:
    if absent or not any_present:
        raise Problem("not-running", f"Not running: {', '.join(absent) or 'the stack'}.", hint="invoke up")
