"""Scans the watched files and records their state: size, inode, mode and times.

A file has changed if it differs between two scans. Events only trigger a scan, so no change is missed if an event is
lost, or if a directory appears together with its files.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.dockerfiles.ignore import Ignore, walk

from .rules import under

#: Directories with this file are caches, for example cargo's `target`: https://bford.info/cachedir/
CACHE_TAG = "CACHEDIR.TAG"

#: A path's state: type and mode, size, inode, modification time and, last, change time in ns.
Signature = tuple[int, ...]


@dataclass(frozen=True)
class Root:
    """A directory to scan. `only`: scan only this path below it, `.` for all of it; `ignore`: the paths to skip."""

    path: str
    only: str = "."
    ignore: Ignore = field(default_factory=Ignore)

    def concerns(self, inside: str) -> bool:
        """Return whether a path below the root is scanned."""
        return self.only == "." or under(inside, self.only) is not None

    def leads_to(self, inside: str) -> bool:
        """Return whether a directory is scanned, or contains a path that is."""
        return self.concerns(inside) or under(self.only, inside) is not None


@dataclass(frozen=True)
class Look:
    """The result of a scan: the state of every path, and the directories to watch."""

    paths: Mapping[str, Signature]
    directories: frozenset[str]


def look(roots: Iterable[Root]) -> Look:
    """Scan everything below the roots. Skips paths that cannot be read, or that vanish during the scan."""
    grouped: dict[tuple[str, str], list[Root]] = {}
    for root in roots:
        grouped.setdefault((root.path, root.only), []).append(root)
    paths: dict[str, Signature] = {}
    directories: set[str] = set()
    for (path, only), several in grouped.items():
        base = path.rstrip("/")
        place = Path(path, only)
        if only != "." and not place.is_dir():
            directories.add(_existing(str(place.parent)))
            with contextlib.suppress(OSError):
                paths[str(place)] = _signature(place.stat())
            continue
        directories.add(_existing(path))
        if only != ".":
            with contextlib.suppress(OSError):
                paths[str(place)] = _signature(place.stat())
        for inside, entry in _entries(path, several):
            if entry.is_dir(follow_symlinks=False):
                directories.add(f"{base}/{inside}")
            if several[0].concerns(inside):
                with contextlib.suppress(OSError):
                    paths[f"{base}/{inside}"] = _signature(entry.stat(follow_symlinks=False))
    return Look(paths, frozenset(directories))


def changed(before: Look, after: Look) -> frozenset[str]:
    """Return the paths that are new, deleted or changed."""
    one, other = before.paths, after.paths
    return frozenset(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def _entries(path: str, roots: list[Root]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    def enter(inside: str, entry: os.DirEntry[str]) -> bool:
        return roots[0].leads_to(inside) and not Path(entry.path, CACHE_TAG).is_file()

    with contextlib.suppress(PermissionError):  # BuildKit will report it
        yield from walk(Path(path), *(root.ignore for root in roots), directories=True, enter=enter)


def _signature(found: os.stat_result) -> Signature:
    if stat.S_ISDIR(found.st_mode):  # the times of a directory change with every entry
        return (found.st_mode,)
    return (found.st_mode, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


def _existing(path: str) -> str:
    """Return the directory or, if it does not exist, its nearest existing parent."""
    place = Path(path)
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return str(place)
