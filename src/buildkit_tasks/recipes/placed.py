"""Where a compile stage puts the files of the build context."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import recipe
from buildkit_tasks.existing.recipe import Stage


def directories(stage: Stage, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the directories of a stage and the context paths copied to them, deepest first."""
    workdir, found = "/", []
    for item in stage.items:
        if item.keyword == "WORKDIR":
            workdir = posixpath.join(workdir, syntax.expand(item.rest, values))
        copy = recipe.copied(item, values)
        if copy and not copy.stage:
            place = posixpath.normpath(posixpath.join(workdir, copy.destination))
            found += [(place, s.strip("/") or ".") for s in copy.sources if len(copy.sources) == 1]
    return sorted(found, key=lambda pair: -len(pair[0]))


def in_context(placed: Sequence[tuple[str, str]], context: str, target: str) -> str | None:
    """Return the context path for a path in the compile stage; None if no COPY created it."""
    for place, origin in placed:
        if target == place or target.startswith(place.rstrip("/") + "/"):
            rest = posixpath.relpath(target, place)
            return posixpath.normpath(posixpath.join(context, origin, rest))
    return None


def mounts_context(item: Instruction) -> bool:
    """Return whether a RUN reads files of the build context from a mount."""
    return any(mount.type == "bind" and "from" not in mount.options for mount in mounts.run_mounts(item))
