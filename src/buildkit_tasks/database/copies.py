"""Dumps a database to a file, and restores it from one."""

from __future__ import annotations

import os
import sys

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, units
from buildkit_tasks.core.errors import Problem

from .model import RESTORING
from .opened import Database, Wanted, consents, existing, opened


def dump(session: Session, wanted: Wanted, to: str) -> None:
    """Write a dump to a file (mode 0600) that appears only once it is complete, or to stdout if that is piped.

    Problems: bad-argument, database-refused.
    """
    if not to and session.world.prints_to_terminal:
        raise Problem(
            "bad-argument", "A dump cannot be printed to a terminal.", hint="pass --to FILE, or pipe the dump"
        )
    database = existing(session, wanted)
    if not to:
        sys.stdout.flush()
        database.dump(sys.stdout.buffer)
        return
    path = session.world.cwd / to
    if path.is_dir() or not path.parent.is_dir():
        raise Problem("bad-argument", f"Cannot write {path}: pass a file in an existing directory.")
    with files.written(path, mode=0o600) as file:
        database.dump(file)
        size = os.fstat(file.fileno()).st_size
    session.report.say(f"dumped {database.name} to {path} ({units.human(size)})")


def restore(session: Session, wanted: Wanted, source: str, *, name: str, no_owner: bool) -> None:
    """Restore a dump to a new database, then replace the current database with it.

    Problems: dump-invalid, consent-missing, database-refused.
    """
    path = session.world.cwd / source
    if not path.is_file():
        raise Problem("dump-invalid", f"The file {path} does not exist.", hint="pass a file created by db.dump")
    database = opened(session, wanted)
    with path.open("rb") as file:
        try:
            database.check_dump(file)
        except Problem as problem:
            raise Problem(
                problem.code,
                f"{path}: {problem.message}",
                causes=problem.causes,
                hint="pass a file created by db.dump",
            ) from None
        full = database.exists() and not database.empty()
        what = f"the database {database.described} will be replaced with the contents of {path.name}"
        if full and not consents(session, what, database.name, name):
            return
        new = database.named(f"{database.name}{RESTORING}")
        new.drop()
        new.create(pristine=True)
        try:
            new.restore(file, no_owner=no_owner)
        except Problem as problem:
            new.drop()
            raise Problem(
                problem.code,
                f"Cannot restore {path}; {database.name} is unchanged.",
                causes=problem.causes,
                hint="if a role is missing, pass --no-owner" if "role" in str(problem.causes) else "",
            ) from None
        except BaseException:  # Ctrl-C
            new.drop()
            raise
        _take_place(database, new)  # if this fails, the restored copy is kept and mentioned in the message
    session.report.say(f"restored {database.name} from {path}")


def _take_place(database: Database, new: Database) -> None:
    if not database.exists():
        database.create()
    database.replace_by(new)
