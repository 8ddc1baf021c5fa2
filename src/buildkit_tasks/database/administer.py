"""Create, drop, reset a database; open its client."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from . import migrate
from .opened import Wanted, consents, existing, opened


def create(session: Session, wanted: Wanted) -> None:
    """Make the database, if it is not there."""
    database = opened(session, wanted)
    if database.exists():
        session.report.say(f"{database.name} already exists")
        return
    database.create()
    session.report.say(f"{database.name} created")


def drop(session: Session, wanted: Wanted, *, name: str) -> None:
    """Drop the database with everything in it, once its name was typed. Open connections are closed."""
    database = opened(session, wanted)
    if not database.exists():
        session.report.say(f"there is no database {database.name}")
        return
    if consents(session, f"the database {database.described} will be deleted with all its data", database.name, name):
        database.drop()
        session.report.say(f"{database.name} dropped")


def reset(session: Session, wanted: Wanted, *, name: str) -> None:
    """Drop, create and migrate; what can be checked is checked before anything is dropped."""
    database = opened(session, wanted)
    tool, found = migrate.directory(session)
    migrate.check_support(database, tool)
    what = (
        f"the database {database.described} will be deleted with all its data and recreated by {len(found)} migrations"
    )
    if database.exists() and not consents(session, what, database.name, name):
        return
    database.drop()
    database.create()
    migrate.apply(session, database, tool, found, ignore_missing=False)


def shell(session: Session, wanted: Wanted) -> int:
    """The database's own client; returns its exit code."""
    return existing(session, wanted).shell()
