"""Lists the caches: each mount with its size, age and owner, and totals for the rest of the build cache."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, run, shapes, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Result, Service
from buildkit_tasks.dockercli import buildx, docker
from buildkit_tasks.engine import cache_records
from buildkit_tasks.engine.cache_records import Record
from buildkit_tasks.engine.facts import ANSWER_TIMEOUT
from buildkit_tasks.history import sizes as history_sizes
from buildkit_tasks.history.model import Sizes
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project, discover

from . import cargo_tasks
from . import view as cache_view
from .cargo_tasks import Volume
from .view import Cache

#: The first buildx whose `du` supports JSON. For older versions, we parse the text output.
JSON_BUILDX = (0, 29)

#: The file in the state directory that records the format of the last listing.
_FORM = "cache-listing.json"

#: Seconds between listings while a mount is in use or not yet measured; neither changes while a build is running.
SETTLING = (0.2, 0.5, 1.0, 2.0)

#: Timeout in seconds for the total size of images: a view should not wait longer for one number. An engine with 3,000
#: cache records took 5 s, because it also computes all other totals.
IMAGES_TIMEOUT = 0.4


def view(session: Session, *, builder: str = "", older: str = "14d", inside: bool = False, largest: int = 5) -> None:
    """Show all mounts. `older`: flag mounts unused for this long. `inside`: also show the contents of the project's
    mounts.

    Problems: bad-argument, and those of discovery.
    """
    unseen = seconds(older, "older")
    with ThreadPoolExecutor(3) as pool:
        # start the slow queries first, since they do not depend on discovery
        images = pool.submit(_images, session) if not builder else None
        listed = None if inside else _early(session, builder, pool)
        project = discover(session, looking=True)
        limit = None if inside else cargo_tasks.SIZES_TIMEOUT
        volumes = pool.submit(_volumes, session, project, limit) if not builder else None
        found = look(session, project, builder=builder, unseen=unseen, settle=inside, images=images, listed=listed)
        found = replace(found, volumes=volumes.result()) if volumes else found
    if inside:
        from . import inside as cache_inside

        found = cache_inside.opened(session, project, found, largest=largest)
    if session.report.json_only:
        session.report.envelope(cache_view.document(found))
        return
    rows = cache_view.rows(found, bars=session.report.fancy)
    if rows:
        session.report.table(cache_view.HEADINGS, rows)
    for line in cache_view.inside_lines(found):
        session.report.answer(line)
    session.report.answer(cache_view.summary(found))


def look(
    session: Session,
    project: Project,
    *,
    builder: str = "",
    unseen: float = 14 * 86400,
    settle: bool = False,
    images: Future[int | None] | None = None,
    listed: Future[Result] | None = None,
) -> Cache:
    """Return the state of a builder's cache, including which project each mount belongs to.

    `settle`: wait a moment for mounts that a finished build has not released yet. `images`: the size of all images,
    queried only by callers that show it, because it takes longer than everything else. `listed`: the records, if
    already queried.
    """
    early = listed.result() if listed else None
    if early and early.code != 124 and ("json" in early.command.argv) is _form(session, project.engine):
        known = _records(early, builder)
    else:  # no listing was started, or it used the format of a different buildx
        known = records(session, project.engine, builder, settle=project.workspace.scope if settle else "")
    cache = Cache(
        records=known,
        scope=project.workspace.scope,
        declared=declared(project.workspace.services),
        now=datetime.now(timezone.utc),
        builder=builder,
        images=images.result() if images else None,
        disk_free=None if builder else disk_free(project.engine),
        unseen=unseen,
    )
    _remember(session, project, cache)
    return cache


def _remember(session: Session, project: Project, cache: Cache) -> None:
    """Record the sizes for `history --html`, unless BuildKit has not measured a target mount yet."""
    parts: dict[str, int] = {}
    for mount in cache.mounts:
        if mount.project == cache.scope:
            if mount.kind == "target" and not mount.measured:
                return
            parts[mount.kind] = parts.get(mount.kind, 0) + mount.size
    if layers := sum(r.size for r in cache.ours if not r.is_mount):
        parts["layers"] = layers
    builder = cache.builder or builder_choice.named(session)
    total = sum(r.size for r in cache.records)
    history_sizes.record(session, Sizes(cache.now.timestamp(), project.engine.id, builder, parts, total))


def records(session: Session, engine: Engine, builder: str = "", *, settle: str = "") -> tuple[Record, ...]:
    """Return the current records of a builder. Raises `Problem` bad-argument if the builder does not exist.

    `settle`: the scope of a project whose mounts should not be in use. BuildKit releases and measures the mounts of a
    finished step a moment after the build ends, without an event, so the query is repeated a few times.
    """
    listing = buildx.cache_records(session.root, builder, as_json=_form(session, engine))
    for pause in (*SETTLING, None):
        found = _records(run.capture(session.world, listing), builder)
        ours = [m for m in cache_records.mounts(found) if settle and m.project == settle]
        # an empty mount may have size 0 forever; a target mount is never empty
        if pause is None or not any(m.in_use or (m.kind == "target" and not m.measured) for m in ours):
            break
        time.sleep(pause)
    return found


def _records(result: Result, builder: str) -> tuple[Record, ...]:
    if result.code != 0 and builder and "no builder" in result.stderr:
        raise Problem(
            "bad-argument",
            f"The builder {builder!r} does not exist.",
            hint="run `docker buildx ls` to list the builders",
        )
    if result.code != 0 and "file name too long" in result.stderr:
        raise Problem(
            "cache-unlistable",
            "The builder cannot list its build cache because a cache mount contains a path that is too long.",
            hint="run `invoke cache.clear`",
        )
    if result.code != 0:
        raise Problem("command-failed", "The builder could not list its cache.", details=result.stderr.strip())
    return cache_records.read(result)


def _early(session: Session, builder: str, pool: ThreadPoolExecutor) -> Future[Result] | None:
    """Start the listing before discovery determines the buildx version, in the format that worked last time."""
    try:
        as_json = shapes.loads(readfile.content(session.state / _FORM), bool)
    except (OSError, ValueError):
        return None
    listing = buildx.cache_records(session.root, builder, as_json=as_json)
    return pool.submit(run.capture, session.world, listing, timeout=ANSWER_TIMEOUT)


def _form(session: Session, engine: Engine) -> bool:
    """Return whether this buildx lists its records as JSON. The answer is stored for the next view."""
    as_json = engine.buildx >= JSON_BUILDX
    with contextlib.suppress(OSError):
        files.replace(session.state / _FORM, json.dumps(as_json), durable=False)
    return as_json


def declared(services: Sequence[Service]) -> tuple[str, ...]:
    """Return the ids of the cache mounts declared by the services, with `*` for values known only at build time."""
    found: dict[str, None] = {}
    for service in services:
        values = {**cache_view.unknown_arguments(), **service.args}
        found.update(dict.fromkeys(sources.known(service).cache_ids(values)))
    return tuple(found)


def seconds(text: str, flag: str) -> float:
    """Parse a duration from the command line. Raises `Problem` bad-argument."""
    try:
        return units.duration(text)
    except ValueError:
        raise Problem(
            "bad-argument", f"--{flag} {text!r} is not a duration.", hint="use a duration such as 14d, 12h or 30m"
        ) from None


def size(text: str, flag: str) -> int:
    """Parse a size from the command line, in bytes. Raises `Problem` bad-argument."""
    try:
        return units.amount(text)
    except ValueError:
        raise Problem(
            "bad-argument", f"--{flag} {text!r} is not a size.", hint="use a size such as 10GB or 500MB"
        ) from None


def disk_free(engine: Engine) -> int | None:
    """Return the free bytes on the disk with the engine's data, or None if it is not on this machine."""
    try:
        return shutil.disk_usage(Path(engine.root_dir or "/nonexistent")).free
    except OSError:
        return None


def _volumes(session: Session, project: Project, timeout: float | None) -> tuple[Volume, ...]:
    try:
        found = cargo_tasks.names(session, project.workspace.scope)
    except Problem:  # show the caches even if the engine cannot list volumes
        return ()
    return cargo_tasks.measured(session, found, timeout=timeout)


def _images(session: Session) -> int | None:
    result = run.capture(session.world, docker.disk_usage(session.root), timeout=IMAGES_TIMEOUT)
    for line in result.stdout.splitlines():
        with contextlib.suppress(ValueError):
            if (row := shapes.loads(line, dict)).get("Type") == "Images":
                return units.size(str(row.get("Size", "")))
    return None
