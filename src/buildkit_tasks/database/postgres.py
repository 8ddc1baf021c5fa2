"""A PostgreSQL database in one of the project's containers."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Result

from . import history, inside
from .history import identifier, literal
from .model import REPLACED, Applied, Migration, checked_name
from .script import Script
from .served import Served

#: The first bytes of pg_dump's custom format, and texts in the first and last lines of its plain format.
CUSTOM, PLAIN, COMPLETE = b"PGDMP", b"PostgreSQL database dump", b"PostgreSQL database dump complete"


@dataclass(frozen=True)
class Postgres(Served):
    """A database on a server. It may not exist yet."""

    kind: str = "postgres"
    ending: str = ".dump"

    def exists(self) -> bool:
        """Return whether the server has this database."""
        return bool(self._ask(f"SELECT 1 FROM pg_database WHERE datname = {literal(self.name)};", self._elsewhere))

    def empty(self) -> bool:
        """Return whether the database has no user tables, views or sequences."""
        where = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'"
        query = f"SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {where} "
        return not self._ask(f"{query} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') LIMIT 1;")

    def create(self, *, pristine: bool = False) -> None:
        """Create the database from the server's template. `pristine`: from the unmodified template0, for a restore."""
        template = " TEMPLATE template0" if pristine else ""
        self._ask(f"CREATE DATABASE {identifier(self.name)}{template};", self._elsewhere)

    def drop(self) -> None:
        """If the database exists, close its connections and drop it."""
        self._ask(_drop(self.name), self._elsewhere)

    def applied(self, tool: str) -> tuple[Applied, ...]:
        """Return the rows of a tool's table, or none if the table does not exist yet."""
        lines = self._ask(history.read_script(history.TABLES[tool]))
        return history.applied([line.split("\t") for line in lines])

    def apply(self, tool: str, pending: Sequence[Migration], known: int) -> tuple[Migration, ...]:
        """Apply migrations in order and record each. Problems: sql-failed with the file. Raises history.Overtaken."""
        script = history.apply_script(tool, self.name, pending, known)
        result = self._feed(inside.psql(self.name), script)
        if history.BUSY in result.stdout.splitlines():
            raise history.Overtaken
        done, failing = history.ran(result.stdout, pending)
        if len(done) == len(pending) and result.code == 0:
            return done
        said = self._said(result)
        if history.OVERTAKEN in said:
            raise history.Overtaken
        if failing is None:
            raise self._refused(result)
        raise history.failed(failing, done, said)

    def seed(self, script: Script) -> None:
        """Run the script in one transaction. Raises `Problem` sql-failed with file and line."""
        end = f"seeded-{secrets.token_hex(8)}"
        result = self._feed(inside.psql(self.name), f"BEGIN;\n{script.text}COMMIT;\n\\echo {end}\n")
        if result.code == 0 and end in result.stdout.splitlines():  # psql has read the whole script
            return
        line = re.search(r"psql:<stdin>:(\d+): ", result.stderr)
        raise script.failed(max(0, int(line[1]) - 1) if line else 0, self._said(result))

    def dump(self, target: IO[bytes]) -> None:
        """Dump the database in pg_dump's custom format."""
        argv = inside.postgres(self.name, "pg_dump", "--no-password", "--format=custom")
        self._pipe(argv, target=target)

    def restore(self, source: IO[bytes], *, no_owner: bool) -> None:
        """Restore a dump to this new, empty database, all or nothing."""
        start = source.read(4096)
        source.seek(0)
        if start.startswith(CUSTOM):
            how = ["--exit-on-error", "--single-transaction", *(["--no-owner"] if no_owner else [])]
            argv = inside.postgres(self.name, "pg_restore", "--no-password", *how, f"--dbname={self.name}")
        else:
            argv = inside.psql(self.name, "--single-transaction")
        self._pipe(argv, source=source)

    def check_dump(self, source: IO[bytes]) -> None:
        """Raise `Problem` dump-invalid unless this is a complete dump written by a PostgreSQL client."""
        start = source.read(4096)
        source.seek(max(0, os.fstat(source.fileno()).st_size - 4096))
        end = source.read()
        source.seek(0)
        if start.startswith(CUSTOM):
            result = run.piped(
                self.session.world,
                self._command(inside.postgres(self.name, "pg_restore", "--list")),
                source=source,
            )
            source.seek(0)
            why = self._said(result) if result.code else ""
        else:
            why = "" if PLAIN in start else "the file is in neither pg_dump's custom format nor its plain SQL format"
            if not why and COMPLETE not in end:
                why = f"the last line is missing: {COMPLETE.decode()}"
        if why:
            raise Problem("dump-invalid", "The file is not a PostgreSQL dump.", causes=[why])

    def replace_by(self, other: Postgres) -> None:
        """Drop this database and rename another to take its place. Closes connections to this database."""
        old = checked_name(f"{self.name}{REPLACED}")
        steps = [
            _drop(old),
            f"ALTER DATABASE {identifier(self.name)} WITH ALLOW_CONNECTIONS false;",
            _disconnect(self.name),
            "BEGIN;",
            f"ALTER DATABASE {identifier(self.name)} RENAME TO {identifier(old)};",
            f"ALTER DATABASE {identifier(other.name)} RENAME TO {identifier(self.name)};",
            "COMMIT;",
            _drop(old),
        ]
        try:
            self._ask("\n".join(steps), self._elsewhere)
        except Problem:
            reopen = f"ALTER DATABASE {identifier(self.name)} WITH ALLOW_CONNECTIONS true;"
            self._feed(inside.psql(self._elsewhere), reopen)
            raise

    def shell(self) -> int:
        """Run psql on the terminal or on piped input."""
        return self._on_terminal(inside.postgres(self.name, "psql", "--no-password"))

    @property
    def _elsewhere(self) -> str:
        """The database to connect to while creating or dropping this one, chosen as createdb does."""
        return "template1" if self.name == "postgres" else "postgres"

    def _ask(self, script: str, database: str = "") -> list[str]:
        return self._lines(self._feed(inside.psql(database or self.name), script))

    def _how_to_create(self, said: str) -> str:
        if f'database "{self.name}" does not exist' not in said:
            return ""
        return f"run `invoke db.create{' --test' if self.name != self.login.database else ''}`"

    def _said(self, result: Result) -> str:
        """Return the client's error message, without the `psql:<stdin>:LINE:` prefix."""
        said = "\n".join(re.sub(r"^psql:<stdin>:\d+: ", "", line) for line in result.stderr.splitlines())
        return said.strip() or result.stdout.strip()[-500:] or f"exit code {result.code}"


def _disconnect(name: str) -> str:
    where = f"datname = {literal(name)} AND pid <> pg_backend_pid()"
    return f"SELECT count(pg_terminate_backend(pid)) AS closed FROM pg_stat_activity WHERE {where} \\gset"


def _drop(name: str) -> str:
    """Close connections, then drop the database. PostgreSQL 13 and later do both in one step."""
    return (
        "SET client_min_messages = warning;\n"
        "SELECT current_setting('server_version_num')::int >= 130000 AS force \\gset\n"
        f"\\if :force\nDROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE);\n"
        f"\\else\n{_disconnect(name)}\nDROP DATABASE IF EXISTS {identifier(name)};\n\\endif\n"
    )
