"""Writes the page of a recorded build, or of the whole history, to the state directory or to a given file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome
from buildkit_tasks.history.cases import case_of
from buildkit_tasks.history.model import Build
from buildkit_tasks.history.opened import chosen, newest, opened
from buildkit_tasks.history.store import Store

from . import overview as page_of_all
from . import page

#: Pages kept in the state directory, per checkout.
KEPT = 20
_PAGE = re.compile(r"build-(\d{1,9})\.html")


def after(session: Session, outcome: BuildOutcome) -> None:
    """Write the pages of a build that just ended, and print their paths. A build never fails because of this."""
    if outcome.up_to_date:
        session.report.say("no timings: nothing was built (run `invoke history --timings` for the last recorded build)")
    if not outcome.recorded:  # otherwise a warning has already given the reason
        return
    try:
        with opened(session) as store:
            written = [_write(session, store, chosen(store, number)) for number in outcome.recorded]
    except Problem as problem:
        session.report.warn(f"no timings: {problem.message}")
        return
    if session.report.json_only:
        session.report.envelope({"timings": [str(path) for path in written]})
    for path in written:
        session.report.say(f"timings: {path}")


def show(session: Session, number: int, output: str) -> None:
    """Write the page of a build, 0 for the last one, and print its path.

    `output`: a file instead of the state directory. Problems: history-missing, bad-argument, system-refused.
    """
    with opened(session) as store:
        path = _write(session, store, chosen(store, number), output)
    if session.report.json_only:
        session.report.envelope({"timings": str(path)})
    else:
        session.report.answer(str(path))


def overview(session: Session, count: int, services: Sequence[str], output: str) -> None:
    """Write the page of the newest `count` builds (0: all) of any of these services, and print its path.

    `output`: a file instead of the state directory. Problems: history-missing, unknown-service, bad-argument,
    system-refused.
    """
    with opened(session) as store:
        builds = [
            replace(build, command=session.report.masked(build.command)) for build in newest(store, count, services)
        ]
        sizes = store.sizes()
    folder = _folder(session)
    pages = (
        ()
        if output
        else {int(found[1]) for path in folder.glob("build-*.html") if (found := _PAGE.fullmatch(path.name))}
    )
    text = page_of_all.html(builds[::-1], session.root.name, sizes, services=services, pages=pages)
    path = _put(session, text, "history.html", output, flag="--html")
    if session.report.json_only:
        session.report.envelope({"html": str(path)})
    else:
        session.report.answer(str(path))


def _write(session: Session, store: Store, build: Build, output: str = "") -> Path:
    text = page.html(_masked(session, build), session.root.name, store.past(case_of(build)))
    path = _put(session, text, f"build-{build.id}.html", output, flag="--timings")
    if not output:
        _shrink(path.parent)
    return path


def _folder(session: Session) -> Path:
    return session.state / "timings"


def _put(session: Session, text: str, name: str, output: str, *, flag: str) -> Path:
    """Write a page to `output`, else under this name to the state directory. Returns its path."""
    folder = _folder(session)
    path = session.world.cwd / output if output else folder / name
    try:
        if not output:
            folder.mkdir(mode=0o700, exist_ok=True)  # in the state directory, which exists
        files.replace(path, text, mode=None if output else 0o600, durable=False)
    except OSError as error:
        raise Problem(
            "bad-argument" if output else "system-refused",
            f"Cannot write {path}: {error.strerror or error}.",
            hint=f"run `invoke history {flag} --output FILE` with a writable path",
        ) from error
    return path


def _masked(session: Session, build: Build) -> Build:
    """Return the build, with .env values and passwords removed from docker's output, because users share pages."""
    names = session.report.masked("\n".join(seen.name for seen in build.seen)).split("\n")
    if len(names) != len(build.seen):
        names = [session.report.masked(seen.name) for seen in build.seen]
    seen = tuple(replace(one, name=name) for one, name in zip(build.seen, names, strict=True))
    return replace(build, seen=seen, command=session.report.masked(build.command))


def _shrink(folder: Path) -> None:
    """Remove all but the newest pages."""
    with contextlib.suppress(OSError):
        pages = sorted(folder.glob("build-*.html"), key=lambda page: page.stat().st_mtime, reverse=True)
        for old in pages[KEPT:]:
            old.unlink(missing_ok=True)
