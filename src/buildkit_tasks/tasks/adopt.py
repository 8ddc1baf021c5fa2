"""The tasks `init` and `import-makefile`. Both can undo their changes to a repository."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(
    iterable=["add"],
    help={
        "add": "add a service for this program, for example worker or jobs=worker (SERVICE=PROGRAM); repeatable",
        "compose": "edit (change the compose file in place) or override (leave it unchanged and write an "
        "override file)",
        "images": "base images: keep (as in your Dockerfiles), bookworm (rust and debian, which need no registry), "
        "auto (bookworm only if yours are unavailable)",
        "dry_run": "print the changes as a diff without writing anything",
        "check": "report what is missing for a build, without writing anything",
        "undo": "restore all files",
        "upgrade": "upgrade the generated files to this version; your edits are kept, or shown as conflicts",
        "yes": "write without asking",
        "json": "print a single JSON document",
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
    """Adopt this repository: write a Dockerfile, compose file and tasks for builds with cache mounts."""
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


@task(
    iterable=["accept"],
    help={
        "file": "the file to import (default: the Makefile and justfile in this directory, or in the repository)",
        "output": "write the result to this file and leave the original unchanged",
        "accept": "replace this target with the closest task, even if its recipe does more; repeatable",
        "dry_run": "print the table and the diff without writing anything",
        "undo": "restore the original recipes",
        "yes": "write without asking",
        "json": "print a single JSON document",
    },
)
@reported
def import_makefile(
    session: Session,
    file: str = "",
    output: str = "",
    accept: Sequence[str] | None = None,
    dry_run: bool = False,
    undo: bool = False,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Replace recipes in a Makefile or justfile with calls to equivalent tasks."""
    from buildkit_tasks.makefile import flow

    if undo:
        flow.undo(session, dry_run=dry_run)
    else:
        flow.run(session, file=file, output=output, accept=accept or (), dry_run=dry_run)
