"""Clears the selected caches: lists them first, checks again before deleting, and skips those in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from buildkit_tasks.caches import selection as cache_selection
from buildkit_tasks.caches.selection import Chosen, Selection
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.dockerfiles import mount_ids
from buildkit_tasks.engine import cache_records
from buildkit_tasks.engine.cache_records import Record
from buildkit_tasks.platforms.names import long_form
from buildkit_tasks.project import compose
from buildkit_tasks.project.discover import Project, discover
from buildkit_tasks.unchanged import record as unchanged

from . import cargo_tasks, rescue
from . import mark as cache_mark
from .cargo_tasks import Volume
from .delete import delete
from .look import declared, records, seconds


def clear(
    session: Session,
    selection: Selection,
    *,
    services: Sequence[str] = (),
    older: str = "",
    builder: str = "",
    confirm: str = "",
    dry_run: bool = False,
) -> None:
    """List what a selection covers, ask, then delete it. `confirm`: the word that confirms `everything`; if empty, ask.

    Problems: bad-argument, unknown-service, consent-missing, cache-missing (no such mount).
    """
    with_volumes = cargo_tasks.VOLUMES in selection.wanted
    if with_volumes and (services or older or builder or selection.platform or selection.everything):
        raise Problem(
            "bad-argument",
            "--mount volumes cannot be combined with --service, --older, --platform, --builder or --everything.",
            hint="run `invoke cache.clear --mount volumes` without these options (--project and other kinds of mounts "
            "are allowed)",
        )
    project = discover(session, looking=True)
    wanted = replace(
        selection,
        project=selection.project or project.workspace.scope,
        older=seconds(older, "older") if older else 0,
        ids=_ids(project, services) if services else None,
        platform=long_form(selection.platform),
    )
    volumes: tuple[Volume, ...] = ()
    if with_volumes:
        wanted = replace(wanted, wanted=tuple(w for w in wanted.wanted if w != cargo_tasks.VOLUMES))
        volumes = cargo_tasks.measured(session, cargo_tasks.names(session, wanted.project))
    only_volumes = with_volumes and not wanted.wanted
    chosen = Chosen() if only_volumes else _first(session, project, wanted, builder, dry_run=dry_run)
    if chosen is None:
        _clear_unlisted(session, builder, confirm)
        return
    content: dict[str, object] = {"selected": [_json(r) for r in chosen.records]}
    content |= {"held": [_json(r) for r in chosen.held]}
    content |= {"volumes": [{"name": v.name, "bytes": v.size} for v in volumes]} if with_volumes else {}
    if not chosen.records and not volumes:
        _answer(session, {**content, "freed": 0, "dry_run": dry_run})
        session.report.say("nothing to clear" + _held(chosen))
        return
    if not session.report.json_only:
        rows = [_row(r) for r in _shown(chosen.records)]
        rows += [(v.name, "volume", "?" if v.size is None else units.human(v.size), "-") for v in volumes]
        session.report.table(("what", "record", "size", "last used"), rows)
    if services:
        _show_sharers(session, project, services, wanted)
    what = _words(chosen, volumes)
    if dry_run or not _consents(session, what, wanted, confirm):
        _answer(session, {**content, "freed": 0, "dry_run": dry_run})
        session.report.say(f"nothing was changed; without --dry-run, {what}" if dry_run else "nothing was changed")
        return
    # The user may take minutes to answer: delete only what still exists, is still selected and is still unused.
    gone: list[Record] = []
    kept: list[Record] = []
    now = chosen
    if not only_volumes:
        shown = {r.id for r in chosen.records}
        now = choose(session, project, wanted, builder)
        gone, kept = delete(session, project, [r for r in now.records if r.id in shown], builder)
        cache_mark.forget(session)
    stay = cargo_tasks.remove(session, [v.name for v in volumes])
    freed = sum(r.size for r in gone) + sum(v.size or 0 for v in volumes if v.name not in stay)
    _answer(session, {**content, "freed": freed, "kept": [*(_json(r) for r in kept), *stay], "dry_run": False})
    session.report.say(f"freed {units.human(freed)}{_price(gone)}{_held(now)}")
    if kept:
        session.report.warn(f"kept {units.counted(len(kept), 'record')} in use by running builds")
    if stay:
        session.report.warn(f"kept {', '.join(stay)}: in use by a cargo task")


def _words(chosen: Chosen, volumes: Sequence[Volume]) -> str:
    parts = [units.counted(len(chosen.records), "record")] if chosen.records or not volumes else []
    parts += [units.counted(len(volumes), "volume")] if volumes else []
    size = units.human(chosen.size + sum(v.size or 0 for v in volumes))
    return f"{' and '.join(parts)} ({size}) will be deleted{_held(chosen)}"


def _first(session: Session, project: Project, selection: Selection, builder: str, *, dry_run: bool) -> Chosen | None:
    """Return the selected records, after repairing a builder that cannot list its cache; None to clear everything."""

    def ask() -> Chosen:
        return choose(session, project, selection, builder)

    if dry_run:
        return ask()
    if selection.everything and not selection.older:
        try:
            return ask()
        except Problem as problem:
            if problem.code != "cache-unlistable":
                raise
            return None
    return rescue.listed(session, project, ask, scope=selection.project, builder=builder)


def _clear_unlisted(session: Session, builder: str, confirm: str) -> None:
    """Clear everything on a builder that cannot list its cache."""
    what = "the entire build cache, for all projects on this builder, will be deleted; its contents cannot be listed"
    agreed = session.report.typed(what, "everything", confirm)
    if agreed:
        unchanged.forget(session.state)
        run.check(session.world, buildx.remove_all_cache(session.root, builder))
        cache_mark.forget(session)
    _answer(session, {"selected": [], "held": [], "freed": None, "dry_run": False})
    session.report.say("cleared the build cache" if agreed else "nothing was changed")


def choose(session: Session, project: Project, selection: Selection, builder: str) -> Chosen:
    """Resolve a selection against the current listing. Raises `Problem` cache-missing."""
    found = records(session, project.engine, builder, settle=selection.project)
    chosen = cache_selection.choose(found, selection)
    if chosen.unknown:
        known = sorted({m.name for m in cache_records.mounts(found) if m.project == selection.project})
        kinds = ", ".join((*mount_ids.KINDS, cache_records.LAYERS, cargo_tasks.VOLUMES))
        raise Problem(
            "cache-missing",
            f"No mount or kind named {chosen.unknown[0]!r}.",
            causes=[f"mounts of {selection.project}: {', '.join(known) or 'none'}"],
            hint=f"run `invoke cache` to list all mounts; valid kinds: {kinds}",
        )
    return chosen


def _ids(project: Project, services: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of the mounts that builds of these services use, for any platform."""
    chosen = compose.select(project.workspace, services)
    return declared(chosen)


