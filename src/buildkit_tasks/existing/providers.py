"""Find the services whose images the Dockerfiles of other services use, and read their Dockerfiles."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.dockerfiles.document import lookup_name
from buildkit_tasks.workspaces.tree import Tree


@dataclass(frozen=True)
class Provider:
    """A service that builds an image. `names`: of its image; `why`: why its Dockerfile cannot be read."""

    name: str
    names: frozenset[str]
    build: Mapping[str, Any] = field(repr=False)
    context: str = "."
    path: str = ""
    text: str = field(default="", repr=False)
    why: str = ""

    @property
    def args(self) -> dict[str, str]:
        """The build arguments."""
        return arguments(self.build)

    @property
    def target(self) -> str:
        """The stage of the image; empty for the last one."""
        return str(self.build.get("target") or "")

    @property
    def contexts(self) -> dict[str, str]:
        """The additional contexts: name to path, URL or `service:NAME`."""
        return {str(name): str(value) for name, value in (self.build.get("additional_contexts") or {}).items()}


def arguments(build: Mapping[str, Any]) -> dict[str, str]:
    """Return the build arguments of a resolved `build:`."""
    return {str(k): "" if v is None else str(v) for k, v in (build.get("args") or {}).items()}


def read(files: Tree, config: Mapping[str, Any]) -> tuple[Provider, ...]:
    """Return every service of the resolved compose model that builds an image."""
    project = str(config.get("name") or "")
    entries = {str(name): entry for name, entry in (config.get("services") or {}).items()}
    return tuple(
        of(files, name, entry, project)
        for name, entry in entries.items()
        if isinstance(entry, dict) and entry.get("build")
    )


def of(files: Tree, name: str, entry: Mapping[str, Any], project: str = "") -> Provider:
    """Return what a service builds."""
    build = entry["build"]
    images = [str(entry.get("image") or f"{project}-{name}"), *map(str, build.get("tags") or ())]
    names = frozenset(map(lookup_name, images))
    given = str(build.get("context", "."))
    if re.match(r"[a-z+]+://|git@", given):
        return Provider(name, names, build, why=f"the build context is remote: {given}")
    context = inside(files.root, given)
    if context is None:
        return Provider(name, names, build, why=f"the build context is outside the repository: {given}")
    path, text = dockerfile_of(files, context, build)
    return Provider(name, names, build, context, path, text, "" if text else f"the Dockerfile {path} does not exist")


def makers(reference: str, user: Provider, several: Sequence[Provider]) -> list[Provider]:
    """Return the services that build an image under this name. An additional context takes precedence."""
    given = next((value for name, value in user.contexts.items() if name.lower() == reference.lower()), None)
    if given is not None:
        kind, _, name = given.partition(":")
        return [p for p in several if kind == "service" and p.name == name]
    return [p for p in several if lookup_name(reference) in p.names and p.name != user.name]


def inside(root: Path, given: str) -> str | None:
    """Return a directory relative to the root, with links resolved; None if it is outside."""
    place = os.path.relpath(os.path.realpath(root / given), os.path.realpath(root))
    return None if place == ".." or place.startswith("../") else Path(place).as_posix()


def dockerfile_of(files: Tree, context: str, build: Mapping[str, Any]) -> tuple[str, str]:
    """Return the path and text of the Dockerfile that buildx would read; the text is empty if there is none."""
    inline = build.get("dockerfile_inline")
    if inline:
        return "dockerfile_inline", str(inline)
    given = str(build.get("dockerfile") or "Dockerfile")
    if posixpath.isabs(given):
        path = inside(files.root, given) or given
    else:
        path = posixpath.normpath(posixpath.join(context, given))
    folder, name = posixpath.split(path)
    if name == "Dockerfile" and not files.has(path) and files.has(lower := posixpath.join(folder, "dockerfile")):
        path = lower  # as buildx does
    return path, files.text(path)
