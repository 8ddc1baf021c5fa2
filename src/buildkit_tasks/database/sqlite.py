"""The project's SQLite file on this machine, accessed with Python's own SQLite."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command

from . import history
from .model import Applied, Migration
from .script import Script

MAGIC = b"SQLite format 3\0"

_JOURNALS = ("-wal", "-shm", "-journal")

#: Seconds to wait for another program that is writing to the file.
PATIENCE = 10.0


@dataclass(frozen=True)
class Sqlite:
    """A SQLite file. `name`: its name in prompts."""

    session: Session
    path: Path
    kind: str = "sqlite"
    ending: str = ".sqlite"
    service: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def described(self) -> str:
        """The name of the file in prompts, with its path, because several files may have the same name."""
        return f"{self.name} ({self.path})"

    def named(self, name: str) -> Sqlite:
        """Return another file next to this one."""
        return replace(self, path=self.path.with_name(name))

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.is_file()

    def empty(self) -> bool:
        """Return whether the database has no tables."""
        with self._open() as connection:
            return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None

    def create(self, *, pristine: bool = False) -> None:
        """Create an empty file and its directory."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(exist_ok=False)

    def drop(self) -> None:
        """Delete the file and its journals."""
        for ending in ("", *_JOURNALS):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def applied(self, tool: str) -> tuple[Applied, ...]:
        """Return the rows of a tool's table, or none if the table does not exist yet."""
        table = history.TABLES[tool]
        with self._open() as connection:
            query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            if connection.execute(query, (table.name,)).fetchone() is None:
                return ()
            rows = connection.execute(table.read["sqlite"]).fetchall()
        return history.applied([[str(value) for value in row] for row in rows])

    def apply(self, tool: str, pending: Sequence[Migration], known: int) -> tuple[Migration, ...]:
        """Apply migrations in order and record each. Problems: sql-failed with the file. Raises history.Overtaken."""
        table = history.TABLES[tool]
        done: list[Migration] = []
        with self._open() as connection:
            if tool == "sqlx":
                connection.execute("PRAGMA foreign_keys = ON")  # as sqlx opens it
            connection.execute(table.create["sqlite"])
            if connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0] != known:
                raise history.Overtaken
            for migration in pending:
                began = time.monotonic_ns()
                line = 0
                try:
                    if migration.transaction:
                        connection.execute("BEGIN IMMEDIATE")
                    for line, statement in statements(migration.sql):  # noqa: B007
                        connection.execute(statement)
                    connection.execute(history.record(tool, migration, "sqlite"))
                    if connection.in_transaction:
                        connection.execute("COMMIT")
                except sqlite3.Error as error:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise history.failed(migration, done, str(error), line) from error
                if tool == "sqlx":
                    connection.execute(history.elapsed(migration, str(time.monotonic_ns() - began)))
                done.append(migration)
        return tuple(done)

    def seed(self, script: Script) -> None:
        """Run the script in one transaction. Raises `Problem` sql-failed with file and line."""
        line = 0
        with self._open() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                for line, statement in statements(script.text):  # noqa: B007
                    connection.execute(statement)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise script.failed(line, str(error)) from error

    def dump(self, target: IO[bytes]) -> None:
        """Write a consistent copy, even while another program writes to the file."""
        with tempfile.TemporaryDirectory() as place, self._open() as connection:
            copy = Path(place) / "copy"
            with closing(sqlite3.connect(copy)) as other:
                connection.backup(other)
            with copy.open("rb") as file:
                shutil.copyfileobj(file, target)

    def check_dump(self, source: IO[bytes]) -> None:
        """Raise `Problem` dump-invalid unless the file is a complete SQLite database."""
        with tempfile.TemporaryDirectory() as place:
            start = source.read(len(MAGIC))
            source.seek(0)
            if start != MAGIC:
                raise Problem("dump-invalid", "The file is not a SQLite database.")
            copy = Path(place) / "copy"
            with copy.open("wb") as file:
                shutil.copyfileobj(source, file)
            source.seek(0)
            try:
                with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as connection:
                    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.Error as error:
                found = str(error)
        if found != "ok":
            raise Problem("dump-invalid", "The file is a corrupt SQLite database.", causes=[found])

    def restore(self, source: IO[bytes], *, no_owner: bool) -> None:
        """Restore a dump to this new, empty file."""
        with self.path.open("wb") as file:
            shutil.copyfileobj(source, file)

    def replace_by(self, other: Sqlite) -> None:
        """Replace this file with another. Removes its journals first, which would otherwise apply to the new file."""
        with self._open() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for ending in _JOURNALS:
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        other.path.replace(self.path)

    def shell(self) -> int:
        """Run the program sqlite3, if it is installed."""
        if not shutil.which("sqlite3", path=self.session.world.env.get("PATH")):
            raise Problem(
                "command-missing", "The program sqlite3 is not installed.", hint="install the package sqlite3"
            )
        how = () if sys.stdin and sys.stdin.isatty() else ("-batch",)
        return run.foreground(self.session.world, Command(("sqlite3", *how, str(self.path)), self.session.root))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self.exists():
            raise Problem("database-refused", f"The file {self.path} does not exist.", hint="run `invoke db.create`")
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise Problem("database-refused", f"SQLite rejected {self.path}.", causes=[str(error)]) from error


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the statements of a script, each with its first line. Joined, they are the script's text."""
    start, line = 0, 1
    for at, character in enumerate(text):
        if character == ";" and sqlite3.complete_statement(text[start : at + 1]):
            piece = text[start : at + 1]
            yield line + _blank(piece), piece
            line += piece.count("\n")
            start = at + 1
    if text[start:].strip():
        yield line + _blank(text[start:]), text[start:]


def _blank(piece: str) -> int:
    """Return the number of lines before the first word."""
    return piece[: len(piece) - len(piece.lstrip())].count("\n")
