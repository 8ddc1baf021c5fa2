"""The task `init`: adopts a repository, upgrades what it wrote, undoes it."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(
    iterable=["add"],
    help={
        "add": "add a service for this program, for example worker or jobs=worker (SERVICE=PROGRAM); repeatable",
        "compose": "edit (change the compose file in place) or override (leave it alone and write an override file)",
        "images": "keep (your Dockerfiles' own), bookworm (rust and debian built without a registry), "
        "auto (bookworm only if yours are not available)",
        "dry_run": "print the changes as a diff without writing anything",
        "check": "report what a build would be missing without writing anything",
        "undo": "restore every file",
        "upgrade": "upgrade the generated files to this version; your edits are kept, or shown as conflicts",
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
