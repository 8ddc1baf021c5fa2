"""`invoke builder.create` from end to end: create the node, fill its mounts from the shared cache, show the builder."""

from __future__ import annotations

from buildkit_tasks.builders import create as builder_create
from buildkit_tasks.builders import facts as builder_facts
from buildkit_tasks.builders import show as builder_show
from buildkit_tasks.builders.create import NewNode
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem


def add(session: Session, wanted: NewNode, *, plan: bool = False, use: bool = False) -> None:
    """Create a builder or add a node, warm it, and show the builder. Problems: same as `create`."""
    added = builder_create.create(session, wanted, plan=plan)
    if added is None:
        return
    _warm(session, added)
    if use:
        builder_show.choose(session, added.builder)
    builder_show.inspect(session, added.builder)


def _warm(session: Session, added: NewNode) -> None:
    """Fill a new node from the shared cache, if there is one. The node stays even if this fails."""
    if not session.settings.packs.repository:
        return
    from buildkit_tasks.packs import job as pack_job
    from buildkit_tasks.packs import pull as pack_pull
    from buildkit_tasks.packs.pack import Wanted
    from buildkit_tasks.project import discover

    own = Session(session.world, session.report, session.flags)
    try:
        found = discover.discover(own)
        for platform in added.platforms or ("",):
            needed = Wanted(platform=platform, builder=builder_facts.child(added.builder, added.node))
            done = pack_pull.fetch(pack_job.prepare(own, found, needed))
            result = f"{units.human(done.bytes)} in {done.seconds:.1f} s" if done.unpacked else "; ".join(done.why_not)
            session.report.say(f"  warmed{f' for {platform}' if platform else ''}: {result or 'nothing'}")
    except Problem as problem:
        session.report.warn(
            f"could not warm the node {added.node}: {'; '.join((problem.message, *problem.causes[:1]))}"
        )
