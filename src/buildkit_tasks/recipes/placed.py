"""Where a compile stage puts the files of the build context."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import recipe
from buildkit_tasks.existing.recipe import Stage
from buildkit_tasks.survey.finding import Note, Service
from buildkit_tasks.workspaces.tree import Tree

from .stage_lines import short

#: Files that cargo reads at their paths.
_READ = re.compile(
    r"(?:^|/)(?:\.cargo(?:/config(?:\.toml)?)?|Cargo\.(?:toml|lock)|rust-toolchain(?:\.toml)?|build\.rs)$"
)


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


def are_sources(
    placed: Sequence[tuple[str, str]], context: str, exists: Callable[[str], bool]
) -> Callable[[str], bool]:
    """Return a test of whether a path in the compile stage is among the sources. With the sources in `/`, a path is
    only if the repository has it."""

    def is_source(path: str) -> bool:
        origin = in_context([(place, source) for place, source in placed if place != "/"], context, path)
        root = in_context([(place, source) for place, source in placed if place == "/"], context, path)
        return origin is not None or (root is not None and exists(root))

    return is_source


def mounts_context(item: Instruction) -> bool:
    """Return whether a RUN reads files of the build context from a mount."""
    return any(mount.type == "bind" and "from" not in mount.options for mount in mounts.run_mounts(item))


def displaced(services: Sequence[Service], files: Tree) -> list[Note]:
    """Return a note for each file or directory that a compile stage copies into the directory of another COPY, at a
    path that it does not have in the repository."""
    found: list[Note] = []
    for service in services:
        taken = service.recipe
        for stage in (s for s in taken.compiling if s.compiles) if taken else ():
            workdir, before = "/", list[tuple[str, str]]()
            for item in stage.items:
                copy = recipe.copied(item, taken.values if taken else {})
                if item.keyword == "WORKDIR":
                    workdir = posixpath.join(workdir, syntax.expand(item.rest, taken.values if taken else {}))
                if copy is None or copy.stage or len(copy.sources) != 1:
                    continue
                source = posixpath.normpath(posixpath.join(service.context, copy.sources[0].strip("/") or "."))
                place = posixpath.normpath(posixpath.join(workdir, copy.destination))
                if not files.is_dir(source) and copy.destination.endswith(("/", ".")):
                    place = posixpath.join(place, posixpath.basename(source))
                path = in_context([pair for pair in before if pair[1] != "."], service.context, place)
                if path not in (None, source) and source != "." and _concerns_cargo(files, source, place):
                    text = "not converted, because the compile step reads files at their paths in the repository: "
                    found.append(Note(f"{stage.path}:{item.line}", f"{text}{short(item)}", True))
                if _concerns_cargo(files, source, place):
                    before.append((place, posixpath.normpath(copy.sources[0].strip("/") or ".")))
                    before.sort(key=lambda pair: -len(pair[0]))
    return list(dict.fromkeys(found))


def _concerns_cargo(files: Tree, source: str, place: str) -> bool:
    return bool(_READ.search(source) or _READ.search(place)) or any(
        p.endswith((".rs", "Cargo.toml")) for p in files.below(source)
    )
