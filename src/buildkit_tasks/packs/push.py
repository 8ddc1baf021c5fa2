"""Pushes a pack: shares the code compiled on this machine."""

from __future__ import annotations

from datetime import datetime, timezone

from buildkit_tasks.ci import context as ci_context
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.project.discover import discover

from . import pack as packs
from .job import Sent, Trip, prepare, workplace
from .pack import Economy, Facts, Wanted


def push(session: Session, wanted: Wanted, *, force: bool = False) -> None:
    """Pack and push the mounts. `force`: even if it does not pay off, or this machine is not allowed to push.

    Problems: bad-argument, push-refused, registry-unreachable, registry-denied, and any from the build.
    """
    require_allowed(session, force=force)
    answer = send(prepare(session, discover(session), wanted), force=force)
    if session.report.json_only:
        session.report.envelope({"pack": answer})


def require_allowed(session: Session, *, force: bool) -> None:
    """Raise `Problem` push-refused if packs.push does not allow this run to push, unless forced."""
    may, why = ci_context.allowed(session.world, session.settings.packs.push, session.settings.ci.default_branch)
    if not (may or force):
        raise Problem(
            "push-refused",
            "This machine is not allowed to push caches.",
            causes=[why],
            hint="use --force to push anyway, or change the packs.push setting",
        )


def send(trip: Trip, *, force: bool = False) -> dict[str, object]:
    """Push without the permission check. Returns the result for `--json`."""
    session = trip.session
    began = session.world.clock()
    with workplace(session) as folder:
        facts = trip.pack(folder)
        if facts.form != "zst":
            session.report.say(
                "the toolchain image has no zstd; with zstd, packing is faster and packs are half the size"
            )
        economy = packs.economy(facts, session.world.clock() - began)
        exact, newest = trip.tags(facts)
        if not (economy.pays or force):
            session.report.say(
                f"not pushed: the pack would not save time ({economy.words}); use --force to push anyway"
            )
            return _answer(facts, economy)
        made = datetime.now(timezone.utc).isoformat(timespec="seconds")
        label = packs.label(facts, trip.wanted.scope, trip.arch, made)
        done = trip.push(folder, facts.parts, (exact, newest), {packs.LABEL: label})
    seconds = session.world.clock() - began
    session.report.say(
        f"pushed {trip.client.ref.name}:{exact} in {seconds:.1f} s: {units.counted(facts.packed_units, 'unit')}, "
        f"{units.human(facts.bytes)} compressed to {units.human(done.stored)}, "
        f"{units.human(done.sent)} uploaded"
    )
    session.report.say(economy.words)
    return _answer(facts, economy, done, tag=exact, seconds=seconds)


def _answer(
    facts: Facts, economy: Economy, done: Sent | None = None, *, tag: str = "", seconds: float = 0.0
) -> dict[str, object]:
    return {
        "pushed": done is not None,
        "tag": tag or None,
        "digest": done.digest if done else None,
        "units": facts.packed_units,
        "bytes": facts.bytes,
        "bytes_stored": done.stored if done else 0,
        "bytes_sent": done.sent if done else 0,
        "parts": dict(facts.parts),
        "seconds": round(seconds, 1),
        "economy": {
            "save_seconds": round(economy.save, 1),
            "restore_seconds": round(economy.restore, 1),
            "compile_seconds": round(economy.compile, 1),
            "pays": economy.pays,
        },
    }
