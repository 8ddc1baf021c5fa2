"""Deletes cache records: cache mounts and layers."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.engine.cache_records import Record
from buildkit_tasks.project.discover import Project
from buildkit_tasks.unchanged import record as unchanged

from .look import records

#: Records per prune call. Their ids form a single filter, which must fit on the command line.
AT_ONCE = 200


def delete(
    session: Session, project: Project, going: Sequence[Record], builder: str
) -> tuple[list[Record], list[Record]]:
    """Delete records, then list the cache again. Returns the deleted and the kept records.

    Keeps layers while any build is running on the builder: all projects share layers by content, and a build fails if
    it loses one (`failed to solve: not found`, seen with engine 26.1). Mounts do not have this problem.
    """
    asked = list(going)
    if any(not r.is_mount for r in going) and any(not r.reclaimable for r in records(session, project.engine, builder)):
        session.report.warn("a build is running: keeping the layers, because the build could fail without them")
        going = [r for r in going if r.is_mount]
    unchanged.forget(session.state)  # a user who clears a cache expects the next build to run
    for at in range(0, len(going), AT_ONCE):
        ids = [r.id for r in going[at : at + AT_ONCE]]
        run.check(session.world, buildx.remove_cache_record(session.root, *ids, builder=builder))
    left = {r.id for r in records(session, project.engine, builder)}
    return [r for r in asked if r.id not in left], [r for r in asked if r.id in left]
