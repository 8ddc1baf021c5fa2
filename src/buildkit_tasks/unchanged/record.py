"""The record of a finished build, parsed strictly and replaced atomically. Safe to delete."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.core import readfile, shapes

from .fingerprint import Tree

_VERSION = 1
#: Directory of the records in a checkout's state directory.
FOLDER = "unchanged"
#: Maximum size in bytes; the paths of a large project's compose files and Dockerfiles take a few thousand.
LARGEST = 1_000_000
#: Maximum number of records, one per request and working directory; the oldest are deleted.
KEPT = 16


@dataclass(frozen=True)
class Target:
    """One image: its service, the digest reported by the build, its names, and the ids that engines may use for it."""

    service: str
    image: str
    digest: str
    tags: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Moment:
    """A point in time: ns since the epoch, the machine's boot id, and ns since boot, which cannot be set back."""

    wall: int
    boot: str
    running: int


@dataclass(frozen=True)
class Record:
    """The inputs and results of a successful build. Values of variables are stored only as a salted digest."""

    request: str
    salt: str
    environment: str
    harmless: tuple[str, ...]
    written: Moment
    places: tuple[str, ...]
    trees: tuple[Tree, ...]
    look: str
    contents: str
    engine: str
    engine_version: str
    bases: Mapping[str, str]
    targets: tuple[Target, ...]
    incremental: bool


def load(path: Path) -> Record | None:
    """Load a record. Return None if it does not exist or is not in exactly our format."""
    try:
        content = shapes.loads(readfile.content(path, LARGEST), dict)
        if content["version"] != _VERSION:
            return None
        fields: dict[str, Any] = {name: content[name] for name in Record.__dataclass_fields__}
        texts = ("request", "salt", "environment", "look", "contents", "engine", "engine_version")
        if not all(isinstance(fields[name], str) and fields[name] for name in texts if name != "engine_version"):
            return None
        if not isinstance(fields["incremental"], bool):
            return None
        written = Moment(**fields["written"])
        if not (isinstance(written.wall, int) and isinstance(written.running, int) and isinstance(written.boot, str)):
            return None
        return Record(
            **{name: str(fields[name]) for name in texts},
            harmless=_texts(fields["harmless"]),
            written=written,
            places=tuple(map(_absolute, _texts(fields["places"]))),
            trees=tuple(
                Tree(Path(_absolute(tree["context"])), tuple(Path(_absolute(f)) for f in _texts(tree["dockerfiles"])))
                for tree in _list(fields["trees"])
            ),
            bases=dict(zip(_texts(list(fields["bases"])), _texts(list(fields["bases"].values())), strict=True)),
            targets=tuple(map(_target, _list(fields["targets"]) or [None])),  # a record without images proves nothing
            incremental=fields["incremental"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # missing or corrupt: the next build runs BuildKit


def save(path: Path, record: Record) -> None:
    """Replace a record, and delete the oldest records if there are too many. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {"version": _VERSION, **asdict(record)}
    from buildkit_tasks.core import files  # late: an up-to-date build writes nothing

    files.replace(path, json.dumps(content, default=os.fspath), mode=0o600, durable=False)
    with contextlib.suppress(OSError):
        for old in sorted(path.parent.iterdir(), key=lambda p: p.stat().st_mtime_ns, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)


def _target(content: Mapping[str, Any]) -> Target:
    service, image, digest = _texts([content["service"], content["image"], content["digest"]])
    return Target(service, image, digest, _some(content["tags"]), _some(content["ids"]))


def forget(state: Path) -> None:
    """Remove all records of a checkout, so its next builds run BuildKit."""
    with contextlib.suppress(OSError):
        for path in (state / FOLDER).iterdir():
            path.unlink(missing_ok=True)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not all(isinstance(text, str) and "\0" not in text for text in _list(value)):
        raise TypeError
    return tuple(value)


def _some(value: Any) -> tuple[str, ...]:
    """Return a non-empty list of non-empty strings. Empty ones would prove nothing."""
    texts = _texts(value)
    if not texts or not all(texts):
        raise ValueError
    return texts


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError
    return text
