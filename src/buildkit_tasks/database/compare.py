"""What a database has of a directory of migrations: pending, applied, or what its tool would refuse. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.core.errors import Problem

from .model import Applied, Migration


@dataclass(frozen=True)
class Status:
    """Migrations of the directory by state, and keys that only the database knows."""

    applied: tuple[Migration, ...]
    pending: tuple[Migration, ...]
    changed: tuple[Migration, ...]
    failed: tuple[str, ...]
    missing: tuple[str, ...]
    late: tuple[Migration, ...]


def status(tool: str, found: Sequence[Migration], applied: Sequence[Applied]) -> Status:
    """Compare by key, then by checksum where the tool keeps one.

    `late`: pending ones that refinery refuses, because a newer one is applied; those that begin with U may come late.
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
    """Stop where the tool would stop. Raises `Problem` migration-changed."""
    if now.failed:
        raise Problem(
            "migration-changed",
            f"Migration {now.failed[0]} failed half way when it was last applied.",
            causes=[f"its row in {tool}'s table has success = false"],
            hint="repair the schema by hand (invoke db.shell), then delete the row, or set it to true",
        )
    if now.missing and not ignore_missing:
        raise Problem(
            "migration-changed",
            f"The database has {_counted(now.missing)} that the directory does not have: {', '.join(now.missing[:5])}.",
            causes=["applied from another branch, or the file was deleted or renamed"],
            hint="bring the file back; or add --ignore-missing; or start over: invoke db.reset",
        )
    if now.changed:
        raise Problem(
            "migration-changed",
            f"{now.changed[0].path} has changed since it was applied.",
            causes=[f"its checksum is not the one that {tool} recorded"],
            hint="restore the file and write a new migration; or start over: invoke db.reset",
        )
    if now.late:
        raise Problem(
            "migration-changed",
            f"{now.late[0].path} is older than one that is applied already, and refinery refuses it.",
            hint="give it a higher version, or begin its name with U",
        )


def _counted(keys: Sequence[str]) -> str:
    return "a migration" if len(keys) == 1 else f"{len(keys)} migrations"
