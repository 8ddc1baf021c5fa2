"""The task that brings a repository under our tasks, and lets it leave."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(
    iterable=["add"],
    help={
        "add": "add a service for this program, as PROGRAM or SERVICE=PROGRAM; repeatable",
        "compose": "edit (the compose file in place) or override (leave it alone, complete it by an override file)",
        "images": "keep (those of your Dockerfiles), bookworm (rust and debian that need no registry), "
        "auto (bookworm only where yours are not available)",
        "dry_run": "print what would be written as a diff, and write nothing",
        "check": "say what a build would lack, and write nothing",
        "undo": "put every file back as it was before",
        "upgrade": "bring what was written to this version; your edits survive or are shown as a conflict",
        "yes": "write without asking",
        "json": "print one JSON document",
    },
)
@reported
def init(
    session: Session,
    compose: str = "edit",
    images: str = "auto",
    add: Sequence[str] | None = None,
    dry_run: bool = False,
    check: bool = False,
    undo: bool = False,
    upgrade: bool = False,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Adopt this repository: write Dockerfile, compose file and tasks for builds on cache mounts."""
    from buildkit_tasks.adopt import init as flow
    from buildkit_tasks.adopt import present

    if check:
        outcome = flow.check(session)
    elif undo:
        outcome = flow.undo(session, dry_run=dry_run)
    elif upgrade:
        outcome = flow.upgrade(session, images=images, dry_run=dry_run)
    else:
        outcome = flow.init(session, compose=compose, images=images, add=add or (), dry_run=dry_run)
    present.finish(session, outcome, dry_run=dry_run, checked=check)
