"""Expand directories in compile stages that contain only programs and that images copy as a whole. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.workspaces.cargo import CargoWorkspace

from . import every, install, recipe, shipped
from .recipe import Parsed, Recipe, Stage, copied

#: Commands that do not change the names in a directory.
_HARMLESS = ("mkdir", "ls", "strip", "chmod", "chown", "du", "file", "test", "echo", "upx", "sha256sum", "ldd")


def read(
    parsed: Parsed,
    target: str,
    binaries: Collection[str],
    keep: Collection[str] = (),
    *,
    workspace: CargoWorkspace | None = None,
) -> Recipe | None:
    """Analyze a Dockerfile like `recipe.of`, and list each program that its image copies as part of a directory.

    `workspace`: the one that commands such as `cp target/release/* /out` copy every program of.
    """
    taken = recipe.of(parsed, target, keep)
    return named(taken, binaries, workspace) if taken else None


def named(taken: Recipe, binaries: Collection[str], workspace: CargoWorkspace | None = None) -> Recipe:
    """Return the recipe with each program listed in `COPY --from=STAGE /out/* …` and `COPY --from=STAGE /out …`.

    Only directories that contain nothing but workspace programs are expanded.
    """
    compiling = {stage.name for stage in taken.compiling}
    known = {stage.name: _directories(taken, stage, binaries, workspace) for stage in taken.compiling}
    renamed = shipped.renamed(taken, binaries)
    own = {name for name in binaries if renamed.get(name, name) == name}
    if not any(known.values()):
        return taken

    def item_of(item: Instruction) -> Instruction:
        copy = copied(item, taken.values)
        if copy is None or copy.stage.lower() not in compiling:
            return item
        held = {place: names for stage in known.values() for place, names in stage.items()}
        listed = [_files(source, held, own) for source in copy.sources]
        sources = [each for files in listed for each in files]
        if sources == list(copy.sources):
            return item
        lead = item.rest[: len(item.rest) - len(syntax.flags(item)[1])]
        folder = any(posixpath.normpath(re.sub(r"/\*$", "", source)) in held for source in copy.sources)
        words = [*sources, copy.destination.rstrip("/") + "/" if folder else copy.destination]
        return replace(item, rest=f"{lead}{json.dumps(words)}")

    def stages_of(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return tuple(replace(stage, items=tuple(map(item_of, stage.items))) for stage in stages)

    return replace(taken, final=stages_of(taken.final), side=stages_of(taken.side))


def _files(source: str, held: Mapping[str, tuple[str, ...]], own: Collection[str]) -> list[str]:
    """Return the files that a COPY source refers to: those in a directory, with or without `/*`; else itself.

    `own`: the programs that keep their names; they are returned as cargo's output.
    """
    place = posixpath.normpath(posixpath.join("/", re.sub(r"/\*$", "", source)))
    folder, name = posixpath.split(place)
    names = held.get(place) or ((name,) if name in held.get(folder, ()) and name in own else ())
    folder = place if place in held else folder
    return [posixpath.join("/target/release" if n in own else folder, n) for n in names] or [source]


def _directories(
    taken: Recipe, stage: Stage, binaries: Collection[str], workspace: CargoWorkspace | None
) -> dict[str, tuple[str, ...]]:
    """Map each directory that the stage fills with nothing but programs to the names of these programs."""
    found: dict[str, dict[str, None]] = {}
    renamed = shipped.renamed(taken, binaries)
    mixed: list[str] = []
    made: set[str] = set()
    for workdir, item in _placed(taken, stage):
        if item.keyword != "RUN":
            copy = copied(item, taken.values)
            mixed += [posixpath.join(workdir, copy.destination)] if copy else []
            continue
        text = syntax.expand(install.unrolled(f"{syntax.flags(item)[1]}\n{item.body}"), taken.values)
        for command in install.commands(text):
            words = syntax.words(command)
            everything = every.destination(command)
            if everything and workspace:
                place = posixpath.normpath(posixpath.join(workdir, everything))
                if place in made or everything.endswith(("/", "/.")):
                    built = every.programs(taken, stage, workspace)
                    found.setdefault(place, {}).update(dict.fromkeys(built))
                    continue
            if words[:1] == ["mkdir"]:
                made |= {posixpath.normpath(posixpath.join(workdir, word)) for word in words[1:]}
            sources, target = shipped.copied_files(command)
            names = [posixpath.basename(source) for source in sources]
            known = [name in binaries or name in renamed for name in names]
            if target and all(known) and all(re.search(r"target|release|debug", source) for source in sources):
                place = posixpath.normpath(posixpath.join(workdir, target))
                if not (len(names) > 1 or target.endswith(("/", "/.")) or place in made):
                    place, name = posixpath.split(place)
                    names = [name]
                found.setdefault(place, {}).update(dict.fromkeys(names))
            elif words and (posixpath.basename(words[0]) not in _HARMLESS or ">" in command):
                mixed += [posixpath.join(workdir, word) for word in words if not word.startswith("-")]
    touched = {posixpath.normpath(word) for word in mixed}
    return {
        place: tuple(names)
        for place, names in found.items()
        if not any(word == place or word.startswith(f"{place}/") for word in touched) and place not in ("/", ".")
    }


def _placed(taken: Recipe, stage: Stage) -> Iterator[tuple[str, Instruction]]:
    """Yield the instructions of a stage that can write files, each with its working directory."""
    workdir = "/"
    for item in stage.items:
        if item.keyword == "WORKDIR":
            workdir = posixpath.join(workdir, syntax.expand(item.rest.strip("\"'"), taken.values))
        elif item.keyword in ("RUN", "COPY", "ADD"):
            yield workdir, item
