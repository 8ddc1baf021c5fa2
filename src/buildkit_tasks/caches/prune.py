"""Frees disk space: deletes this project's untagged images and old caches, never volumes or other projects' data."""

from __future__ import annotations

from buildkit_tasks.caches import selection as cache_selection
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.dockercli import docker
from buildkit_tasks.engine.cache_records import Record
from buildkit_tasks.project.discover import discover

from . import rescue
from .delete import delete
from .look import records, seconds, size


def prune(session: Session, *, older: str, keep: str, dry_run: bool) -> None:
    """List, ask, then delete. `older`: for example 14d. `keep`: for example 10GB; empty for no size limit.

    Problems: bad-argument, consent-missing.
    """
    unused, limit = seconds(older, "older"), size(keep, "keep") if keep else 0
    project = discover(session, looking=True)
    workspace = project.workspace

    def ask() -> tuple[Record, ...]:
        return records(session, project.engine)

    found = ask() if dry_run else rescue.listed(session, project, ask)
    going = cache_selection.prunable(cache_selection.belonging(found, workspace.scope), older=unused, keep=limit)
    listed = run.check(session.world, docker.dangling_images(session.root, workspace.project)).stdout.splitlines()
    images = [line for line in listed if " " in line]
    rows = [("image", *line.split(" ", 1)) for line in images]
    rows += [(r.mount_id or "layer", r.id, units.human(r.size)) for r in going]
    if not rows:
        session.report.say(
            f"{workspace.project} has no untagged images and no caches that have been unused for {older}"
        )
        return
    session.report.table(("what", "id", "size"), rows)
    total = sum(r.size for r in going) + sum(units.size(line.split(" ", 1)[1]) for line in images)
    question = (
        f"{units.counted(len(rows), 'item')} from {workspace.project} will be deleted, "
        f"{units.human(total)} in total; volumes are kept"
    )
    if dry_run or not session.report.consent(question):
        session.report.say("nothing was changed")
        return
    if images:
        run.capture(session.world, docker.remove_images(session.root, [line.split(" ", 1)[0] for line in images]))
    gone, _ = delete(session, project, going, "")
    freed = units.human(sum(r.size for r in gone))
    session.report.say(f"deleted {freed} of build cache and {units.counted(len(images), 'untagged image')}")