def _show_sharers(session: Session, project: Project, services: Sequence[str], selection: Selection) -> None:
    chosen = {s.name for s in compose.select(project.workspace, services)}
    sharers = [
        s.name
        for s in project.workspace.services
        if s.name not in chosen and set(declared([s])) & set(selection.ids or ())
    ]
    if sharers:
        session.report.say(f"these mounts are also used by {', '.join(sharers)}")


def _consents(session: Session, what: str, selection: Selection, confirm: str) -> bool:
    if not selection.everything:
        return session.report.consent(what)
    return session.report.typed(f"{what}, for every project on this builder", "everything", confirm)


def _answer(session: Session, content: dict[str, object]) -> None:
    if session.report.json_only:
        session.report.envelope(content)


def _json(record: Record) -> dict[str, object]:
    return {"id": record.id, "mount": record.mount_id or None, "bytes": record.size, "idle_seconds": record.idle}


def _shown(found: Sequence[Record]) -> list[Record]:
    """Return all mounts, but only the largest layers, because there may be a thousand."""
    layers = sorted((r for r in found if not r.is_mount), key=lambda r: -r.size)
    return [*(r for r in found if r.is_mount), *layers[:20]]


def _row(record: Record) -> tuple[str, str, str, str]:
    what = record.mount_id or f"layer {record.description.splitlines()[0] if record.description else ''}"[:60].strip()
    return what, record.id, units.human(record.size), f"{units.days(record.idle)} ago"


def _held(chosen: Chosen) -> str:
    return f" (keeping {len(chosen.held)} more in use by a running build)" if chosen.held else ""


def _price(gone: Sequence[Record]) -> str:
    kinds = {mount_ids.attribute(r.mount_id)[0] for r in gone if r.is_mount}
    if "target" in kinds:
        return "; the next build recompiles all crates"
    if "cargo-registry" in kinds:
        return "; the next build downloads its crates again"
    return ""
