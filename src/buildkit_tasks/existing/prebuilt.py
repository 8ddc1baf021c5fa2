"""Handle Dockerfiles that copy a program compiled elsewhere (CI, a script). Every other line is kept."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from . import recipe
from .cargo_command import Cargo
from .recipe import Copy, Parsed, Recipe, Stage

KIND = "prebuilt"
#: Affixes of program file names.
_PLATFORM = re.compile(
    r"[-_.]?(?:\$\{?\w+\}?|linux|unknown|gnu|musl|x86_64|amd64|aarch64|arm64|release|v?\d+(?:\.\d+)+)(?=[-_.]|$|\$)"
)


def read(parsed: Parsed, target: str, binaries: Collection[str], is_dir: Callable[[str], bool]) -> Recipe | None:
    """Analyze a Dockerfile that compiles nothing; None if it does not copy a program of the repository.

    `is_dir` returns whether a path in the build context is a directory of the repository and thus not a program.
    """
    found = _recipe(parsed, target)
    if found is None:
        return None
    sources = {source for copy in _copies(found) if not copy.stage for source in copy.sources}
    found = replace(found, folders=frozenset(source for source in sources if is_dir(source.strip("/") or ".")))
    if not any(program(copy, binaries, found) for copy in _copies(found)):
        return None
    used = {copy.stage.lower() for copy in _copies(found) if copy.stage and not program(copy, binaries, found)}
    # an image used only to copy programs from is no longer needed
    side = tuple(s for s in found.side if s.items or s.name in used or s.name in _bases(found.side))
    return replace(found, side=side)


def _recipe(parsed: Parsed, target: str) -> Recipe | None:
    """Return the final stages of a Dockerfile that compiles nothing, and the stages they copy from."""
    found = parsed.stages
    if not found or any(s.compiles for s in found):
        return None
    by_name = {stage.name: stage for stage in found}
    final, _ = parsed.needed(target)
    needed = recipe.inputs_of(final, by_name)
    kept = {a.name for s in found if s.name in needed for a in recipe.chain(s, by_name)} - {s.name for s in final}
    side = tuple(s for s in found if s.name in kept)
    asked = Cargo(profile="release")
    return Recipe(
        parsed.path,
        KIND,
        found,
        final,
        side,
        (),
        "",
        final[0].base,
        asked,
        parsed.values,
        parsed.header,
        final[-1].name,
    )


def _bases(stages: Sequence[Stage]) -> frozenset[str]:
    return frozenset(name for stage in stages for name in (stage.base.lower(), *recipe.sources(stage)))


#: Images without glibc. A program built for them is linked statically or with musl.
_NO_GLIBC = re.compile(
    r"scratch$|(?:.*/)?(?:alpine|busybox)(?:[:@].*)?$|.*(?:distroless|chainguard)/static(?:[-:@].*)?$"
)


def target(taken: Recipe) -> str:
    """Return `gnu` if the image has no glibc, so the program cannot use shared libraries; else empty."""
    return "gnu" if taken.kind == KIND and _NO_GLIBC.match(taken.runtime) else ""


def _copies(taken: Recipe) -> list[Copy]:
    made = [recipe.copied(item, taken.values) for stage in taken.final for item in stage.items]
    busy = {stage.name for stage in taken.stages if stage.items}
    return [copy for copy in made if copy and copy.stage.lower() not in busy]


def programs(taken: Recipe, binaries: Collection[str]) -> dict[str, str]:
    """Map programs to their paths in the image."""
    named = ((program(copy, binaries, taken), copy.destination) for copy in _copies(taken))
    return {name: place for name, place in named if name}


def program(copy: Copy, binaries: Collection[str], taken: Recipe) -> str:
    """Return the program that a COPY copies from the context, by its old or new name, or from cargo's directory in
    another image; empty for other files and for directories."""
    if len(copy.sources) != 1:
        return ""
    if copy.stage:
        built = recipe.OUTPUT.search(copy.sources[0])
        return built[1] if built and built[1] in binaries and "target/" in copy.sources[0] else ""
    if copy.sources[0] in taken.folders:
        return ""
    source = posixpath.basename(copy.sources[0].rstrip("/"))
    new = "" if copy.destination.endswith("/") else posixpath.basename(copy.destination)
    for name in (new, source, _PLATFORM.sub("", source)):
        if name in binaries and not re.search(r"(?:^|/)src(?:/|$)", copy.sources[0]):
            return name
    return ""
