"""Expand directories in compile stages that contain only programs and that images copy as a whole. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction

from . import install, recipe, shipped
from .recipe import Recipe, Stage, copied

#: Commands that do not change the names in a directory.
_HARMLESS = ("mkdir", "ls", "strip", "chmod", "chown", "du", "file", "test", "echo", "upx", "sha256sum", "ldd")


def read(
    path: str,
    text: str,
    args: Mapping[str, str],
    target: str,
    binaries: Collection[str],
    keep: Collection[str] = (),
) -> Recipe | None:
    """Analyze a Dockerfile like `recipe.read`, and list each program that its image copies as part of a directory."""
    taken = recipe.read(path, text, args, target, keep)
    return named(taken, binaries) if taken else None


def named(taken: Recipe, binaries: Collection[str]) -> Recipe:
    """Return the recipe with each program listed in `COPY --from=STAGE /out/* …` and `COPY --from=STAGE /out …`.

    Only directories that contain nothing but workspace programs are expanded.
    """
    compiling = {stage.name for stage in taken.compiling}
    known = {stage.name: _directories(taken, stage, binaries) for stage in taken.compiling}
    if not any(known.values()):
        return taken

    def item_of(item: Instruction) -> Instruction:
        copy = copied(item, taken.values)
        if copy is None or copy.stage.lower() not in compiling:
            return item
        held = {place: names for stage in known.values() for place, names in stage.items()}
        sources = [each for source in copy.sources for each in _files(source, held)]
        if sources == list(copy.sources):
            return item
        lead = item.rest[: len(item.rest) - len(syntax.flags(item)[1])]
        words = [*sources, copy.destination.rstrip("/") + "/"]
        return replace(item, rest=f"{lead}{json.dumps(words)}")

    def stages_of(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return tuple(replace(stage, items=tuple(map(item_of, stage.items))) for stage in stages)

    return replace(taken, final=stages_of(taken.final), side=stages_of(taken.side))


def _files(source: str, held: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the files that a COPY source refers to: those in a directory, with or without `/*`; else itself."""
    place = posixpath.normpath(posixpath.join("/", re.sub(r"/\*$", "", source)))
    return [posixpath.join(place, name) for name in held[place]] if place in held else [source]


def _directories(taken: Recipe, stage: Stage, binaries: Collection[str]) -> dict[str, tuple[str, ...]]:
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
