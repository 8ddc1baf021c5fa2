"""Choose the workspace and the main program of a service from its Dockerfile and compose entry. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import prebuilt, recipe, shipped
from buildkit_tasks.workspaces.cargo import CargoWorkspace

from .finding import Program


def only(spaces: Sequence[CargoWorkspace], context: str) -> CargoWorkspace | None:
    """Return the workspace whose programs cargo builds in a context; None if it has several."""
    found = [w for w in spaces if w.binaries]
    here = [w for w in found if w.directory == context]
    return here[0] if here else found[0] if len(found) == 1 else None


def workspaces(
    spaces: Sequence[CargoWorkspace], context: str, taken: recipe.Recipe, entry: Mapping[str, Any], sources: str
) -> list[CargoWorkspace]:
    """Return the workspaces that a context may refer to, best first: with crates in it, or containing it."""
    started = {posixpath.basename(word) for word in _started(taken, entry)}
    copied = [
        posixpath.normpath(posixpath.join(context, source.strip("/") or "."))
        for stage in taken.compiling
        for item in stage.items
        for copy in [recipe.copied(item, taken.values)]
        if copy and not copy.stage
        for source in copy.sources
    ]

    def rank(workspace: CargoWorkspace) -> tuple[int, int, int, int]:
        inside = workspace.directory == sources or sources == "." or workspace.directory.startswith(f"{sources}/")
        member = any(p.directory == sources for p in workspace.packages)
        named = any(c == workspace.directory or c == workspace.path("Cargo.toml") for c in copied)
        return (
            0 if workspace.directory == sources or member else 1,
            0 if named else 1,
            0 if started & workspace.binaries.keys() else 1,
            workspace.directory.count("/") if inside else 99,
        )

    found = [s for s in spaces if rank(s)[3] < 99 or any(p.directory == sources for p in s.packages)]
    return sorted(found, key=rank)


def programs(workspace: CargoWorkspace, taken: recipe.Recipe) -> tuple[Program, ...]:
    if taken.kind == prebuilt.KIND:
        return tuple(Program(name, place) for name, place in prebuilt.programs(taken, workspace.binaries).items())
    found: dict[str, Program] = {}
    renamed, there = shipped.renamed(taken, workspace.binaries), shipped.places(taken, workspace.binaries)
    for copy in recipe.copies(taken):
        for source in copy.sources:
            name = there.get(posixpath.normpath(posixpath.join("/", source)))
            name = name or renamed.get(posixpath.basename(source)) or shipped.program(source, workspace.binaries)
            if name:
                found.setdefault(name, Program(name, copy.destination))
    return tuple(found.values())


def main(
    workspace: CargoWorkspace, programs: Sequence[Program], taken: recipe.Recipe, service: str, entry: Mapping[str, Any]
) -> str:
    """Return the main program of a service: shipped, selected by `--bin` or `-p`, started, or named like it."""
    names = [p.name for p in programs]
    started = [posixpath.basename(w) for w in _started(taken, entry)]
    asked = [*taken.cargo.binaries, *taken.cargo.packages]
    for wanted in (
        [p.name for p in programs if p.name in started or posixpath.basename(p.path) in started],
        names if len(names) == 1 else [],
        [n for n in names if n == service],
        [n for n in names if n in asked],
        names,
        [n for n in (*started, *asked, service) if n in workspace.binaries],
        [b for p in workspace.packages if p.name in asked and len(p.binaries) == 1 for b in p.binaries],
        [
            b
            for p in workspace.packages
            if p.directory.rpartition("/")[2] == service and len(p.binaries) == 1
            for b in p.binaries
        ],
        list(workspace.binaries) if len(workspace.binaries) == 1 else [],
    ):
        if wanted:
            return wanted[0]
    return ""


def _started(taken: recipe.Recipe, entry: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for key in ("entrypoint", "command"):
        given = entry.get(key)
        words += given if isinstance(given, list) else str(given or "").split()
    for stage in taken.image[-1:]:
        for item in stage.items:
            if item.keyword in ("ENTRYPOINT", "CMD"):
                words += syntax.json_words(item.rest) or syntax.words(item.rest)
    return [syntax.expand(str(w), taken.values) for w in words]
