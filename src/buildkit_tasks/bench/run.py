"""Runs a benchmark from end to end, resumes an unfinished one, and prints or compares the result.

Does not touch the user's data: it uses scratch copies of the tree, its own cache mount namespaces and its own image
names, and removes all of them at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from buildkit_tasks.config import root as project_root
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.project.discover import Project, discover
from buildkit_tasks.samples import catalogue, figures, present, store
from buildkit_tasks.samples.catalogue import ALL, CASE_BY_KEY, CASES, OURS, WAYS, Way
from buildkit_tasks.samples.present import Asked
from buildkit_tasks.samples.store import Store
from buildkit_tasks.workspaces import cargo, tree

from . import arena as arenas
from . import contenders, copies, edits, elsewhere, machine, needs, timed
from .arena import Arena
from .edits import Edits
from .play import Play


def quick(session: Session, *, rounds: int, markdown: bool) -> None:
    """Run the standard cases against the classic Dockerfile. Problems: bench-failed, settings-invalid."""
    bench(session, Asked(quick=True, rounds=rounds, markdown=markdown))


def bench(session: Session, asked: Asked) -> int:
    """Run, resume or load a benchmark, and show it. Returns the exit code: 1 for a regression.

    Problems: bench-failed, bad-argument, consent-missing, disk-full, settings-invalid, and those of the builds.
    """
    _checked(asked)
    old = present.read(session, asked.compare) if asked.compare else None
    document = present.read(session, asked.load) if asked.load else _measured(session, asked)
    present.show(session, document, asked)
    code = present.compared(session, old, document, asked) if old else 0
    wrong = [s for s in document["samples"] if s["contender"] == OURS and s.get("visible") is False]
    if wrong:
        raise Problem("bench-failed", f"The built program does not contain the latest edit (case: {wrong[0]['case']}).")
    return code


def _checked(asked: Asked) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys of the chosen cases and contenders. Raises `Problem` bad-argument."""
    if asked.rounds < 1:
        raise Problem("bad-argument", "--rounds must be at least 1.", hint="invoke bench --rounds 3")
    if asked.output and not asked.html:
        hint = f"run `invoke bench --html --output {asked.output}`"
        raise Problem("bad-argument", "--output has an effect only with --html.", hint=hint)
    cases = catalogue.chosen(asked.cases, tuple(case.key for case in CASES), "--case")
    keys = catalogue.chosen(asked.contenders, ALL, "--contender")
    if asked.quick:
        cases = tuple(key for key in cases if key in catalogue.QUICK_CASES)
        keys = tuple(key for key in keys if key in catalogue.QUICK)
    return cases, tuple(key for key in ALL if key in keys or key == "ours")  # every ratio needs it


def _measured(session: Session, asked: Asked) -> dict[str, Any]:
    project = discover(session)
    services = contenders.compiled(project)
    if not services:
        raise Problem(
            "bench-failed",
            "No service uses the compile step of buildkit-tasks.",
            hint="buildkit-tasks init    (adopts the services)",
        )
    folder = session.state / "bench"
    with _alone(folder):
        unfinished = store.load(folder)
        if asked.resume and not unfinished:
            raise Problem("bench-failed", "There is no unfinished benchmark to resume.", hint="run `invoke bench`")
        if unfinished and not asked.resume:
            session.report.say("  removing an unfinished benchmark (`invoke bench --resume` would have continued it)")
            arenas.remove(session, unfinished.name)
        for left in folder.glob("run-*"):
            shutil.rmtree(left, ignore_errors=True)
        if unfinished and asked.resume:
            asked = dataclasses.replace(asked, **_options(unfinished.options))
        return _run(session, project, services, asked, folder, unfinished if asked.resume else None)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the directory with this checkout's runs. Raises `Problem` bench-failed if another benchmark runs."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with files.locked(folder / "lock", patience=0):
            yield
    except TimeoutError:
        raise Problem("bench-failed", "Another benchmark of this checkout is running.") from None


