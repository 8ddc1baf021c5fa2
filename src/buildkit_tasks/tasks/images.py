"""Tasks for the base images."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task

YES = "answer yes to all prompts"


@task(
    default=True,
    help={"again": "discard earlier decisions and query the registry", "json": "print a single JSON document"},
)
@reported
def show(session: Session, again: bool = False, json: bool = False) -> None:
    """Show the project's base images and where each one comes from."""
    from buildkit_tasks.images import table
    from buildkit_tasks.images.bases import references
    from buildkit_tasks.project.discover import discover

    project = discover(session, looking=True)
    rows = table.table(session, project.engine, references(project.workspace), again=again)
    table.print_result(session, rows)


@task(
    iterable=["only"],
    help={
        "only": "debian, rust, postgres, rabbitmq, rabbitmq-management, buildkit, or a reference (rust:1); repeatable",
        "force": "rebuild existing images to pick up Debian updates",
        "yes": YES,
    },
)
@reported
def build(session: Session, only: Sequence[str] | None = None, force: bool = False, yes: bool = False) -> None:
    """Build base images from Debian packages, for networks without access to a registry."""
    from buildkit_tasks.engine import ensure as engine_ensure
    from buildkit_tasks.images import bases as base_images
    from buildkit_tasks.images import offline as image_offline

    image_offline.renew(session, engine_ensure.ensure(session), base_images.recipes(only or ()), force=force)


@task(
    iterable=["service", "platform"],
    help={
        "service": "service to check, for example api,worker; repeatable (default: all)",
        "platform": "platform that must be present, for example linux/arm64 (default: check all present platforms)",
        "no_start": "only inspect the files; do not start the program",
        "json": "print a single JSON document",
    },
)
@reported
def check(
    session: Session,
    service: Sequence[str] | None = None,
    platform: Sequence[str] | None = None,
    no_start: bool = False,
    json: bool = False,
) -> None:
    """Check that the programs in built images match the image's platform and that each service's program starts."""
    from buildkit_tasks.images import check as image_check
    from buildkit_tasks.platforms.names import named

    image_check.check(session, service or (), named(platform or ()), start=not no_start)


@task()
@reported
def override(session: Session) -> None:
    """Print the path of the compose override for offline images, for use with plain `docker compose -f … build`."""
    from buildkit_tasks.images.bases import override
    from buildkit_tasks.project.discover import discover

    project = discover(session, looking=True)
    path = override(session, project.engine, project.workspace)
    session.report.say("" if path else "no override needed: every base image is available under its own name")
    if path:
        session.report.answer(str(path))


REF = "repository, for example ghcr.io/owner/project-cache (default: the packs.repository setting)"


@task(help={"ref": REF, "json": "print a single JSON document"})
@reported
def push(session: Session, ref: str = "", json: bool = False) -> None:
    """Push locally built base images to the team's repository, to share one toolchain."""
    from buildkit_tasks.images import share as image_share

    image_share.push(session, ref=ref)


@task(help={"ref": REF, "json": "print a single JSON document"})
@reported
def pull(session: Session, ref: str = "", json: bool = False) -> None:
    """Pull the team's base images, to use instead of locally built ones."""
    from buildkit_tasks.images import share as image_share

    image_share.pull(session, ref=ref)
