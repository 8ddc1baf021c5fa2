"""Free disk: this project's untagged images and old build cache. Never volumes, never what may be another project's."""

from __future__ import annotations

from buildkit_tasks import caching, command, run
from buildkit_tasks.errors import Problem

from .project import discover
from .session import Session


def prune(session: Session, *, older: str, keep: str, dry_run: bool) -> None:
    """Show what and how much, ask, delete. `older` as 14d; `keep` as 10GB, empty = no limit by size."""
    try:
        seconds, limit = caching.duration(older), caching.size(keep) if keep else 0
    except ValueError:
        raise Problem("bad-argument", f"--older {older!r} is no duration.", hint="write 14d, 12h or 30m") from None
    space = discover(session).workspace
    listed = run.check(session.world, command.cache_records(session.root)).stdout
    going = caching.prunable(caching.belonging(caching.parse(listed), space.scope), older=seconds, keep=limit)
    images = run.check(session.world, command.dangling_images(session.root, space.project)).stdout.splitlines()
    rows = [("image", *line.split(" ", 1)) for line in images]
    rows += [(r.mount_id or "layer", r.id, caching.human(r.size)) for r in going]
    if not rows:
        session.report.say(f"nothing of {space.project} is untagged, or unused for {older}")
        return
    session.report.table(("what", "id", "size"), rows)
    total = sum(r.size for r in going) + sum(caching.size(line.split(" ", 1)[1]) for line in images)
    question = f"{len(rows)} things of {space.project} go, {caching.human(total)} in all; volumes stay"
    if dry_run or not session.report.consent(question):
        session.report.say("nothing was changed")
        return
    if images:
        run.capture(session.world, command.remove_images(session.root, [line.split(" ", 1)[0] for line in images]))
    for record in going:
        run.check(session.world, command.remove_cache_record(session.root, record.id))
    left = caching.parse(run.check(session.world, command.cache_records(session.root)).stdout)
    remaining = {r.id for r in left}
    freed = sum(r.size for r in going if r.id not in remaining)
    session.report.say(f"freed {caching.human(freed)} of build cache and {len(images)} untagged images")
