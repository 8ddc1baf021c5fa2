"""Creates, drops and resets a database, and opens its client."""

from __future__ import annotations

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units

from . import migrate
from .opened import Wanted, consents, existing, opened


def create(session: Session, wanted: Wanted) -> None:
    """Create the database if it does not exist."""
    database = opened(session, wanted)
    if database.exists():
        session.report.say(f"{database.name} already exists")
        return
    database.create()
    session.report.say(f"created {database.name}")


def drop(session: Session, wanted: Wanted, *, name: str) -> None:
    """Drop the database with all its data, after the user types its name. Closes open connections."""
    database = opened(session, wanted)
    if not database.exists():
        session.report.say(f"the database {database.name} does not exist")
        return
    if consents(session, f"the database {database.described} will be deleted with all its data", database.name, name):
        database.drop()
        session.report.say(f"dropped {database.name}")


def reset(session: Session, wanted: Wanted, *, name: str) -> None:
    """Drop, create and migrate the database, after checking everything that can be checked beforehand."""
    database = opened(session, wanted)
    tool, found = migrate.directory(session)
    migrate.check_support(database, tool)
    migrations = units.counted(len(found), "migration")
    what = f"all data in {database.described} will be deleted, and the database recreated from {migrations}"
    if database.exists() and not consents(session, what, database.name, name):
        return
    database.drop()
    database.create()
    migrate.apply(session, database, tool, found, ignore_missing=False)


def shell(session: Session, wanted: Wanted) -> int:
    """Run the database's own client and return its exit code."""
    return existing(session, wanted).shell()
