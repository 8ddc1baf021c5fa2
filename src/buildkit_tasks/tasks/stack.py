"""Tasks for the running stack."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task

SERVICE = "service, for example api,worker; repeatable (default: all)"
YES = "answer yes to every question"
ORPHANS = "remove containers of services that are no longer in the compose file"
JSON = "print one JSON document"


@task(
    iterable=["service"],
    help={
        "service": SERVICE,
        "no_build": "start existing images without building",
        "remove_orphans": ORPHANS,
        "progress": "auto, plain, verbose or quiet",
    },
)
@reported
def up(
    session: Session,
    service: Sequence[str] | None = None,
    no_build: bool = False,
    remove_orphans: bool = False,
    progress: str = "auto",
) -> None:
    """Build what changed, start the stack, and wait until every service is healthy or has exited with 0."""
    from buildkit_tasks.core.model import BuildRequest
    from buildkit_tasks.stack import stack

    request = BuildRequest(services=tuple(service or ()), progress=progress)
    stack.up(session, request, with_build=not no_build, orphans=remove_orphans)


@task(help={"volumes": "also delete the volumes and the data in them", "remove_orphans": ORPHANS, "yes": YES})
@reported
def down(session: Session, volumes: bool = False, remove_orphans: bool = False, yes: bool = False) -> None:
    """Stop and remove containers and networks; volumes only with --volumes."""
    from buildkit_tasks.stack import stack

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
        "since": "only lines since this time or age, for example 10m",
        "tail": "only the last N lines of each service",
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
        "command": "command to run instead of an interactive shell",
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
    """Post an action and check that every service handles it."""
    from buildkit_tasks.stack import smoke as flow

    flow.smoke(session)


@task(
    help={
        "older": "delete what was unused for this long, for example 14d or 12h",
        "keep": "also delete the least recently used beyond this size, for example 10GB",
        "dry_run": "only show what would be deleted",
        "yes": YES,
    }
)
@reported
def prune(session: Session, older: str = "14d", keep: str = "", dry_run: bool = False, yes: bool = False) -> None:
    """Delete this project's untagged images and old build cache, listed first. Never volumes or other projects."""
    from buildkit_tasks.caches import prune as flow

    flow.prune(session, older=older, keep=keep, dry_run=dry_run)
