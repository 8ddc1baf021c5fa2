"""The record of what `init` wrote: a file in the repository, needed for undo and upgrade. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildkit_tasks.core import shapes
from buildkit_tasks.core.errors import Problem

#: Its path. Commit the file, so that everyone with the repository can upgrade or undo.
PATH = "docker/.buildkit-tasks.json"
VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One file. `before`: its bytes, None if it did not exist. `written`: our text, kept only if it is derived (None:
    copied unchanged, identified by `digest`)."""

    before: bytes | None
    written: str | None
    digest: str

    def pristine(self, content: bytes) -> bool:
        """Whether the content is exactly as we wrote it; false after an upgrade merged edits into it."""
        if self.written is None:
            return digest(content) == self.digest
        return content == self.written.encode("utf-8", errors="surrogateescape")


@dataclass(frozen=True)
class Record:
    """`sources`: the user's Dockerfiles from which ours were derived; they may have been deleted since.

    `imported`: the files that `import-makefile` wrote; `init` does not touch them. `unconverted`: places and texts of
    what `init` listed in the sources and did not convert.
    """

    files: Mapping[str, Entry] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    compose: tuple[str, ...] = ()
    listed: bool = False
    mode: str = "edit"
    images: str = "keep"
    folders: tuple[str, ...] = ()
    imported: tuple[str, ...] = ()
    unconverted: tuple[tuple[str, str], ...] = ()

    @property
    def adopted(self) -> bool:
        """Whether `init` wrote anything."""
        return bool(self.files.keys() - set(self.imported))


def digest(content: bytes) -> str:
    """A short digest of a file's content."""
    return hashlib.sha256(content).hexdigest()


def dump(record: Record) -> str:
    """Serialize the record."""
    files = {
        path: {
            "before": None if e.before is None else base64.b64encode(e.before).decode(),
            "written": e.written,
            "sha256": e.digest,
        }
        for path, e in sorted(record.files.items())
    }
    document = {
        "comment": "Written by `buildkit-tasks init`; `init --undo` and `init --upgrade` read it.",
        "version": VERSION,
        "compose": list(record.compose),
        "listed": record.listed,
        "mode": record.mode,
        "images": record.images,
        "folders": list(record.folders),
        **({"imported": list(record.imported)} if record.imported else {}),
        **({"unconverted": [list(pair) for pair in record.unconverted]} if record.unconverted else {}),
        "files": files,
        "sources": dict(sorted(record.sources.items())),
    }
    return json.dumps(document, indent=1) + "\n"


def load(text: str) -> Record:
    """Parse a record. Raises `Problem` adopt-conflict if it is damaged or from a newer version."""
    try:
        document = shapes.loads(text, dict)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']}")
        files = {_safe(path): _entry(entry) for path, entry in document["files"].items()}
        return Record(
            files,
            {_safe(p): str(t) for p, t in document["sources"].items()},
            tuple(_safe(p) for p in document["compose"]),
            bool(document["listed"]),
            str(document["mode"]),
            str(document["images"]),
            tuple(_safe(p) for p in document["folders"]),
            tuple(_safe(p) for p in document.get("imported", ())),
            tuple((str(where), str(text)) for where, text in document.get("unconverted", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(
            "adopt-conflict",
            f"This version cannot read {PATH}.",
            causes=[str(error)],
            hint=f"run `git checkout {PATH}`",
        ) from None


def _entry(entry: Mapping[str, Any]) -> Entry:
    before, written = entry["before"], entry["written"]
    return Entry(
        None if before is None else base64.b64decode(before, validate=True),
        None if written is None else str(written),
        str(entry["sha256"]),
    )


def _safe(path: object) -> str:
    """Return a path below the root. The record is part of the repository, so anyone may have written it."""
    parts = str(path).split("/")
    if (
        not isinstance(path, str)
        or path.startswith("/")
        or "" in parts
        or {"..", ".", ".git"} & set(parts)
        or "\\" in path
    ):
        raise ValueError(f"unexpected path {path!r}")
    return path


def merge(base: str, theirs: str, ours: str) -> tuple[str, bool]:
    """Merge texts three-way. Returns the result and whether it has conflicts (marked as git does)."""
    if theirs in (base, ours):
        return ours, False
    if ours == base:
        return theirs, False
    import merge3

    merger = merge3.Merge3(base.splitlines(True), theirs.splitlines(True), ours.splitlines(True))
    lines: Sequence[str] = list(
        merger.merge_lines(
            name_a="yours", name_b="buildkit-tasks", start_marker="<<<<<<<", mid_marker="=======", end_marker=">>>>>>>"
        )
    )
    groups = {group[0] for group in merger.merge_groups()}
    return "".join(lines), "conflict" in groups
