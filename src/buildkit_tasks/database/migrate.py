"""Applies a project's migrations and records them as the project's own tool would."""

from __future__ import annotations

import time
from collections.abc import Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.workspaces import tree

from . import compare, history, reading, tool
from .compare import Status
from .model import Migration
from .opened import Database, Wanted, existing

#: Seconds to wait for a service that is also migrating, and between checks.
PATIENCE, LOOK_EVERY = 120.0, 0.5


def directory(session: Session) -> tuple[str, tuple[Migration, ...]]:
    """Return the tool and its migrations. Problems: migrations-unknown, database-unsupported."""
    settings = session.settings.database
    found = tool.find(tree.read(session.root), settings.tool, settings.migrations)
    session.report.say(f"{found.tool}: {found.directory} (from {found.reason})")
    migrations = reading.read(found.tool, found.directory)
    if not migrations:
        raise Problem(
            "migrations-unknown",
            f"{found.directory} contains no {found.tool} migrations.",
            hint="see docs/how-to/database.md for the file names that each tool reads",
        )
    return found.tool, migrations


def check_support(database: Database, name: str) -> None:
    """Before any change, raise `Problem` database-unsupported for a kind with tables that we cannot write."""
    if database.kind not in history.TABLES[name].read:
        database.applied(name)


def migrate(session: Session, wanted: Wanted, *, ignore_missing: bool) -> None:
    """Apply pending migrations. Problems: migration-changed, sql-failed, and those of `directory` and `existing`."""
    name, found = directory(session)
    apply(session, existing(session, wanted), name, found, ignore_missing=ignore_missing)


def apply(session: Session, database: Database, name: str, found: Sequence[Migration], *, ignore_missing: bool) -> None:
    """Apply pending migrations to an existing database."""
    began = session.world.clock()
    waiting = False
    while True:
        applied = database.applied(name)
        now = compare.status(name, found, applied)
        compare.require_sound(name, now, ignore_missing=ignore_missing)
        try:
            done = database.apply(name, now.pending, len(applied)) if now.pending else ()
            break
        except history.Overtaken:
            if session.world.clock() - began > PATIENCE:
                raise Problem(
                    "migration-changed",
                    f"Another program has been applying migrations for {PATIENCE:.0f} s.",
                    hint="wait until the other program exits, or stop it, then retry",
                ) from None
        if not waiting:
            session.report.say("  waiting for another process to finish migrating this database")
        waiting = True
        time.sleep(LOOK_EVERY)
    for migration in done:
        session.report.say(f"  applied {migration.label}")
    counted = f"{len(done)} applied, {len(now.applied)} already present" if done else "nothing to apply"
    session.report.say(f"{database.name} is up to date: {counted}", style="green")
    if session.report.json_only:
        session.report.envelope({"database": database.name, "tool": name, "applied": [m.key for m in done]})


def show(session: Session, wanted: Wanted) -> None:
    """Show which migrations are applied and which are pending. Changes nothing."""
    name, found = directory(session)
    database = existing(session, wanted)
    now = compare.status(name, found, database.applied(name))
    rows = [(m.key, m.label, _state(now, m)) for m in found]
    rows += [(key, "-", "missing from the directory") for key in now.missing]
    if session.report.json_only:
        keys = ("version", "file", "state")
        session.report.envelope(
            {
                "database": database.name,
                "tool": name,
                "migrations": [dict(zip(keys, row, strict=True)) for row in rows],
            }
        )
        return
    session.report.table(("version", "file", "state"), rows)
    session.report.say(f"{database.name}: {len(now.applied)} applied, {len(now.pending)} pending")


def _state(now: Status, migration: Migration) -> str:
    if migration.key in now.failed:
        return "failed partway"
    if migration in now.changed:
        return "changed since it was applied"
    if migration in now.late:
        return "pending, older than an applied migration"
    return "pending" if migration in now.pending else "applied"
