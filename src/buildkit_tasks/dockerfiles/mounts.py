"""Parses the mounts of a Dockerfile's RUN lines."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from .syntax import Instruction, _flags, defaults, expand, instructions


@dataclass(frozen=True)
class Mount:
    """The options of a `RUN --mount=…`. As in BuildKit, `type` defaults to bind."""

    options: Mapping[str, str]
    line: int

    @property
    def type(self) -> str:
        """bind, cache, secret, ssh or tmpfs."""
        return self.options.get("type", "bind")

    @property
    def target(self) -> str:
        """Where it is mounted, as written; empty if it has no target."""
        return self.options.get("target") or self.options.get("dst") or self.options.get("destination") or ""

    @property
    def identity(self) -> str:
        """The id of a cache mount, by default its normalized target, as in BuildKit."""
        return self.options.get("id") or (posixpath.normpath(self.target) if self.target else "")


def mounts(text: str) -> tuple[Mount, ...]:
    """Return every `--mount` of every RUN."""
    return tuple(mount for item in instructions(text) for mount in run_mounts(item))


def run_mounts(item: Instruction) -> tuple[Mount, ...]:
    """Return the `--mount`s of an instruction, each with its line; empty if it is not a RUN."""
    if item.keyword != "RUN":
        return ()
    found = []
    for spec, written in ((value, written) for name, value, written in _flags(item)[0] if name == "mount"):
        pairs = (part.strip("\"'").partition("=") for part in spec.split(","))
        options = {name.strip().lower(): value.strip("\"'") for name, _, value in pairs}
        found.append(Mount(options, item.line_of(written)))
    return tuple(found)


def cache_ids(text: str, args: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the cache mounts, with ARGs expanded. A mount without an id uses its target, as in BuildKit."""
    values = {**defaults(text), **args}
    found: dict[str, None] = {}
    for mount in mounts(text):
        if mount.type == "cache":
            found[expand(mount.identity, values)] = None
    return tuple(found)
