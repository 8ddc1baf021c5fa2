"""Reads migration directories for each tool with a table that db.migrate can write. Runs nothing.

Follows the sources of the tools: sqlx-core 0.8.6 `migrate/source.rs`, refinery-core 0.8.16 `util.rs` and `runner.rs`,
migrations_internals 2.2 `lib.rs`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import tomli

from buildkit_tasks.core.errors import Problem

from .model import Migration
from .siphash import siphash13

#: Maximum size of an SQL file in bytes. A larger file is a dump and belongs to `invoke db.restore`.
MOST_BYTES = 32_000_000

_SUFFIXES = (".up.sql", ".down.sql", ".sql")
_REFINERY = re.compile(r"([UV])(\d+(?:\.\d+)?)__(\w+)\.(sql|rs)")


def read(tool: str, directory: Path) -> tuple[Migration, ...]:
    """Return the migrations in order of application. Raises `Problem` migrations-unknown."""
    try:
        found = sorted(_READERS[tool](directory), key=lambda m: m.order)
    except OSError as error:
        raise _refused(directory, f"cannot be read: {error.strerror}") from error
    seen: dict[str, Migration] = {}
    for migration in found:
        if migration.key in seen:
            names = f"{seen[migration.key].path.name} and {migration.path.name}"
            raise _refused(directory, f"contains two migrations with version {migration.key}: {names}")
        seen[migration.key] = migration
    return tuple(found)


def sql_text(path: Path) -> str:
    """Return the text of an SQL file. Raises `Problem` migrations-unknown if it is not UTF-8 or too large."""
    try:
        if not path.is_file():
            raise _refused(path, "is not a file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise _refused(path, f"is larger than {MOST_BYTES // 1_000_000} MB (for a dump, use `invoke db.restore`)")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not valid UTF-8 (at byte {error.start})") from None
    if "\0" in text:
        raise _refused(path, "contains a NUL byte")
    return text


#: Marks dbmate and goose files. They contain both directions, so applying a whole file would also roll it back.
_BOTH_WAYS = re.compile(r"^--\s*(?:migrate:down|\+goose\s+Down)\b", re.MULTILINE | re.IGNORECASE)


def _one_way(path: Path) -> str:
    """Return the text of a migration without a rollback in the same file. Problems: database-unsupported."""
    text = sql_text(path)
    if _BOTH_WAYS.search(text):
        raise Problem(
            "database-unsupported",
            f"{path} contains a migration and its rollback, in the format that dbmate and goose use.",
            hint="apply migrations with dbmate or goose: `invoke run --service SERVICE -- ARGUMENTS`",
        )
    return text


def _refused(path: Path, why: str) -> Problem:
    hint = "see docs/how-to/database.md for the file names that each tool reads"
    return Problem("migrations-unknown", f"{path} {why}.", hint=hint)


def _sqlx(directory: Path) -> Iterable[Migration]:
    """Read `<VERSION>_<DESCRIPTION>.sql`. Files named `.down.sql` revert a migration and are not applied."""
    for path in sorted(directory.iterdir()):
        head, underscore, rest = path.name.partition("_")
        if not (underscore and rest.endswith(".sql") and path.is_file()):
            continue
        if not re.fullmatch(r"[+-]?[0-9]+", head) or not -(2**63) <= int(head) < 2**63:
            raise _refused(path, "does not start with an integer version (as in 01_users.sql), so sqlx rejects it")
        suffix = next(s for s in _SUFFIXES if rest.endswith(s))
        if suffix == ".down.sql":
            continue
        while rest.endswith(suffix):  # sqlx trims repeated suffixes
            rest = rest.removesuffix(suffix)
        text, version = _one_way(path), int(head)
        yield Migration(
            key=str(version),
            label=path.name,
            path=path,
            sql=text,
            checksum=hashlib.sha384(text.encode()).hexdigest(),
            transaction=not text.startswith("-- no-transaction"),
            name=rest.replace("_", " "),
            order=(version,),
        )


def refinery_checksum(name: str, version: int, sql: str) -> str:
    """Return the checksum that refinery records: Rust's hash of a migration's name, its version as i32 and its text."""
    # Rust appends a byte when it hashes a string
    return str(siphash13(name.encode() + b"\xff" + version.to_bytes(4, "little") + sql.encode() + b"\xff"))


def _refinery(directory: Path) -> Iterable[Migration]:
    """Read `V<VERSION>__<NAME>.sql` at any depth, with U for migrations that may be late. Rust is unsupported."""
    for path in sorted(directory.rglob("*")):
        match = _REFINERY.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        if match[4] == "rs":
            raise Problem(
                "database-unsupported",
                f"{path} is a Rust migration, which only the program that embeds it can run.",
                hint="run that program: `invoke run --service SERVICE -- ARGUMENTS`",
            )
        if not match[2].isascii() or "." in match[2] or int(match[2]) >= 2**31:
            raise _refused(path, "has a version that refinery rejects: it must be an integer below 2147483648")
        text, version = sql_text(path), int(match[2])
        yield Migration(
            key=str(version),
            label=path.name,
            path=path,
            sql=text,
            checksum=refinery_checksum(match[3], version, text),
            name=match[3],
            order=(version,),
        )


def _diesel(directory: Path) -> Iterable[Migration]:
    """Read `<VERSION>_<NAME>/up.sql`. A `metadata.toml` next to it may disable its transaction."""
    for folder in sorted(directory.iterdir()):
        if folder.name.startswith(".") or not (folder / "up.sql").is_file():
            continue
        version = folder.name.split("_", 1)[0].replace("-", "")
        if not re.fullmatch(r"\w{1,50}", version):
            raise _refused(folder, "does not start with a version of at most 50 letters and digits")
        yield Migration(
            key=version,
            label=folder.name,
            path=folder / "up.sql",
            sql=sql_text(folder / "up.sql"),
            transaction=_in_transaction(folder / "metadata.toml"),
            order=(version,),
        )


def _in_transaction(metadata: Path) -> bool:
    """Return whether diesel would use a transaction. As in diesel, a metadata.toml without the key means no."""
    if not metadata.exists():
        return True
    try:
        return bool(tomli.loads(sql_text(metadata)).get("run_in_transaction", False))
    except tomli.TOMLDecodeError as error:
        raise _refused(metadata, f"is not valid TOML: {error}") from None


def _plain(directory: Path) -> Iterable[Migration]:
    """Read all `.sql` files in natural order of their names, except `.down.sql`."""
    for path in sorted(directory.iterdir()):
        if not path.name.endswith(".sql") or path.name.endswith(".down.sql") or not path.is_file():
            continue
        text = _one_way(path)
        yield Migration(
            key=path.name,
            label=path.name,
            path=path,
            sql=text,
            checksum=hashlib.sha256(text.encode()).hexdigest(),
            transaction=not text.startswith("-- no-transaction"),
            order=natural(path.name),
        )


def natural(name: str) -> tuple[int | str, ...]:
    """Return a key that sorts `2_b.sql` before `10_a.sql`. Text and numbers alternate, so all keys are comparable."""
    parts = re.split(r"([0-9]+)", name.removesuffix(".sql"))
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts))


_READERS: dict[str, Callable[[Path], Iterable[Migration]]] = {
    "sqlx": _sqlx,
    "refinery": _refinery,
    "diesel": _diesel,
    "sql": _plain,
}

TOOLS: Sequence[str] = tuple(_READERS)
