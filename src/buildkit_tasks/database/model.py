"""The immutable values of this package. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.core.errors import Problem

#: The name of each kind of database in messages.
NAMES = {"postgres": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB", "sqlite": "SQLite"}

#: Database names that need no escaping in a client's arguments, a connection string or a path.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$.-]*")

#: The maximum length of a name in PostgreSQL, in bytes: it truncates longer names silently. MySQL allows 64 characters.
LONGEST = 63

#: Name suffixes of the temporary databases of a restore. No other database uses them.
RESTORING, REPLACED = "_bt_restoring", "_bt_replaced"


@dataclass(frozen=True)
class Server:
    """A service of the compose file that runs a database. `kind` is a key of `NAMES`."""

    service: str
    kind: str


@dataclass(frozen=True)
class Login:
    """What a server reports: its administrator, the database created for the project, and its version."""

    user: str
    database: str
    version: str


@dataclass(frozen=True)
class Migration:
    """A single schema change.

    `key` identifies it in the tool's table, `label` in messages. `fields`: the other columns that the tool records, as
    SQL-ready values: text, integers or bytes. `transaction`: whether it runs in a transaction. `checksum`: compared
    with the recorded one; empty if the tool records none.
    """

    key: str
    label: str
    path: Path
    sql: str
    checksum: str = ""
    transaction: bool = True
    name: str = ""
    order: tuple[int | str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Applied:
    """A migration in the database. `success` is False if it failed partway."""

    key: str
    checksum: str = ""
    success: bool = True


def checked_name(name: str) -> str:
    """Return a database's name if it can be used unchanged. Raises `Problem` database-unsupported."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        allowed = "letters, digits, _, -, . and $"
        why = f"is longer than {LONGEST} characters" if len(name) > LONGEST else f"may contain only {allowed}"
        raise Problem(
            "database-unsupported",
            f"The database name {name[:80]!r} {why}.",
            hint="use the database's own client, or use a different name in the compose file",
        )
    return name


def name_for_tests(name: str) -> str:
    """Return the name of this database's test database."""
    return checked_name(f"{name}_test")
