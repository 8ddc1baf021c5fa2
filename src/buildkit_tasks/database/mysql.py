"""A MySQL or MariaDB database in one of the project's containers. Supports everything except migrations."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Result

from . import inside
from .history import literal
from .model import NAMES, Applied, Migration
from .script import Script
from .served import Served

#: Text in the first lines of a dump.
MARKS = (b"MySQL dump", b"MariaDB dump", b"mariadb-dump")
#: A statement that would switch to a database other than the one being restored.
_NAMES_A_DATABASE = re.compile(rb"(?:USE\s|CREATE DATABASE\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Mysql(Served):
    """A database on a server. It may not exist yet."""

    kind: str = "mysql"
    ending: str = ".sql"

    def exists(self) -> bool:
        """Return whether the server has this database."""
        return bool(self._ask(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = {literal(self.name)};"))

    def empty(self) -> bool:
        """Return whether the database has no tables or views."""
        where = f"table_schema = {literal(self.name)}"
        return not self._ask(f"SELECT 1 FROM information_schema.tables WHERE {where} LIMIT 1;")

    def create(self, *, pristine: bool = False) -> None:
        """Create the database, empty."""
        self._ask(f"CREATE DATABASE `{self.name}`;")

    def drop(self) -> None:
        """Drop the database if it exists."""
        self._ask(f"DROP DATABASE IF EXISTS `{self.name}`;")

    def applied(self, tool: str) -> tuple[Applied, ...]:
        """Raise `Problem` database-unsupported."""
        raise self._no_migrations(tool)

    def apply(self, tool: str, pending: Sequence[Migration], known: int) -> tuple[Migration, ...]:
        """Raise `Problem` database-unsupported."""
        raise self._no_migrations(tool)

    def _no_migrations(self, tool: str) -> Problem:
        return Problem(
            "database-unsupported",
            f"db.migrate does not support {tool} with {NAMES[self.kind]} yet.",
            hint="apply migrations with a program in the project: `invoke run --service SERVICE -- ARGUMENTS`",
        )

    def seed(self, script: Script) -> None:
        """Run the script in one transaction, which MySQL ends at the first schema change. Problems: sql-failed."""
        result = self._run(self.name, f"START TRANSACTION;\n{script.text}COMMIT;\n")
        if result.code != 0:
            line = re.search(r"at line (\d+)", result.stderr)
            raise script.failed(max(0, int(line[1]) - 1) if line else 0, self._said(result))

    def dump(self, target: IO[bytes]) -> None:
        """Dump the database as SQL, with its triggers, routines and events."""
        how = ("--single-transaction", "--routines", "--events", "--no-tablespaces")
        self._pipe(inside.mysqldump(*how, self.name), target=target)

    def check_dump(self, source: IO[bytes]) -> None:
        """Raise `Problem` dump-invalid unless this is a complete dump written by a MySQL client."""
        start = source.read(4096)
        source.seek(max(0, os.fstat(source.fileno()).st_size - 4096))
        end = source.read()
        source.seek(0)
        if not any(mark in start for mark in MARKS):
            raise Problem("dump-invalid", f"The file is not a {NAMES[self.kind]} dump.")
        if b"-- Dump completed" not in end:
            raise Problem("dump-invalid", "The dump is incomplete: its last line is missing.")
        if any(_NAMES_A_DATABASE.match(line) for line in source):
            source.seek(0)
            raise Problem(
                "dump-invalid",
                "The dump selects databases itself (mysqldump --databases) and could overwrite other databases.",
            )
        source.seek(0)

    def restore(self, source: IO[bytes], *, no_owner: bool) -> None:
        """Restore a dump to this new, empty database."""
        self._pipe(inside.mysql(f"--database={self.name}"), source=source)

    def replace_by(self, other: Mysql) -> None:
        """Replace this database with another. MySQL cannot rename databases, so drop it and restore a dump to it."""
        self.drop()
        self.create()
        result = run.capture(self.session.world, self._command(inside.mysql_copy(other.name, self.name)))
        if result.code != 0:
            raise Problem(
                "database-refused",
                f"Cannot copy the restored data to {self.name}; it is still in {other.name}.",
                causes=[self._said(result)],
            )
        other.drop()

    def shell(self) -> int:
        """Run the client on the terminal or on piped input."""
        return self._on_terminal(inside.mysql(f"--database={self.name}"))

    def _ask(self, script: str) -> list[str]:
        return self._lines(self._run("", script))

    def _run(self, database: str, script: str) -> Result:
        how = ("--batch", "--skip-column-names", *([f"--database={database}"] if database else []))
        return self._feed(inside.mysql(*how), script)

    def _how_to_create(self, said: str) -> str:
        return "run `invoke db.create`" if "Unknown database" in said else ""
