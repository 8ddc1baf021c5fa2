"""Tasks for the running stack."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task

SERVICE = "service, for example api,worker or 'worker-*'; repeatable (default: all)"
YES = "answer yes to all prompts"
ORPHANS = "remove containers of services that are no longer in the compose file"
OVERLAY = "additional compose file, merged over the others, for example compose.agent.yaml; repeatable"
JSON = "print a single JSON document"


@task(
    iterable=["service", "overlay"],
    help={
        "service": SERVICE,
        "no_build": "start existing images without building",
        "remove_orphans": ORPHANS,
        "overlay": OVERLAY,
        "progress": "auto, plain, verbose or quiet",
        "yes": YES,
    },
)
@reported
def up(
    session: Session,
    service: Sequence[str] | None = None,
    no_build: bool = False,
    remove_orphans: bool = False,
    overlay: Sequence[str] | None = None,
    progress: str = "auto",
    yes: bool = False,
) -> None:
    """Build what changed, start the stack, and wait until every service is healthy or has exited with code 0."""
    from buildkit_tasks.core.model import BuildRequest
    from buildkit_tasks.stack import stack

    stack.with_overlay(session, overlay or ())
    request = BuildRequest(services=tuple(service or ()), progress=progress)
    stack.up(session, request, with_build=not no_build, orphans=remove_orphans)


@task(
    iterable=["overlay"],
    help={
        "volumes": "also delete the volumes and the data in them",
        "remove_orphans": ORPHANS,
        "overlay": OVERLAY,
        "yes": YES,
    },
)
@reported
def down(
    session: Session,
    volumes: bool = False,
    remove_orphans: bool = False,
    overlay: Sequence[str] | None = None,
    yes: bool = False,
) -> None:
    """Stop and remove containers and networks; volumes only with --volumes."""
    from buildkit_tasks.stack import stack

    stack.with_overlay(session, overlay or ())
    stack.down(session, volumes=volumes, orphans=remove_orphans)


@task(iterable=["service"], help={"service": SERVICE})
@reported
def restart(session: Session, service: Sequence[str] | None = None) -> None:
    """Restart services and wait until they are healthy again."""
    from buildkit_tasks.stack import stack

    stack.restart(session, service or ())


@task(help={"json": JSON})
@reported
def ps(session: Session, json: bool = False) -> None:
    """List the containers with their ports and health."""
    from buildkit_tasks.stack import stack

    stack.ps(session)


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "follow": "follow the output until Ctrl-C",
        "since": "only lines since this timestamp or relative time, for example 10m",
        "tail": "only the last N lines of each service, for example 100",
    },
)
@reported
def logs(
    session: Session, service: Sequence[str] | None = None, follow: bool = False, since: str = "", tail: str = "all"
) -> None:
    """Print the logs of the services."""
    from buildkit_tasks.stack import stack

    stack.logs(session, service or (), follow=follow, since=since, tail=tail)


@task(
    help={
        "service": "running service to open the shell in",
        "command": "command to run instead of an interactive shell, for example 'ls -l /app'",
    }
)
@reported
def shell(session: Session, service: str, command: str = "exec bash || exec sh") -> None:
    """Open a shell inside a running service."""
    from buildkit_tasks.stack import stack

    code = stack.shell(session, service, command)
    if code:
        raise Exit(code=code)


@task(help={"json": JSON})
@reported
def smoke(session: Session, json: bool = False) -> None:
    """Wait until the stack is healthy, then run the checks in the settings and the project's own smoke test."""
    from buildkit_tasks.stack import smoke as flow

    flow.smoke(session)


@task(
    help={
        "older": "delete everything unused for this long, for example 14d or 12h",
        "keep": "also delete the least recently used data beyond this size, for example 10GB",
        "dry_run": "only show what would be deleted",
        "yes": YES,
    }
)
@reported
def prune(session: Session, older: str = "14d", keep: str = "", dry_run: bool = False, yes: bool = False) -> None:
    """List, then delete this project's untagged images and old build cache. Never touches volumes or other projects."""
    from buildkit_tasks.caches import prune as flow

    flow.prune(session, older=older, keep=keep, dry_run=dry_run)


@task(
    help={
        "service": "service that provides the container's image and settings",
        "no_build": "use existing images without building",
        "no_deps": "do not start the service's dependencies",
    }
)
@reported
def run(session: Session, service: str, no_build: bool = False, no_deps: bool = False) -> None:
    """Run a command in a new container of a service, then remove the container: run --service api -- migrate --all"""
    from buildkit_tasks.stack import oneoff

    code = oneoff.run_once(session, service, with_build=not no_build, dependencies=not no_deps)
    if code:
        raise Exit(code=code)


@task(
    iterable=["service", "path"],
    help={
        "service": "copy from this service's image, for example api or 'worker-*'; repeatable (default: all)",
        "to": "directory to copy into, for example out/; with multiple services, each gets its own subdirectory",
        "path": "file or directory in the image, for example /etc/app; repeatable (default: the image's program)",
        "json": JSON,
    },
)
@reported
def extract(
    session: Session,
    service: Sequence[str] | None = None,
    to: str = "",
    path: Sequence[str] | None = None,
    json: bool = False,
) -> None:
    """Copy programs or files out of images, without starting anything."""
    from buildkit_tasks.stack import extract as flow

    flow.extract(session, service or (), to, path or ())


@task(
    help={
        "caches": "also remove cache mounts, layers and cargo task data; the next build compiles everything",
        "volumes": "also remove the volumes and the data in them; asks for the project's name",
        "confirm": "the project's name, for scripts that delete volumes",
        "dry_run": "only show what would be removed",
        "yes": YES,
    }
)
@reported
def clean(
    session: Session,
    caches: bool = False,
    volumes: bool = False,
    confirm: str = "",
    dry_run: bool = False,
    yes: bool = False,
) -> None:
    """List, then remove this project's containers, networks and images. Never touches other projects."""
    from buildkit_tasks.stack import clean as flow

    flow.clean(session, caches=caches, volumes=volumes, confirm=confirm, dry_run=dry_run)
