"""Compares a database with a directory of migrations: applied, pending, or rejected by the tool. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.core.errors import Problem

from .model import Applied, Migration


@dataclass(frozen=True)
class Status:
    """The migrations in the directory by state, and keys that exist only in the database."""

    applied: tuple[Migration, ...]
    pending: tuple[Migration, ...]
    changed: tuple[Migration, ...]
    failed: tuple[str, ...]
    missing: tuple[str, ...]
    late: tuple[Migration, ...]


def status(tool: str, found: Sequence[Migration], applied: Sequence[Applied]) -> Status:
    """Compare by key, then by checksum if the tool records one.

    `late`: pending migrations that refinery rejects because a newer one is applied, unless their names start with U.
    """
    known = {a.key: a for a in applied}
    keys = {m.key for m in found}
    pending = tuple(m for m in found if m.key not in known)
    newest = max((m.order for m in found if m.key in known), default=())
    return Status(
        applied=tuple(m for m in found if m.key in known),
        pending=pending,
        changed=tuple(m for m in found if m.key in known and m.checksum != known[m.key].checksum),
        failed=tuple(a.key for a in applied if not a.success),
        missing=tuple(a.key for a in applied if a.key not in keys) if tool != "diesel" else (),
        late=tuple(m for m in pending if m.order < newest and m.label.startswith("V")) if tool == "refinery" else (),
    )


def require_sound(tool: str, now: Status, *, ignore_missing: bool = False) -> None:
    """Raise `Problem` migration-changed if the migration tool itself would fail."""
    if now.failed:
        raise Problem(
            "migration-changed",
            f"Migration {now.failed[0]} failed partway when it was last applied.",
            causes=[f"the migration's row in the {tool} table has success = false"],
            hint="repair the schema with `invoke db.shell`, then delete the row or set success to true",
        )
    if now.missing and not ignore_missing:
        raise Problem(
            "migration-changed",
            f"{_counted(now.missing)} missing from the directory: {', '.join(now.missing[:5])}.",
            causes=["a migration was applied from another branch, or its file was deleted or renamed"],
            hint="restore the file, pass --ignore-missing, or start over with `invoke db.reset`",
        )
    if now.changed:
        raise Problem(
            "migration-changed",
            f"{now.changed[0].path} has changed since it was applied.",
            causes=[f"the file's checksum differs from the checksum that {tool} recorded"],
            hint="restore the file and write a new migration, or start over with `invoke db.reset`",
        )
    if now.late:
        raise Problem(
            "migration-changed",
            f"{now.late[0].path} is older than a migration that is already applied, so refinery rejects it.",
            hint="give the migration a higher version, or start its name with U",
        )


def _counted(keys: Sequence[str]) -> str:
    return f"{len(keys)} applied migrations are" if len(keys) > 1 else "An applied migration is"
