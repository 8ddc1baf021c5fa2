"""Finds the project's database and makes sure that it responds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.project.discover import discover
from buildkit_tasks.stack import ports, stack

from . import find, inside
from .model import NAMES, Applied, Login, Migration, checked_name, name_for_tests
from .mysql import Mysql
from .postgres import Postgres
from .script import Script
from .sqlite import Sqlite

if TYPE_CHECKING:
    from typing_extensions import Self


class Database(Protocol):
    """The operations on a database of any kind. Unsupported ones raise `Problem` database-unsupported."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def described(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def ending(self) -> str: ...
    def named(self, name: str) -> Self: ...
    def exists(self) -> bool: ...
    def empty(self) -> bool: ...
    def create(self, *, pristine: bool = False) -> None: ...
    def drop(self) -> None: ...
    def applied(self, tool: str) -> tuple[Applied, ...]: ...
    def apply(self, tool: str, pending: Sequence[Migration], known: int) -> tuple[Migration, ...]: ...
    def seed(self, script: Script) -> None: ...
    def dump(self, target: IO[bytes]) -> None: ...
    def check_dump(self, source: IO[bytes]) -> None: ...
    def restore(self, source: IO[bytes], *, no_owner: bool) -> None: ...
    def replace_by(self, other: Self) -> None: ...
    def shell(self) -> int: ...


@dataclass(frozen=True)
class Wanted:
    """The request: the service (empty: the only one), whether to use its test database, whether to start it."""

    service: str = ""
    test: bool = False
    start: bool = False


def opened(session: Session, wanted: Wanted) -> Database:
    """Return the requested database. Its server is running, but the database may not exist yet.

    Problems: database-unknown, database-unsupported, database-refused, not-running, unhealthy.
    """
    service = wanted.service or session.settings.database.service
    url = session.settings.database.url
    if url and not wanted.service:
        path = find.sqlite_file(url, session.root)
        if path is None:
            raise Problem(
                "database-unsupported",
                "The database.url setting does not point to a SQLite file.",
                causes=["a database server is identified by its service, because a URL would contain the password"],
                hint='set url = "sqlite:data/app.db" under [tool.buildkit-tasks.database], or pass --service',
            )
        return Sqlite(session, path.with_name(f"{path.stem}_test{path.suffix}") if wanted.test else path)
    project = discover(session, lesser=True, named=[service] if service else [])
    workspace = project.workspace
    if not service and not find.servers(workspace.config):
        path = find.sqlite_file(
            session.world.env.get("DATABASE_URL") or session.dotenv.get("DATABASE_URL", ""), session.root
        )
        if path is not None:
            return Sqlite(session, path.with_name(f"{path.stem}_test{path.suffix}") if wanted.test else path)
    server = find.server(workspace.config, service)
    files = stack.files_in_force(session, project)
    states = {c["Service"]: c.get("State") for c in stack.containers(session, files)}
    if states.get(server.service) != "running":
        if not wanted.start:
            raise Problem(
                "not-running",
                f"The service {server.service} ({NAMES[server.kind]}) is not running.",
                hint=f"pass --start, or run `invoke up --service {server.service}`",
            )
        ports.check(session, project, files, {server.service})
        stack.start(session, workspace, files, [server.service])
    login = _login(session, files, server.service, server.kind)
    name = name_for_tests(login.database) if wanted.test else checked_name(login.database)
    if server.kind == "postgres":
        return Postgres(session, files, server.service, login, name)
    return Mysql(session, files, server.service, login, name, kind=server.kind)


def _login(session: Session, files: tuple[Path, ...], service: str, kind: str) -> Login:
    command = compose_cli.execute(session.root, files, service, inside.login(kind), tty=False)
    result = run.capture(session.world, command)
    lines = result.stdout.splitlines()
    if result.code != 0 or len(lines) < 2:
        raise Problem(
            "database-refused",
            f"The database in {service} is not responding.",
            causes=[(result.stderr.strip() or result.stdout.strip() or f"exit code {result.code}")[-500:]],
            hint=f"run `invoke logs --service {service} --tail 20`",
        )
    return Login(lines[0], lines[1], " ".join(lines[2:]))


def existing(session: Session, wanted: Wanted) -> Database:
    """Like `opened`, but raises `Problem` database-refused if the database does not exist."""
    database = opened(session, wanted)
    if not database.exists():
        where = f" in {database.service}" if database.service else ""
        raise Problem(
            "database-refused",
            f"The database {database.name} does not exist{where}.",
            hint=f"run `invoke db.create{' --test' if wanted.test else ''}`",
        )
    return database


def consents(session: Session, what: str, name: str, given: str) -> bool:
    """Return whether the user typed the database's name or passed it with `--yes`. Problems: consent-missing."""
    if given and given != name:
        raise Problem("bad-argument", f"The database is named {name}, not {given}.", hint=f"pass --yes --name {name}")
    if given and session.report.yes:
        return True
    if not session.world.interactive:
        raise Problem("consent-missing", f"Confirmation required: {what}.", hint=f"pass --yes --name {name} to confirm")
    if session.report.typed(what, name):
        return True
    session.report.say("nothing was changed")
    return False
