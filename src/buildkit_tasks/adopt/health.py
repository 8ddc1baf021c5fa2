"""The doctor check of an adopted repository: whether a build would be missing anything."""

from __future__ import annotations

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.doctor.rules import Check

from . import init, record


def checks(session: Session) -> tuple[Check, ...]:
    """Return a check if `init` left a record, otherwise none."""
    own = Session(session.world, session.report, session.flags)
    try:
        if not (own.root / record.PATH).is_file():
            return ()
        notes = init.check(own).notes
    except Problem as problem:
        return (_check("unknown", problem.message, problem.hint),)
    if not notes:
        return (_check("ok", "nothing is missing", ""),)
    first = f"{notes[0].where}: {notes[0].text}"
    more = f" (and {len(notes) - 1} more)" if len(notes) > 1 else ""
    return (_check("warn", f"{first}{more}", "make this edit; run `buildkit-tasks init --check` to list all edits"),)


def _check(state: str, found: str, remedy: str) -> Check:
    why = "a build fails if a file, package or program that it needs is missing"
    return Check("adopted", state, found, "all files, packages and programs that a build needs", why, remedy)
