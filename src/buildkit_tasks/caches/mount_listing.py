"""Parses the listing of a cache mount, which was created inside the builder. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

#: A line of the listing: mode, number of 512-byte blocks, modification time, inode, path (without the leading `./`).
_ENTRY = re.compile(r"(?P<mode>[0-9a-f]+) (?P<blocks>\d+) (?P<mtime>\d+) (?P<inode>\d+) \./(?P<path>.*)")


@dataclass(frozen=True)
class Entry:
    """A file or directory. `size` in bytes on disk; `mtime` in seconds since the epoch."""

    path: str
    size: int
    mtime: int
    inode: int
    directory: bool


@dataclass(frozen=True)
class Content:
    """The listing of a mount. `texts`: fingerprints and lock files by path; `generation`: changes with each build."""

    entries: tuple[Entry, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    generation: str = ""


def read(listing: str, texts: str, generation: str = "") -> Content:
    """Parse the lines of `find -exec stat` and `grep -H`. Skips unusual names, which cargo never creates."""
    entries = []
    for line in listing.splitlines():
        if found := _ENTRY.fullmatch(line):
            directory = found["mode"].startswith("4")
            entries.append(
                Entry(found["path"], int(found["blocks"]) * 512, int(found["mtime"]), int(found["inode"]), directory)
            )
    kept: dict[str, list[str]] = {}
    for line in texts.splitlines():
        path, colon, text = line.partition(":")
        if colon:
            kept.setdefault(path.removeprefix("./"), []).append(text)
    return Content(tuple(entries), {p: "\n".join(lines) for p, lines in kept.items()}, generation.strip())
