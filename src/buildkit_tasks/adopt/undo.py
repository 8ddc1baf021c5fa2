"""Find the changes that restore files to their content before `init`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import disk, record
from .disk import Change
from .record import Entry


def changes(root: Path, files: Mapping[str, Entry]) -> tuple[list[Change], list[str]]:
    """Return the changes, and the files kept because later edits conflict. Edits elsewhere in a file are kept, too."""
    changed: list[Change] = []
    kept: list[str] = []
    for path, entry in files.items():
        now = disk.read(root, path)
        wanted = entry.before
        if now is None or now == entry.before:
            continue
        if not entry.pristine(now):
            merged = without_ours(entry, now)
            if merged is None:
                kept.append(path)
                continue
            wanted = merged
        changed.append(Change(path, now, wanted))
    return changed, kept


def without_ours(entry: Entry, now: bytes) -> bytes | None:
    """Return the edited file without our changes; None if they cannot be separated."""
    if entry.before is None or entry.written is None:
        return None
    base, theirs = entry.written, now.decode("utf-8", errors="surrogateescape")
    text, conflict = record.merge(base, theirs, entry.before.decode("utf-8", errors="surrogateescape"))
    return None if conflict else text.encode("utf-8", errors="surrogateescape")
