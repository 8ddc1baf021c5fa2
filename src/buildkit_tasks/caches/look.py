"""See the caches: every mount with its size, age and owner; the rest of the build cache in sums."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import buildx, docker, run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Result, Service
from buildkit_tasks.engine import cache_records
from buildkit_tasks.engine.cache_records import Record
from buildkit_tasks.engine.facts import ANSWER_TIMEOUT
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project, discover

from . import view as cache_view
from .view import Cache

#: The first buildx whose `du` speaks JSON; older ones are read from their text.
JSON_BUILDX = (0, 29)

#: File of the state directory that says in which form the last listing came.
_FORM = "cache-listing.json"

#: Seconds between listings while a mount is held or not measured yet; those of a running build stay so.
SETTLING = (0.2, 0.5, 1.0, 2.0)

#: Seconds that the engine may take to sum up its images; a view does not wait longer for one figure. An engine with
#: 3,000 cache records took 5 s, because it sums up everything else as well.
IMAGES_TIMEOUT = 0.4


def view(session: Session, *, builder: str = "", older: str = "14d", inside: bool = False, largest: int = 5) -> None:
    """Show all mounts. `older` flags those not seen for so long; `inside` opens this project's mounts and looks.

    Problems: bad-argument, and those of discovery.
    """
    unseen = seconds(older, "older")
    with ThreadPoolExecutor(2) as pool:
        # the slow questions first: they need nothing that discovery finds
        images = pool.submit(_images, session) if not builder else None
        listed = None if inside else _early(session, builder, pool)
        project = discover(session, looking=True)
        found = look(session, project, builder=builder, unseen=unseen, settle=inside, images=images, listed=listed)
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
    """The state of a builder's cache, and whose mounts they are.

    `settle` waits some moments for mounts that a finished build has not let go of yet; `images` is the size of all
    images, asked for by who shows it: it takes the engine longer than everything else. `listed`: the records, where
    they were asked for already.
    """
    early = listed.result() if listed else None
    if early and early.code != 124 and ("json" in early.command.argv) is _form(session, project.engine):
        known = _records(early, builder)
    else:  # nothing was asked, or another buildx was expected
        known = records(session, project.engine, builder, settle=project.workspace.scope if settle else "")
    return Cache(
        records=known,
        scope=project.workspace.scope,
        declared=declared(project.workspace.services),
        now=datetime.now(timezone.utc),
        builder=builder,
        images=images.result() if images else None,
        disk_free=None if builder else disk_free(project.engine),
        unseen=unseen,
    )


def records(session: Session, engine: Engine, builder: str = "", *, settle: str = "") -> tuple[Record, ...]:
    """All records of a builder, as they are now. Raises `Problem` bad-argument for a builder that is not there.

    `settle`: the scope of a project whose mounts should be free. BuildKit lets go of a finished step's mounts, and
    measures them, some moments after the build has ended, and sends no event: then it is asked again a few times.
    """
    listing = buildx.cache_records(session.root, builder, as_json=_form(session, engine))
    for pause in (*SETTLING, None):
        found = _records(run.capture(session.world, listing), builder)
        ours = [m for m in cache_records.mounts(found) if settle and m.project == settle]
        # an empty mount may be of no size for ever; a target mount is never empty
        if pause is None or not any(m.in_use or (m.kind == "target" and not m.measured) for m in ours):
            break
        time.sleep(pause)
    return found


def _records(result: Result, builder: str) -> tuple[Record, ...]:
    if result.code != 0 and builder and "no builder" in result.stderr:
        raise Problem("bad-argument", f"There is no builder {builder!r}.", hint="docker buildx ls lists them")
    if result.code != 0 and "file name too long" in result.stderr:
        raise Problem(
            "cache-unlistable",
            "The builder cannot list its build cache: a cache mount holds a path that is too long.",
            hint="invoke cache.clear",
        )
    if result.code != 0:
        raise Problem("command-failed", "The builder does not list its cache.", details=result.stderr.strip())
    return cache_records.parse(result.stdout)


def _early(session: Session, builder: str, pool: ThreadPoolExecutor) -> Future[Result] | None:
    """The listing, started before discovery knows which buildx this is: in the form that was right the last time."""
    try:
        as_json = json.loads((session.state / _FORM).read_text("utf-8")) is True
    except (OSError, ValueError):
        return None
    listing = buildx.cache_records(session.root, builder, as_json=as_json)
    return pool.submit(run.capture, session.world, listing, timeout=ANSWER_TIMEOUT)


def _form(session: Session, engine: Engine) -> bool:
    """Whether this buildx prints its records as JSON; remembered for the next view."""
    as_json = engine.buildx >= JSON_BUILDX
    with contextlib.suppress(OSError):
        (session.state / _FORM).write_text(json.dumps(as_json), "utf-8")
    return as_json


def declared(services: Sequence[Service]) -> tuple[str, ...]:
    """Ids of the cache mounts that the services' Dockerfiles declare; `*` where only a build knows the value."""
    found: dict[str, None] = {}
    for service in services:
        values = {**cache_view.unknown_arguments(), **service.args}
        found.update(dict.fromkeys(sources.known(service).cache_ids(values)))
    return tuple(found)


def seconds(text: str, flag: str) -> float:
    """A duration given on the command line. Raises `Problem` bad-argument."""
    try:
        return units.duration(text)
    except ValueError:
        raise Problem("bad-argument", f"--{flag} {text!r} is not a duration.", hint="write 14d, 12h or 30m") from None


def size(text: str, flag: str) -> int:
    """A size given on the command line, in bytes. Raises `Problem` bad-argument."""
    try:
        return units.amount(text)
    except ValueError:
        raise Problem("bad-argument", f"--{flag} {text!r} is not a size.", hint="write 10GB or 500MB") from None


def disk_free(engine: Engine) -> int | None:
    """Free bytes where the engine keeps its data; None where that is not on this machine."""
    try:
        return shutil.disk_usage(Path(engine.root_dir or "/nonexistent")).free
    except OSError:
        return None


def _images(session: Session) -> int | None:
    result = run.capture(session.world, docker.disk_usage(session.root), timeout=IMAGES_TIMEOUT)
    for line in result.stdout.splitlines():
        if line.startswith("{") and (row := json.loads(line)).get("Type") == "Images":
            return units.size(str(row.get("Size", "")))
    return None
