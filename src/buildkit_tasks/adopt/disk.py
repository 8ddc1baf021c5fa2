"""Write a set of files, all or none: replace each one atomically and roll them all back after a failure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import files, readfile
from buildkit_tasks.core.errors import Problem


@dataclass(frozen=True)
class Change:
    """A file's bytes before and after the change; None if the file does not exist."""

    path: str
    before: bytes | None
    after: bytes | None

    @property
    def verb(self) -> str:
        """Return add, edit or delete."""
        return "delete" if self.after is None else "add" if self.before is None else "edit"


def changes(root: Path, texts: Mapping[str, str]) -> list[Change]:
    """Return the changes that writing these texts would make, sorted by path."""
    found = []
    for path in sorted(texts):
        before, after = read(root, path), texts[path].encode("utf-8", errors="surrogateescape")
        if before != after:
            found.append(Change(path, before, after))
    return found


def read(root: Path, path: str) -> bytes | None:
    """Return a file's bytes, None if it is missing. Problems: tree-unreadable; adopt-conflict if it is not a file."""
    place = root / path
    try:
        if place.exists() and not place.is_file():
            raise Problem("adopt-conflict", f"{path} is not a file.", hint=f"rename {path}")
        return readfile.content(place)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise Problem("adopt-conflict", f"{Path(path).parent} is not a directory.", hint="rename this file") from None
    except OSError as error:
        hint = f"run `ls -l {place}` to see its owner and mode"
        raise Problem("tree-unreadable", f"Cannot read {path}: {error.strerror}.", hint=hint) from error


def apply(root: Path, wanted: list[Change]) -> list[str]:
    """Apply the changes and return the created directories. Problems: tree-unwritable, after a rollback."""
    done: list[Change] = []
    made: list[str] = []
    try:
        for change in wanted:
            made += _folders(root, change.path)
            _put(root, change.path, change.after)
            done.append(change)
    except OSError as error:
        for change in reversed(done):
            _put(root, change.path, change.before)
        for folder in reversed(made):
            _remove_empty(root / folder)
        raise Problem(
            "tree-unwritable",
            f"Cannot write {change.path}: {error.strerror}. Nothing was changed.",
            hint=f"make {root} writable; `init --dry-run` shows the changes without making them",
        ) from error
    return made


def remove_folders(root: Path, folders: tuple[str, ...]) -> None:
    """Remove these directories if they are empty."""
    for folder in sorted(folders, key=len, reverse=True):
        _remove_empty(root / folder)


def _folders(root: Path, path: str) -> list[str]:
    missing = []
    place = (root / path).parent
    while place != root and not place.exists():
        missing.append(place)
        place = place.parent
    for folder in reversed(missing):
        folder.mkdir()
    return [p.relative_to(root).as_posix() for p in reversed(missing)]


def _put(root: Path, path: str, content: bytes | None) -> None:
    place = root / path
    if content is None:
        place.unlink(missing_ok=True)
        return
    place = Path(os.path.realpath(place))  # a symlink stays a symlink
    if not place.is_relative_to(os.path.realpath(root)):
        raise OSError(1, f"it is a symlink to {place}, which is outside the repository", str(place))
    files.replace(place, content)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # the directory is not empty or does not exist
