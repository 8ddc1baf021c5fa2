"""A MySQL or MariaDB in a container of the project. All but migrations, whose tables are not written here."""

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

#: What the first lines of a dump say.
MARKS = (b"MySQL dump", b"MariaDB dump", b"mariadb-dump")
#: A statement that leaves the database that a dump is restored into.
_NAMES_A_DATABASE = re.compile(rb"(?:USE\s|CREATE DATABASE\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Mysql(Served):
    """One database of a server. `name` may not exist yet."""

    kind: str = "mysql"
    ending: str = ".sql"

    def exists(self) -> bool:
        """Whether the server has it."""
        return bool(self._ask(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = {literal(self.name)};"))

    def empty(self) -> bool:
        """Whether it holds no table or view."""
        where = f"table_schema = {literal(self.name)}"
        return not self._ask(f"SELECT 1 FROM information_schema.tables WHERE {where} LIMIT 1;")

    def create(self, *, pristine: bool = False) -> None:
        """Make it, empty."""
        self._ask(f"CREATE DATABASE `{self.name}`;")

    def drop(self) -> None:
        """Drop it, if it exists."""
        self._ask(f"DROP DATABASE IF EXISTS `{self.name}`;")

    def applied(self, tool: str) -> tuple[Applied, ...]:
        """Not built in."""
        raise self._no_migrations(tool)

    def apply(self, tool: str, pending: Sequence[Migration], known: int) -> tuple[Migration, ...]:
        """Not built in."""
        raise self._no_migrations(tool)

    def _no_migrations(self, tool: str) -> Problem:
        return Problem(
            "database-unsupported",
            f"db.migrate does not write {tool}'s table in {NAMES[self.kind]} yet.",
            hint="invoke run --service SERVICE -- ARGUMENTS    (a program of the project that migrates)",
        )

    def seed(self, script: Script) -> None:
        """Run it in one transaction; MySQL ends that one at the first change of the schema. Problems: sql-failed."""
        result = self._run(self.name, f"START TRANSACTION;\n{script.text}COMMIT;\n")
        if result.code != 0:
            line = re.search(r"at line (\d+)", result.stderr)
            raise script.failed(max(0, int(line[1]) - 1) if line else 0, self._said(result))

    def dump(self, target: IO[bytes]) -> None:
        """Write it as SQL, with its triggers, routines and events."""
        how = ("--single-transaction", "--routines", "--events", "--no-tablespaces")
        self._pipe(inside.mysqldump(*how, self.name), target=target)

    def check_dump(self, source: IO[bytes]) -> None:
        """Raise `Problem` dump-invalid for what no client of MySQL wrote, or only the beginning of it."""
        start = source.read(4096)
        source.seek(max(0, os.fstat(source.fileno()).st_size - 4096))
        end = source.read()
        source.seek(0)
        if not any(mark in start for mark in MARKS):
            raise Problem("dump-invalid", f"The file is not a dump of {NAMES[self.kind]}.")
        if b"-- Dump completed" not in end:
            raise Problem("dump-invalid", "The dump is incomplete: its last line is missing.")
        if any(_NAMES_A_DATABASE.match(line) for line in source):
            source.seek(0)
            raise Problem(
                "dump-invalid", "The dump selects databases itself (mysqldump --databases): it could overwrite others."
            )
        source.seek(0)

    def restore(self, source: IO[bytes], *, no_owner: bool) -> None:
        """Fill this database, which is new and empty, from a dump."""
        self._pipe(inside.mysql(f"--database={self.name}"), source=source)

    def replace_by(self, other: Mysql) -> None:
        """MySQL cannot rename a database: this one is dropped, and filled from a dump of the other."""
        self.drop()
        self.create()
        result = run.capture(self.session.world, self._command(inside.mysql_copy(other.name, self.name)))
        if result.code != 0:
            raise Problem(
                "database-refused",
                f"{self.name} could not be filled; the restored data is still in {other.name}.",
                causes=[self._said(result)],
            )
        other.drop()

    def shell(self) -> int:
        """The client on the terminal, or on what is piped to us."""
        return self._on_terminal(inside.mysql(f"--database={self.name}"))

    def _ask(self, script: str) -> list[str]:
        return self._lines(self._run("", script))

    def _run(self, database: str, script: str) -> Result:
        how = ("--batch", "--skip-column-names", *([f"--database={database}"] if database else []))
        return self._feed(inside.mysql(*how), script)

    def _how_to_create(self, said: str) -> str:
        return "invoke db.create" if "Unknown database" in said else ""