def _options(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an unfinished run; a resumed run measures what it was started for."""
    try:
        lists = {name: tuple(map(str, recorded[name])) for name in ("cases", "contenders")}
        return {"quick": bool(recorded["quick"]), "rounds": int(recorded["rounds"]), **lists}
    except (KeyError, TypeError, ValueError) as error:
        raise Problem(
            "bench-failed", f"Cannot resume: the record lacks {error}.", hint="run `invoke bench` without --resume"
        ) from None


def _run(
    session: Session,
    project: Project,
    services: Mapping[str, Service],
    asked: Asked,
    folder: Path,
    unfinished: Store | None,
) -> dict[str, Any]:
    cases, keys = _checked(asked)
    wanted = _edits(session, services)
    options = {"quick": asked.quick, "rounds": asked.rounds, "cases": cases, "contenders": keys}
    ways = [way for way in WAYS if way.key in keys]
    packages = _packages(session, services[wanted.service])
    if not unfinished:
        needs.require_space(project.engine, needs.space(ways, packages, copies.size(session.root)), folder)
    if not asked.quick and not unfinished:
        took = needs.words(needs.duration(ways, cases, asked.rounds, packages, quick=False))
        rounds = f"{len(keys)} ways of building, {len(cases)} cases, {asked.rounds} rounds"
        if not session.report.consent(f"the benchmark takes {took} ({rounds}) and keeps the processors busy"):
            raise Problem("consent-missing", "The benchmark was not started.", hint="invoke bench --quick")
    record = unfinished or Store.start(folder, _name(), options)
    if unfinished and not _has_first_builds(record, ways, cases, quick=asked.quick):
        # a first build that was interrupted has filled mounts and layers
        arenas.remove(session, record.name)
        record.rename(_name())
    arena = Arena(session, project, folder / f"run-{record.name}", record.name, wanted.service, {})
    ended = False
    try:
        _prepare(arena, ways, keys, record, quick=asked.quick)
        play = Play(arena, record, wanted, asked.rounds, cases, asked.quick, resumed=bool(unfinished))
        play.play()
        elsewhere.play(play)
        document = _document(play, options)
        ended = True
    finally:
        session.report.say("  removing scratch copies, images and cache mounts")
        arena.clean()
        if not ended:
            session.report.say("  the samples are kept: `invoke bench --resume` continues")
    if ended:
        record.remove()
        files.replace(folder / present.LAST, present.text(document), mode=0o600, durable=False)
    return document


def _name() -> str:
    return f"bench-{secrets.token_hex(4)}"


def _has_first_builds(record: Store, ways: Sequence[Way], cases: Collection[str], *, quick: bool) -> bool:
    """Return whether all first builds that are wanted have been measured."""
    cold = CASE_BY_KEY["cold"]
    leads = [way.name for way in ways if catalogue.takes_part(way, cold, quick=quick)]
    return "cold" not in cases or all(who in record.left_out or record.has(who, cold.title, 0) for who in leads)


def _prepare(arena: Arena, ways: Sequence[Way], keys: tuple[str, ...], record: Store, *, quick: bool) -> None:
    arena.folder.mkdir(parents=True, mode=0o700)
    for family in dict.fromkeys(way.family for way in ways):
        arena.copy(family)
    found = contenders.find(arena.session, arena.project, arena.folder, arena.trees, arena.name, keys)
    builds = dict(found.builds)
    if quick and catalogue.BEFORE in builds:  # the user's own Dockerfile says more than the classic one
        for contender in (catalogue.CLASSIC, catalogue.CLASSIC_INCREMENTAL):
            builds.pop(contender, None)
    builds = {who: build for who, build in builds.items() if who not in record.left_out}  # it failed before a kill
    tools = {who: build for who, build in found.tools.items() if who in builds}
    arena.found = contenders.Contenders(builds, found.left_out, tools)
    reasons = dict(arena.found.left_out)
    if catalogue.BEFORE not in found.builds and not quick and "before" in keys:
        reasons.setdefault(catalogue.BEFORE, "buildkit-tasks init has not replaced a Dockerfile here")
    for contender, why in reasons.items():
        if contender not in record.left_out:
            arena.say(f"excluding {contender}: {arena.session.masked(why)}")
            record.leave_out(contender, arena.session.masked(why))
    arena.write()


def _document(play: Play, options: Mapping[str, Any]) -> dict[str, Any]:
    record, arena = play.store, play.arena
    caches: dict[str, int] = {}
    for found in arenas.records(arena.session, arena.name):
        family = found.mount_namespace.removeprefix(f"{arena.name}-") if found.is_mount else "layers"
        caches[family] = caches.get(family, 0) + found.size
    if volumes := timed.volume_bytes(arena):
        caches["cargo"] = volumes
    table = figures.rows(record.samples, OURS)
    return {
        "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(record.seconds, 1),
        "facts": machine.facts(arena.project),
        "options": {**options, "cases": list(options["cases"]), "contenders": list(options["contenders"])},
        "edits": {
            "service": arena.service,
            "code": play.edited.file,
            "shared": play.shared.file if play.shared else "",
        },
        "left_out": record.left_out,
        "caches": caches,
        "samples": [dataclasses.asdict(sample) for sample in record.samples],
        "rows": [dataclasses.asdict(row) for row in table],
    }


def _edits(session: Session, services: Mapping[str, Service]) -> Edits:
    table = project_root.bench_table(session.root)
    if table:
        return edits.configured(table, services, session.root)
    programs = {
        name: (_workspace(session, service), service.binary) for name, service in services.items() if service.binary
    }
    return edits.find(tree.read(session.root), programs)


def _workspace(session: Session, service: Service) -> str:
    """Return the workspace's directory, relative to the root of the repository."""
    context = service.context.relative_to(session.root).as_posix()
    return posixpath.normpath(posixpath.join(context, contenders.source_of(service)))


def _packages(session: Session, service: Service) -> int:
    """Return the number of packages in the lock file of a service's workspace."""
    directory = _workspace(session, service)
    spaces = cargo.workspaces(tree.read(session.root))
    return next((len(space.names) for space in spaces if space.directory == directory), 0)
