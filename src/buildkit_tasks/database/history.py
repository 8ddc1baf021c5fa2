"""The tables that record applied migrations for each tool, and SQL that applies more. Pure: values in, SQL out."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from buildkit_tasks.core.errors import Problem

from .model import Applied, Migration


@dataclass(frozen=True)
class Table:
    """A tool's table: its name and, for each dialect, SQL to create it and SQL to read key, checksum and success."""

    name: str
    create: Mapping[str, str]
    read: Mapping[str, str]


_SQLX = "description TEXT NOT NULL, installed_on {time} NOT NULL DEFAULT {now}, success BOOLEAN NOT NULL, "
_SQLX += "checksum {bytes} NOT NULL, execution_time BIGINT NOT NULL"

TABLES = {
    "sqlx": Table(
        "_sqlx_migrations",
        {
            "postgres": "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, "
            + _SQLX.format(time="TIMESTAMPTZ", now="now()", bytes="BYTEA")
            + ")",
            "sqlite": "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, "
            + _SQLX.format(time="TIMESTAMP", now="CURRENT_TIMESTAMP", bytes="BLOB")
            + ")",
        },
        {
            "postgres": "SELECT version, encode(checksum, 'hex'), success FROM _sqlx_migrations ORDER BY version",
            "sqlite": "SELECT version, lower(hex(checksum)), success FROM _sqlx_migrations ORDER BY version",
        },
    ),
    "refinery": Table(
        "refinery_schema_history",
        dict.fromkeys(
            ("postgres", "sqlite"),
            "CREATE TABLE IF NOT EXISTS refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), "
            "applied_on VARCHAR(255), checksum VARCHAR(255))",
        ),
        dict.fromkeys(
            ("postgres", "sqlite"), "SELECT version, checksum, 1 FROM refinery_schema_history ORDER BY version"
        ),
    ),
    "diesel": Table(
        "__diesel_schema_migrations",
        dict.fromkeys(
            ("postgres", "sqlite"),
            "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, "
            "run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        ),
        dict.fromkeys(("postgres", "sqlite"), "SELECT version, '', 1 FROM __diesel_schema_migrations ORDER BY version"),
    ),
    "sql": Table(
        "buildkit_tasks_migrations",
        dict.fromkeys(
            ("postgres", "sqlite"),
            "CREATE TABLE IF NOT EXISTS buildkit_tasks_migrations (name TEXT PRIMARY KEY, checksum TEXT NOT NULL, "
            "applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        ),
        dict.fromkeys(("postgres", "sqlite"), "SELECT name, checksum, 1 FROM buildkit_tasks_migrations ORDER BY name"),
    ),
}


def literal(text: str) -> str:
    """Quote a text as an SQL literal. All current servers have standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def record(tool: str, migration: Migration, dialect: str) -> str:
    """Return the statement that records a migration as its tool would."""
    if tool == "sqlx":
        checksum = f"'\\x{migration.checksum}'" if dialect == "postgres" else f"x'{migration.checksum}'"
        return (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
            f"VALUES ({migration.key}, {literal(migration.name)}, TRUE, {checksum}, -1)"
        )
    if tool == "refinery":
        now = {
            "postgres": """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
            "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        }[dialect]
        return (
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) "
            f"VALUES ({migration.key}, {literal(migration.name)}, {now}, {literal(migration.checksum)})"
        )
    if tool == "diesel":
        return f"INSERT INTO __diesel_schema_migrations (version) VALUES ({literal(migration.key)})"
    values = f"{literal(migration.key)}, {literal(migration.checksum)}"
    return f"INSERT INTO buildkit_tasks_migrations (name, checksum) VALUES ({values})"


def elapsed(migration: Migration, nanoseconds: str) -> str:
    """Return the statement that sqlx runs after the transaction. `nanoseconds` is an SQL expression."""
    return f"UPDATE _sqlx_migrations SET execution_time = {nanoseconds} WHERE version = {migration.key}"


def lock_id(database: str) -> int:
    """Return the advisory lock that sqlx holds while migrating. While we hold it, a starting service waits for us."""
    return 0x3D32AD9E * zlib.crc32(database.encode())


#: What the script prints if another program migrated after we read the table and before we took the lock.
OVERTAKEN = "buildkit-tasks: the applied migrations have changed in the meantime"

#: What the script prints if another program holds the lock. Waiting in the server would hold a snapshot, and the other
#: program's `CREATE INDEX CONCURRENTLY` would wait for the snapshot: a deadlock.
BUSY = "busy"

_BEGUN, _RAN = "begins ", "applied "


def read_script(table: Table) -> str:
    """Return a psql script that prints the rows of a table, or nothing if it does not exist."""
    return (
        f"SELECT to_regclass({literal(table.name)}) IS NOT NULL AS there \\gset\n"
        f"\\if :there\n{table.read['postgres']};\n\\endif\n"
    )


def applied(rows: Sequence[Sequence[str]]) -> tuple[Applied, ...]:
    """Parse the rows of a tool's table."""
    return tuple(Applied(key, checksum, success in ("t", "1", "True")) for key, checksum, success in rows)


def apply_script(tool: str, database: str, pending: Sequence[Migration], known: int) -> str:
    """Return a psql script that applies migrations. For migration N, it prints `begins N` and `applied N`.

    A migration is sent unchanged in a single message, as its tool would send it: psql would run backslash commands in
    it and substitute its own variables. `known`: the number of migrations that were applied when we read the table.
    """
    table = TABLES[tool]
    lines = [
        f"SELECT pg_try_advisory_lock({lock_id(database)}) AS mine \\gset",
        f"\\if :mine\n\\else\n\\echo {BUSY}\n\\quit\n\\endif",
        "SET client_min_messages = warning;",
        f"{table.create['postgres']};",
        "RESET client_min_messages;",
        f"DO $do$ BEGIN IF (SELECT count(*) FROM {table.name}) <> {known} THEN "
        f"RAISE EXCEPTION '{OVERTAKEN}'; END IF; END $do$;",
    ]
    for number, migration in enumerate(pending):
        content = base64.b64encode(migration.sql.encode()).decode()
        lines += [
            f"\\echo {_BEGUN}{number}",
            "SELECT clock_timestamp() AS began \\gset",
            *(["BEGIN;"] if migration.transaction else []),
            f"SELECT convert_from(decode('{content}', 'base64'), 'UTF8') \\gexec",
            f"{record(tool, migration, 'postgres')};",
            *(["COMMIT;"] if migration.transaction else []),
            f"\\echo {_RAN}{number}",
        ]
        if tool == "sqlx":
            taken = "(extract(epoch FROM clock_timestamp() - :'began'::timestamptz) * 1e9)::bigint"
            lines.append(f"{elapsed(migration, taken)};")
    return "\n".join(lines) + "\n"


def ran(output: str, pending: Sequence[Migration]) -> tuple[tuple[Migration, ...], Migration | None]:
    """Return the migrations that a script applied, and the one that was running when it ended."""
    said = set(output.splitlines())
    done = tuple(m for n, m in enumerate(pending) if f"{_RAN}{n}" in said)
    begun = [m for n, m in enumerate(pending) if f"{_BEGUN}{n}" in said and f"{_RAN}{n}" not in said]
    return done, begun[0] if begun else None


class Overtaken(Exception):
    """Another program is migrating, or did so after we read the table and before we took the lock."""


def failed(migration: Migration, done: Sequence[Migration], said: str, line: int = 0) -> Problem:
    """Return the problem for a migration that the database rejected."""
    kept = f"earlier migrations applied: {len(done)}" if done else "no earlier migrations applied"
    half = "" if migration.transaction else "; it ran outside a transaction, so parts of it may have been applied"
    shown = re.search(r"^LINE (\d+): ", said, re.MULTILINE)
    line = line or (int(shown[1]) if shown else 0)
    return Problem(
        "sql-failed",
        f"{migration.path}{f', line {line}' if line else ''}: the database rejected this migration; {kept}{half}.",
        causes=[said],
        hint="fix the file and retry",
    )
