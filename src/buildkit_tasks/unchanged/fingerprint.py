"""Identifies files and trees without reading them: by device, inode, size, mode and change time (ctime).

Programs cannot set a ctime, so a file with the same device, inode and ctime has the same bytes. The only exception,
which git calls racy, is a file that was written twice within one clock tick and inspected in between. `newest` covers
this case: an inspection is reliable only if it is clearly later than the newest ctime.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.dockerfiles.ignore import Ignore, walk

#: A ctime must be this many ns older than the inspection: more than one tick of any kernel's clock.
MARGIN = 50_000_000
#: A ctime without a fraction may come from a filesystem with a resolution of one or two seconds.
COARSE = 2_000_000_000

#: Local filesystems with stable inode numbers and ctimes in nanoseconds.
TRUSTED = frozenset({"bcachefs", "btrfs", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})


@dataclass(frozen=True)
class Tree:
    """A build context: its directory, and the Dockerfiles whose ignore files select what is sent."""

    context: Path
    dockerfiles: tuple[Path, ...] = ()


class Newer(ValueError):
    """A file changed after the given time, so the rest of the files does not matter."""


@dataclass
class Look:
    """The result of an inspection: a digest, the newest ctime in ns, and a path on each device.

    `until`: raise `Newer` for a later ctime (ns).
    """

    until: float = float("inf")
    newest: int = 0
    devices: dict[int, Path] = field(default_factory=dict)
    _lines: list[bytes] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """A digest of the files, independent of their order."""
        return hashlib.blake2b(b"\0".join(sorted(self._lines)), digest_size=32).hexdigest()

    def place(self, path: Path) -> None:
        """Add one path, and its target if it is a link. Record a missing path as missing. Raises `OSError`."""
        try:
            itself = path.lstat()
            self._add(b"place", path, itself)
            if stat.S_ISLNK(itself.st_mode):
                self._add(b"leads to", path, path.stat())
        except (FileNotFoundError, NotADirectoryError):
            self._lines.append(b"absent " + os.fsencode(path))
            above = next(p for p in path.parents if p.exists())
            self._age(above, above.stat())  # deleting it changed this directory's ctime

    def tree(self, tree: Tree) -> None:
        """Add all files and directories of a context that may be sent to BuildKit. Raises `OSError`, `ValueError`."""
        ignores = [Ignore.of(tree.context, file) for file in tree.dockerfiles] + [Ignore.of(tree.context)]
        self._add(b"context", tree.context, tree.context.stat())
        for path, entry in walk(tree.context, *ignores, directories=True):
            self._add(b"in", tree.context / path, entry.stat(follow_symlinks=False))

    def code(self, package: Path) -> None:
        """Add the files of a Python package, except Python's own caches."""
        for path, entry in walk(package, Ignore.parse("**/__pycache__\n")):
            self._add(b"code", package / path, entry.stat(follow_symlinks=False))

    def _add(self, kind: bytes, path: Path, facts: os.stat_result) -> None:
        if facts.st_ctime_ns > self.until:
            raise Newer(path)
        numbers = (facts.st_dev, facts.st_ino, facts.st_mode, facts.st_uid, facts.st_gid, facts.st_ctime_ns)
        size = -1 if stat.S_ISDIR(facts.st_mode) else facts.st_size
        self._lines.append(b"%b %d %d %d %d %d %d %d " % (kind, *numbers, size) + os.fsencode(path))
        self._age(path, facts)

    def _age(self, path: Path, facts: os.stat_result) -> None:
        self.devices.setdefault(facts.st_dev, path)
        self.newest = max(self.newest, settled(facts.st_ctime_ns))


def settled(ctime: int) -> int:
    """Return the earliest time (ns) at which another change to a file certainly gets a later ctime."""
    return ctime + (COARSE if ctime % 1_000_000_000 == 0 else MARGIN)


def project(places: Iterable[Path], trees: Sequence[Tree], until: float = float("inf")) -> Look:
    """Inspect a project's files. Raises `OSError` for unreadable files, `ValueError` for an invalid ignore file.

    Stops with `Newer` at a file that changed after `until` (ns).
    """
    found = Look(until)
    for path in places:
        found.place(path)
    for tree in trees:
        found.tree(tree)
    return found


def everything(places: Iterable[Path], trees: Sequence[Tree], package: Path) -> Look:
    """Inspect a project's files and our own code. Raises `OSError` and `ValueError`, like `project`."""
    found = project(places, trees)
    found.code(package)
    return found


def content(path: Path) -> str:
    """Return the digest of a small file's bytes, or of all files in a directory, or "" if it does not exist.

    For files that may be rewritten with the same content. Raises `OSError`.
    """
    try:
        files = sorted(path.iterdir())[:100] if path.is_dir() else [path]
        found = hashlib.blake2b(digest_size=16)
        for file in files:
            if file.exists() and not file.is_file():
                raise OSError(f"{file} is not a file")
            with file.open("rb") as opened:
                found.update(os.fsencode(file.name) + b"\0" + opened.read(1_000_000) + b"\0")
        return found.hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def untrusted(devices: Mapping[int, Path]) -> str:
    """Return the type of a filesystem with unreliable ctimes, if any; "unknown" if the system does not list it."""
    try:
        mounts = list(_mounts(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")))
    except OSError:
        return "unknown"
    for path in devices.values():
        real = os.path.realpath(path)
        over = [m for m in mounts if m[0] == "/" or real == m[0] or real.startswith(f"{m[0]}/")]
        kind = max(enumerate(over), key=lambda m: (len(m[1][0]), m[0]))[1][1] if over else "unknown"
        if kind not in TRUSTED:
            return kind
    return ""


def _mounts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the mount point and type of each filesystem, in mount order: proc(5)."""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4]
        yield re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), point), right.partition(" ")[0]
