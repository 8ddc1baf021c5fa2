"""Shrinks the project's caches to a given size; `sweep` decides what to delete."""

from __future__ import annotations

from buildkit_tasks.caches.mount_listing import Content
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, units
from buildkit_tasks.engine.cache_records import Mount
from buildkit_tasks.project.discover import Project, discover

from . import mount_open, rescue
from . import sweep as cache_sweep
from .delete import delete
from .inside import own
from .look import look, size
from .sweep import Decision
from .view import Cache

#: How many times to decide again if builds keep changing the mounts.
TRIES = 3


def trim(session: Session, *, keep: str = "", builder: str = "", dry_run: bool = False) -> None:
    """Shrink to `keep` (empty: the caches.budget setting, or else delete only leftovers), after listing and asking.

    Problems: bad-argument, consent-missing.
    """
    limit = size(keep, "keep") if keep else session.settings.caches.budget or None
    project = discover(session, looking=True)

    def decide() -> tuple[Decision, list[Mount], dict[str, Content]]:
        return _decide(session, project, limit, builder)

    decision, mounts, contents = decide() if dry_run else rescue.listed(session, project, decide, builder=builder)
    if not session.report.json_only and decision.items:
        rows = [(i.where, i.why, units.human(i.size)) for i in decision.items]
        session.report.table(("where", "to delete", "size"), rows)
    what = f"{units.human(decision.before)} now, {units.human(decision.freed)} will be deleted"
    after = decision.before
    if decision.items and not dry_run and session.report.consent(what):
        decision, after = carry_out(session, project, decision, mounts, contents, limit, builder)
    for note in decision.notes:
        session.report.say(note)
    over = limit is not None and after > limit * 1.05
    if session.report.json_only:
        items = [{"where": i.where, "why": i.why, "bytes": i.size} for i in decision.items]
        document = {
            "before": decision.before,
            "after": after,
            "keep": limit,
            "items": items,
            "notes": list(decision.notes),
        }
        session.report.envelope({**document, "dry_run": dry_run, "within": not over})
    session.report.say(f"{units.human(decision.before)} -> {units.human(after)}" + (" (dry run)" if dry_run else ""))


def after_build(session: Session, project: Project) -> None:
    """After a build, warn or trim if the caches exceed caches.budget, depending on caches.over_budget."""
    if not session.settings.caches.budget:
        return
    limit = session.settings.caches.budget
    total = sum(r.size for r in look(session, project).ours)
    if total <= limit:
        return
    if session.settings.caches.over_budget == "trim":
        decision, mounts, contents = _decide(session, project, limit, "")
        _, after = carry_out(session, project, decision, mounts, contents, limit, "")
        session.report.say(f"  caches trimmed: {units.human(total)} -> {units.human(after)}")
        return
    session.report.warn(
        f"the caches use {units.human(total)}, more than caches.budget = {units.human(limit)}; "
        "run `invoke cache.trim` to shrink them"
    )


def carry_out(
    session: Session,
    project: Project,
    decision: Decision,
    mounts: list[Mount],
    contents: dict[str, Content],
    limit: int | None,
    builder: str,
) -> tuple[Decision, int]:
    """Carry out a decision; decide again if a build has changed a mount. Returns what was done and the bytes left."""
    for _ in range(TRIES):
        going = {m.name: decision.paths(m.name) for m in mounts}
        if not any(going.values()) or mount_open.remove(session, project, going, mounts, contents, builder):
            break
        session.report.say("a build has used the caches since the check; checking again")
        decision, mounts, contents = _decide(session, project, limit, builder)
    else:
        session.report.warn("builds keep using the caches: nothing inside the mounts was deleted")
    if decision.records:
        ids = {r.id for r in decision.records}
        now = look(session, project, builder=builder, settle=True)
        delete(session, project, [r for r in now.ours if r.id in ids and r.reclaimable], builder)
    return decision, sum(r.size for r in look(session, project, builder=builder).ours)


def _decide(
    session: Session, project: Project, limit: int | None, builder: str
) -> tuple[Decision, list[Mount], dict[str, Content]]:
    found: Cache = look(session, project, builder=builder, settle=True)
    mounts = own(session, found)
    # All mounts are held while paths are removed, so if one is in use, we would wait minutes for that build.
    if busy := [m.name for m in mounts if m.in_use]:
        session.report.warn(f"a running build is using {', '.join(busy)}: nothing inside the mounts will be deleted")
        mounts = []
    contents = mount_open.listing(session, project, mounts, builder)
    return cache_sweep.decide(found.ours, contents, _locks(project), limit), mounts, contents


def _locks(project: Project) -> list[str]:
    """Return the lock files in the services' build contexts, which determine what the next build needs."""
    found: dict[str, str] = {}
    for context in dict.fromkeys(s.context for s in project.workspace.services if not s.remote):
        # no deeper: a full walk would visit target directories and vendored crates
        for path in [p for pattern in ("Cargo.lock", "*/Cargo.lock", "*/*/Cargo.lock") for p in context.glob(pattern)]:
            found[str(path)] = readfile.text(path, "replace")
    return list(found.values())
