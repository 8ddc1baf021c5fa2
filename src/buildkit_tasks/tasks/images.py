"""Tasks for the base images."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.tasks import task

from buildkit_tasks.core.session import Session

from .edge import told

YES = "answer every question with yes"


@task(default=True, help={"again": "forget what was decided and ask the registry again", "json": "print one document"})
@told
def show(session: Session, again: bool = False, json: bool = False) -> None:
    """Show which base images the project uses and where each comes from."""
    from buildkit_tasks.images import offline as image_offline
    from buildkit_tasks.images.bases import references
    from buildkit_tasks.project.discover import discover

    project = discover(session)
    rows = image_offline.table(session, project.engine, references(project.workspace), again=again)
    image_offline.tell(session, rows)


@task(
    iterable=["only"],
    help={
        "only": "an image: debian, rust, postgres, rabbitmq, rabbitmq-management, buildkit or a reference; repeatable",
        "force": "build also what is there and up to date (takes in Debian's updates)",
        "yes": YES,
    },
)
@told
def build(session: Session, only: Sequence[str] | None = None, force: bool = False, yes: bool = False) -> None:
    """Build base images from Debian packages, for networks that reach no registry."""
    from buildkit_tasks.engine import ensure as engine_ensure
    from buildkit_tasks.images import bases as base_images
    from buildkit_tasks.images import offline as image_offline

    image_offline.renew(session, engine_ensure.ensure(session), base_images.recipes(only or ()), force=force)


@task(
    iterable=["service", "platform"],
    help={
        "service": "service to look at, repeatable or a comma list; none = all",
        "platform": "platform that has to be there, as linux/arm64 (default: those that are)",
        "no_start": "only look into the files, start nothing",
        "json": "print one document",
    },
)
@told
def check(
    session: Session,
    service: Sequence[str] | None = None,
    platform: Sequence[str] | None = None,
    no_start: bool = False,
    json: bool = False,
) -> None:
    """Check the services' built images: every program is of the image's platform, and the service's own starts."""
    from buildkit_tasks.dockerfiles.platforms import named
    from buildkit_tasks.images import check as image_check

    image_check.check(session, service or (), named(platform or ()), start=not no_start)


@task
@told
def override(session: Session) -> None:
    """Print the compose override that puts offline images in place, for a plain `docker compose -f … build`."""
    from buildkit_tasks.images.bases import override
    from buildkit_tasks.project.discover import discover

    project = discover(session)
    path = override(session, project.engine, project.workspace)
    session.report.say("" if path else "no override is needed: every base image comes under its own name")
    if path:
        session.report.answer(str(path))


REF = "the registry's repository, as HOST/PATH (default: the setting packs.repository)"


@task(help={"ref": REF, "json": "print one document"})
@told
def push(session: Session, ref: str = "", json: bool = False) -> None:
    """Push the base images built here to the team's repository, so that all share one toolchain."""
    from buildkit_tasks.images import share as image_share

    image_share.push(session, ref=ref)


@task(help={"ref": REF, "json": "print one document"})
@told
def pull(session: Session, ref: str = "", json: bool = False) -> None:
    """Take the team's base images in the place of ones built here."""
    from buildkit_tasks.images import share as image_share

    image_share.pull(session, ref=ref)
