"""Services for a repository whose compose file has none: what its Dockerfiles ship, else what its workspace makes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from buildkit_tasks.core.errors import Problem

from . import recipe
from .cargo import CargoWorkspace
from .finding import LeftAlone, Service
from .tree import Tree

#: Folders whose programs and Dockerfiles are not what a repository ships.
ASIDE = re.compile(
    r"(?:^|/)(?:\.[^/]+|tests?|examples?|e2e|bench(?:es|marks?)?|fixtures|fuzz|vendor|third_party|xtask)(?:/|$)"
)

Look = Callable[[Tree, Sequence[CargoWorkspace], str, Mapping[str, Any]], Service | LeftAlone]


def word(text: str) -> str:
    """A project or service name as compose makes it of a directory's."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).lstrip("_-") or "project"


def services(files: Tree, spaces: Sequence[CargoWorkspace], look: Look, add: Sequence[str]) -> list[Service]:
    """A service for every Dockerfile that compiles a program here; without one, for every program of the outermost
    workspace that has some. `add`: for these programs alone, as PROGRAM or SERVICE=PROGRAM.

    Raises `Problem` bad-argument for a program that no workspace has.
    """
    found = _of_dockerfiles(files, spaces, look)
    if add:
        return [_added(item, spaces, found) for item in add]
    if found:
        return found
    for space in (s for s in spaces if s.binaries and not ASIDE.search(s.directory)):
        own = next((p.binaries for p in space.packages if p.directory == space.directory and p.binaries), None)
        # where the root is a crate, cargo builds that one unless it is asked for more
        names = own or [b for p in space.packages if not ASIDE.search(p.directory) for b in p.binaries]
        if names:
            return [Service(word(name), space.directory, name) for name in names]
    return []


def _of_dockerfiles(files: Tree, spaces: Sequence[CargoWorkspace], look: Look) -> list[Service]:
    found: dict[str, Service] = {}
    paths = [p for p in files.files if re.search(r"(?:^|/)(?:Dockerfile[^/]*|[^/]+\.Dockerfile)$", p)]
    for path in sorted(paths, key=lambda p: (p.count("/"), p)):
        if ASIDE.search(path) or path.endswith(".dockerignore"):
            continue
        for context in dict.fromkeys((".", posixpath.dirname(path) or ".", *(s.directory for s in spaces))):
            if not _fits(files, path, context):
                continue
            name = word(files.root.name) if "/" not in path else word(posixpath.basename(posixpath.dirname(path)))
            build = {"context": context, "dockerfile": posixpath.relpath(path, context)}
            service = look(files, spaces, name, {"build": build})
            if isinstance(service, Service) and service.binary not in found:
                found[service.binary] = replace(service, name=word(service.binary))
                break
    return list(found.values())


def _fits(files: Tree, path: str, context: str) -> bool:
    """Whether everything that a Dockerfile copies of its context is there."""
    taken = recipe.read(path, files.text(path), {})
    if taken is None:
        return False
    for stage in taken.stages:
        for item in stage.items:
            copy = recipe.copied(item, taken.values)
            for source in copy.sources if copy and not copy.stage else ():
                plain = re.split(r"[$*?\[]", source, maxsplit=1)[0].strip("/")
                if "://" in source or source.startswith("<<") or plain in ("", "."):
                    continue
                if not files.exists(posixpath.normpath(posixpath.join(context, plain))) and plain == source.strip("/"):
                    return False
    return True


def _added(item: str, spaces: Sequence[CargoWorkspace], found: Sequence[Service]) -> Service:
    name, _, program = item.rpartition("=")
    known = next((s for s in found if s.binary == program), None)
    if known:
        return replace(known, name=name or known.name)
    for space in spaces:
        if program in space.binaries:
            return Service(name or word(program), space.directory, program)
    names = ", ".join(n for s in spaces for n in s.binaries) or "none"
    raise Problem("bad-argument", f"No workspace has a program {program!r}.", hint=f"programs: {names}")
