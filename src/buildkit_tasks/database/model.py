"""The frozen values of this room. No reading, no writing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.core.errors import Problem

#: What a kind of database is called in messages.
NAMES = {"postgres": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB", "sqlite": "SQLite"}

#: Names that need no escaping in a client's arguments, a connection string or a path.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$.-]*")

#: Bytes of a name that PostgreSQL keeps; it would cut off the rest silently. MySQL keeps 64 characters.
LONGEST = 63

#: Ends of the names of our own databases beside the user's, while one is restored. Nobody else's has such a name.
RESTORING, REPLACED = "_bt_restoring", "_bt_replaced"


@dataclass(frozen=True)
class Server:
    """A service of the compose file that runs a database. `kind` is a key of `NAMES`."""

    service: str
    kind: str


@dataclass(frozen=True)
class Login:
    """What a server says of itself: its administrator, the database made for the project, the version it runs."""

    user: str
    database: str
    version: str


@dataclass(frozen=True)
class Migration:
    """One change of the schema.

    `key` identifies it in the tool's table, `label` to people. `fields` are the other columns that the tool records,
    as SQL-ready values: text, integers, or bytes. `transaction`: it runs inside one. `checksum` is compared with the
    one that was recorded; empty if the tool keeps none.
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
    """A migration that the database has. `success` is False for one that failed half way."""

    key: str
    checksum: str = ""
    success: bool = True


def checked_name(name: str) -> str:
    """The name of a database, if it can be used as it is. Raises `Problem` database-unsupported."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        why = f"longer than {LONGEST} characters" if len(name) > LONGEST else "not only letters, digits, _, -, . and $"
        raise Problem(
            "database-unsupported",
            f"The database name {name[:80]!r} is {why}.",
            hint="use the database's own client, or another name in the compose file",
        )
    return name


def name_for_tests(name: str) -> str:
    """The database that tests use beside this one."""
    return checked_name(f"{name}_test")
