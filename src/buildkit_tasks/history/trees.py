"""A build context as a tree of digests, one per directory, so comparing two states skips identical directories.

Each file is read once. Afterwards, it is recognized by inode, change time and size, as in git's index.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.dockerfiles.ignore import Ignore, walk

#: Per name: ["f", mode, size, digest], ["l", target], ["d", mode, digest of its listing] or ["s", kind].
Listing = dict[str, list[Any]]
#: Finds a listing by its digest; None if it is missing.
Find = Callable[[str], "Listing | None"]

#: Maximum number of bytes that a build reads for its record. Beyond that, only inode and change time are used.
READ_AT_MOST = 4_000_000_000
#: A change time is trusted once it is this old (ns), even on file systems that store only whole seconds.
_SETTLED = 2_000_000_000


@dataclass(frozen=True)
class Known:
    """The state of a file when it was read: device, inode and change time (ns), its size, and its digest."""

    device: int
    inode: int
    ctime: int
    size: int
    digest: str

    def same(self, facts: os.stat_result) -> bool:
        """Return whether this is the same file, unchanged."""
        now = (facts.st_dev, facts.st_ino, facts.st_ctime_ns, facts.st_size)
        return now == (self.device, self.inode, self.ctime, self.size)


@dataclass(frozen=True)
class Tree:
    """The state of a directory: the digest of its root's listing, and every listing by digest.

    `fresh`: newly read files to remember; `gone`: remembered files that no longer exist; `newest`: when
    a file last changed (ns); `young`: files that were read, but may still change without a new change time.
    """

    root: str
    listings: Mapping[str, Listing]
    fresh: Mapping[str, Known]
    gone: tuple[str, ...] = ()
    newest: int = 0
    young: Mapping[str, Known] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One difference between two states. `how`: changed, added, removed, mode, link or kind."""

    path: str
    how: str


def read(root: Path, ignore: Ignore, known: Mapping[str, Known], key: bytes) -> Tree:
    """Return the state of the files that a build sends. Only reads files that are not `known`. Raises `OSError`."""
    nodes: dict[str, Listing] = {"": {}}
    modes: dict[str, int] = {}
    fresh: dict[str, Known] = {}
    young: dict[str, Known] = {}
    left, seen, newest = READ_AT_MOST, set(), 0
    for path, entry in walk(root, ignore, directories=True):
        folder, _, name = path.rpartition("/")
        facts = entry.stat(follow_symlinks=False)
        listing = nodes.setdefault(folder, {})
        newest = max(newest, facts.st_ctime_ns)
        if stat.S_ISDIR(facts.st_mode):
            nodes.setdefault(path, {})
            modes[path] = stat.S_IMODE(facts.st_mode)
        elif stat.S_ISLNK(facts.st_mode):
            listing[name] = ["l", os.readlink(entry.path)]  # noqa: PTH115
        elif stat.S_ISREG(facts.st_mode):
            seen.add(path)
            old = known.get(path)
            if old is not None and old.same(facts):
                digest = old.digest
            elif facts.st_size <= left:
                left -= facts.st_size
                digest, settled = _content(entry.path, facts, key)
                found = Known(facts.st_dev, facts.st_ino, facts.st_ctime_ns, facts.st_size, digest)
                (fresh if settled else young)[path] = found
            else:
                digest = f"~{facts.st_ino}-{facts.st_ctime_ns}"
            listing[name] = ["f", stat.S_IMODE(facts.st_mode), facts.st_size, digest]
        else:
            listing[name] = ["s", stat.S_IFMT(facts.st_mode)]
    listings, top = _fold(nodes, modes, key, keep_empty=not ignore.patterns)
    return Tree(top, listings, fresh, tuple(path for path in known if path not in seen), newest, young)


def _content(path: str, facts: os.stat_result, key: bytes) -> tuple[str, bool]:
    """Return the digest of a file, and whether its change time is enough to recognize it from now on."""
    found = hashlib.blake2b(key=key, digest_size=16)
    with open(path, "rb") as file:  # noqa: PTH123 - for 50,000 files, Path objects would cost more than reading
        while chunk := file.read(1_048_576):
            found.update(chunk)
        after = os.fstat(file.fileno())
    same = (after.st_ino, after.st_ctime_ns, after.st_size) == (facts.st_ino, facts.st_ctime_ns, facts.st_size)
    return found.hexdigest(), same and facts.st_ctime_ns + _SETTLED < time.time_ns()


