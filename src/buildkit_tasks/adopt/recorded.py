"""Write files together with their record, so `--undo` also restores what a killed run changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from buildkit_tasks.core import files

from . import disk, record
from .disk import Change
from .earlier import read_record
from .record import Record


def write(root: Path, changed: list[Change], new: Record) -> Record:
    """Apply the changes and write their record. Return the record with the created directories.

    The record is written first, because undo needs it. A file from an earlier run keeps its entry until its new text
    is written. New files are written before edits, so the next `init` still finds the user's Dockerfile in the
    compose file.
    Problems: tree-unwritable, after a rollback.
    """
    old = read_record(root)
    remove_unfinished(root, [record.PATH, *(change.path for change in changed)])
    created = _missing(root, [record.PATH, *(change.path for change in changed)])
    new = replace(new, folders=tuple(dict.fromkeys((*new.folders, *created))))
    first = replace(new, files={**new.files, **old.files})
    disk.apply(root, [*_change(root, first), *sorted(changed, key=lambda c: (c.before is not None, c.path))])
    disk.apply(root, _change(root, new))
    return new


def remove_unfinished(root: Path, paths: Iterable[str]) -> None:
    """Remove what killed runs left next to these files."""
    for path in dict.fromkeys(paths):
        if (root / path).parent.is_dir():
            files.remove_unfinished(root / path)


def _change(root: Path, new: Record) -> list[Change]:
    before, after = disk.read(root, record.PATH), record.dump(new).encode()
    return [] if before == after else [Change(record.PATH, before, after)]


def _missing(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the missing directories that these files need, outer directories first."""
    found = {str(parent): None for path in paths for parent in PurePosixPath(path).parents if str(parent) != "."}
    return sorted((folder for folder in found if not (root / folder).exists()), key=len)
