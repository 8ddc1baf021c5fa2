"""Tasks for the project's databases."""

from __future__ import annotations

from typing import Any

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task

HELP = {
    "service": "service that runs the database (default: the only one, or the database.service setting)",
    "test": "use the test database NAME_test",
    "start": "start the service if it is not running",
}
CONSENT = {
    "yes": "do not ask for confirmation; requires --name",
    "name": "name of the database, to confirm the loss of its data",
}
JSON = "print a single JSON document"


def _wanted(service: str, test: bool, start: bool) -> Any:
    from buildkit_tasks.database.opened import Wanted

    return Wanted(service, test, start)


@task(help=HELP)
@reported
def create(session: Session, service: str = "", test: bool = False, start: bool = False) -> None:
    """Create the database if it does not exist."""
    from buildkit_tasks.database import administer

    administer.create(session, _wanted(service, test, start))


@task(
    help={
        **HELP,
        "status": "list applied and pending migrations without changing anything",
        "ignore_missing": "accept migrations that exist only in the database",
        "json": JSON,
    }
)
@reported
def migrate(
    session: Session,
    service: str = "",
    test: bool = False,
    start: bool = False,
    status: bool = False,
    ignore_missing: bool = False,
    json: bool = False,
) -> None:
    """Apply pending migrations, and record them as sqlx, refinery or diesel would."""
    from buildkit_tasks.database import migrate as flow

    wanted = _wanted(service, test, start)
    if status:
        flow.show(session, wanted)
    else:
        flow.migrate(session, wanted, ignore_missing=ignore_missing)


@task(help={**HELP, **CONSENT})
@reported
def drop(
    session: Session, service: str = "", test: bool = False, start: bool = False, yes: bool = False, name: str = ""
) -> None:
    """Drop the database; asks you to type its name."""
    from buildkit_tasks.database import administer

    administer.drop(session, _wanted(service, test, start), name=name)


@task(help={**HELP, **CONSENT})
@reported
def reset(
    session: Session, service: str = "", test: bool = False, start: bool = False, yes: bool = False, name: str = ""
) -> None:
    """Drop, create and migrate the database; asks you to type its name."""
    from buildkit_tasks.database import administer

    administer.reset(session, _wanted(service, test, start), name=name)


@task(help=HELP)
@reported
def shell(session: Session, service: str = "", test: bool = False, start: bool = False) -> None:
    """Open the database's own client (psql, mysql, sqlite3); accepts SQL on stdin."""
    from buildkit_tasks.database import administer

    code = administer.shell(session, _wanted(service, test, start))
    if code:
        raise Exit(code=code)


@task(help={**HELP, "from_": "SQL file, or a directory of SQL files (default: the database.seeds setting)"})
@reported
def seed(session: Session, service: str = "", test: bool = False, start: bool = False, from_: str = "") -> None:
    """Run the seed files in one transaction; errors include file and line."""
    from buildkit_tasks.database import seed as flow

    flow.seed(session, _wanted(service, test, start), from_)


@task(help={**HELP, "to": "output file, with mode 0600 (default: stdout, if piped)"})
@reported
def dump(session: Session, service: str = "", test: bool = False, start: bool = False, to: str = "") -> None:
    """Dump the database to a file."""
    from buildkit_tasks.database import copies

    copies.dump(session, _wanted(service, test, start), to)


@task(
    help={
        **HELP,
        **CONSENT,
        "from_": "file to restore, created by db.dump",
        "no_owner": "make the restoring user the owner of everything, for dumps with roles that do not "
        "exist on this server",
    }
)
@reported
def restore(
    session: Session,
    from_: str,
    service: str = "",
    test: bool = False,
    start: bool = False,
    no_owner: bool = False,
    yes: bool = False,
    name: str = "",
) -> None:
    """Restore the database from a dump, all or nothing."""
    from buildkit_tasks.database import copies

    copies.restore(session, _wanted(service, test, start), from_, name=name, no_owner=no_owner)
