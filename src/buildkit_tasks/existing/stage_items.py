"""List the commands that the stages of a Dockerfile run and the arguments they declare. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from buildkit_tasks.dockerfiles import syntax

from .recipe import Recipe, Stage, copies


def runs(stages: Iterable[Stage]) -> list[str]:
    """Return the commands of each RUN, with its options and here-documents."""
    return [f"{i.rest}\n{i.body}" for stage in stages for i in stage.items if i.keyword == "RUN"]


def arguments(stages: Iterable[Stage]) -> list[tuple[str, str | None]]:
    """Return the arguments that stages declare; the value is None if not set."""
    return [pair for stage in stages for i in stage.items if i.keyword == "ARG" for pair in syntax.assignments(i)]


def declared(taken: Recipe) -> set[str]:
    """Return the arguments that a Dockerfile declares."""
    return {name for name, _ in arguments(taken.stages)} | {
        name for line in taken.header for name in syntax.arguments(line.text)
    }


def shipped(taken: Recipe) -> set[str]:
    """Return the paths that the image and other kept stages copy from the compile stages."""
    return {posixpath.normpath(posixpath.join("/", source)) for copy in copies(taken) for source in copy.sources}


#: Images whose working directory is `/`.
_IN_ROOT = re.compile(
    r"^(?:scratch)?$|(?:^|/)(?:distroless/[\w.-]+|debian|ubuntu|[\w.-]*alpine[\w.-]*|rust|busybox|fedora)(?:[:@]|$)"
)


def start_directory(image: str) -> str:
    """Return the working directory that an image sets; empty if unknown."""
    if re.search(r"(?:^|/)distroless/[\w.-]+:(?:debug-)?nonroot", image):
        return "/home/nonroot"
    return "/" if _IN_ROOT.search(image) else ""
