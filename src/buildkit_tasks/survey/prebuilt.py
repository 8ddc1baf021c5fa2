"""Dockerfiles that copy a program compiled elsewhere (CI, a script): everything except that line is kept."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping

from . import recipe
from .recipe import Copy, Recipe

KIND = "prebuilt"
#: Affixes of program file names.
_PLATFORM = re.compile(
    r"[-_.]?(?:\$\{?\w+\}?|linux|unknown|gnu|musl|x86_64|amd64|aarch64|arm64|release|v?\d+(?:\.\d+)+)(?=[-_.]|$|\$)"
)


def read(path: str, text: str, args: Mapping[str, str], target: str, binaries: Collection[str]) -> Recipe | None:
    """Analyze a Dockerfile that compiles nothing; None if it does not copy a program of the repository."""
    found = recipe.stages_of(path, text, args, target, KIND)
    if found is None or not any(program(copy, binaries) for copy in _copies(found)):
        return None
    return found


#: Images without glibc: a program made for them was linked statically, or with musl.
_NO_GLIBC = re.compile(
    r"scratch$|(?:.*/)?(?:alpine|busybox)(?:[:@].*)?$|.*(?:distroless|chainguard)/static(?:[-:@].*)?$"
)


def target(taken: Recipe) -> str:
    """`gnu`, if the program must not need shared libraries, because the image has no glibc; else empty."""
    return "gnu" if taken.kind == KIND and _NO_GLIBC.match(taken.runtime) else ""


def _copies(taken: Recipe) -> list[Copy]:
    made = [recipe.copied(item, taken.values) for stage in taken.final for item in stage.items]
    return [copy for copy in made if copy and not copy.stage]


def programs(taken: Recipe, binaries: Collection[str]) -> dict[str, str]:
    """Maps programs to their paths in the image."""
    named = ((program(copy, binaries), copy.destination) for copy in _copies(taken))
    return {name: place for name, place in named if name}


def program(copy: Copy, binaries: Collection[str]) -> str:
    """The program that a COPY from the context copies, by its old or new name; empty for other files."""
    if copy.stage or len(copy.sources) != 1:
        return ""
    source = posixpath.basename(copy.sources[0].rstrip("/"))
    for name in (posixpath.basename(copy.destination.rstrip("/")), source, _PLATFORM.sub("", source)):
        if name in binaries and not re.search(r"(?:^|/)src(?:/|$)", copy.sources[0]):
            return name
    return ""