def _fold(
    nodes: Mapping[str, Listing], modes: Mapping[str, int], key: bytes, *, keep_empty: bool
) -> tuple[dict[str, Listing], str]:
    """Return every listing by digest, and the root's digest. Directories emptied by an ignore file are not sent."""
    listings: dict[str, Listing] = {}
    top = ""
    for path in sorted(nodes, key=lambda p: (-p.count("/") if p else 1, p)):
        listing = nodes[path]
        if path and not listing and not keep_empty:
            continue
        digest = digest_of(listing, key)
        listings[digest] = listing
        if path:
            folder, _, name = path.rpartition("/")
            nodes[folder][name] = ["d", modes.get(path, 0), digest]
        else:
            top = digest
    return listings, top


def digest_of(value: Any, key: bytes) -> str:
    """Return the digest of a value that can be represented as JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=key, digest_size=16).hexdigest()


def digest_of_bytes(data: bytes, key: bytes) -> str:
    """Return the digest of a file with this content."""
    return hashlib.blake2b(data, key=key, digest_size=16).hexdigest()


def select(root: str, find: Find, patterns: Sequence[str]) -> dict[str, list[Any]]:
    """Return the entries that COPY patterns select, by path; without patterns, all top-level entries."""
    top = find(root)
    if top is None:
        return {}
    if not patterns:
        return {"": ["d", 0, root]}
    found: dict[str, list[Any]] = {}
    for pattern in patterns:
        found.update(_matching(top, find, [part for part in pattern.split("/") if part != "."], ""))
    return found


def _matching(listing: Listing, find: Find, parts: Sequence[str], above: str) -> Iterator[tuple[str, list[Any]]]:
    first, rest = parts[0], parts[1:]
    wild = any(char in first for char in "*?[\\")
    expression = re.compile(fnmatch.translate(first.replace("\\", "")) if wild else re.escape(first), re.DOTALL)
    names = [name for name in listing if expression.fullmatch(name)] if wild else [first] if first in listing else []
    for name in names:
        entry, path = listing[name], f"{above}{name}"
        if not rest:
            yield path, entry
        elif entry[0] == "d" and (below := find(entry[2])) is not None:
            yield from _matching(below, find, rest, f"{path}/")


def changes(before: Mapping[str, list[Any]], now: Mapping[str, list[Any]], find: Find) -> list[Change]:
    """Return the differences between two selections, files before the directories that changed only because of them."""
    found: list[Change] = []
    for path in sorted({*before, *now}):
        found += _changes(before.get(path), now.get(path), path, find)
    return found


def _changes(old: list[Any] | None, new: list[Any] | None, path: str, find: Find) -> Iterator[Change]:
    if old == new:
        return
    if old is None or new is None:
        entry = new if old is None else old
        how = "added" if old is None else "removed"
        files = list(_files(entry or [], path, find))
        yield from (Change(file, how) for file in files or [path])
    elif old[0] != new[0]:
        yield Change(path, "kind")
    elif old[0] == "l":
        yield Change(path, "link")
    elif old[0] == "f":
        yield Change(path, "changed" if old[2:] != new[2:] else "mode")
    elif old[0] == "d":
        if old[1] != new[1]:
            yield Change(path, "mode")
        if old[2] != new[2]:
            here, there = find(old[2]), find(new[2])
            if here is None or there is None:
                yield Change(path or ".", "changed")
                return
            for name in sorted({*here, *there}):
                yield from _changes(here.get(name), there.get(name), f"{path}/{name}" if path else name, find)


def _files(entry: Sequence[Any], path: str, find: Find) -> Iterator[str]:
    """Yield the files of an entry; for a directory, all files below it."""
    if not entry or entry[0] != "d":
        yield path
        return
    for name, below in sorted((find(entry[2]) or {}).items()):
        yield from _files(below, f"{path}/{name}", find)


def missing(tree: Tree, has: Callable[[str], bool]) -> Iterable[str]:
    """Yield the digests of listings missing from a store. A stored directory implies everything below it."""
    todo, seen = [tree.root], set()
    while todo:
        digest = todo.pop()
        if digest in seen or has(digest):
            continue
        seen.add(digest)
        yield digest
        todo += [entry[2] for entry in tree.listings[digest].values() if entry[0] == "d"]
