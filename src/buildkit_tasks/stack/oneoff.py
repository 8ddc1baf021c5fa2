"""Runs one command in a new container of a service: builds what changed, then calls `docker compose run`."""

from __future__ import annotations

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.pipeline import build as pipeline
from buildkit_tasks.project import compose
from buildkit_tasks.project.discover import discover

from . import stack, state


def run_once(session: Session, service: str, *, with_build: bool = True, dependencies: bool = True) -> int:
    """Run the command after `--` (default: the service's own), remove the container, and return the exit code.

    Build the service and its dependencies first if they changed. Problems: unknown-service, and any from the build.
    """
    project = discover(session, lesser=True, named=[service])
    workspace = project.workspace
    compose.check_name(service, tuple(workspace.config.get("services") or ()))
    needed = state.with_dependencies(workspace.config, [service]) if dependencies else {service}
    built = tuple(name for name in workspace.names if name in needed)
    if with_build and built:
        outcome = pipeline.build_project(session, project, BuildRequest(services=built))
        pipeline.show_summary(session, outcome)
    files = stack.files_in_force(session, project)
    tty = session.world.interactive and session.world.prints_to_terminal
    command = compose_cli.run_once(session.root, files, service, session.extra, tty=tty, dependencies=dependencies)
    return run.foreground(session.world, command)
