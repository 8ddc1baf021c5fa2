"""Recommends what to clear, with the command and its cost."""

from __future__ import annotations

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.project.discover import discover

from . import advice as cache_advice
from . import mount_open
from .inside import own
from .look import look


def advice(session: Session, *, builder: str = "") -> None:
    """Inspect the mounts and print what is worth clearing."""
    project = discover(session, looking=True)
    found = look(session, project, builder=builder, settle=True)
    contents = mount_open.listing(session, project, [m for m in own(session, found) if not m.in_use], builder)
    recommended = cache_advice.advise(found, contents, session.settings.caches.min_free)
    if session.report.json_only:
        session.report.envelope({"advice": [a.__dict__ for a in recommended]})
        return
    if not recommended:
        session.report.answer("nothing to clear: the next builds need everything in the caches")
        return
    rows = [(a.why, a.command, units.human(a.frees), a.price) for a in recommended]
    session.report.table(("why", "command", "frees", "cost"), rows)
