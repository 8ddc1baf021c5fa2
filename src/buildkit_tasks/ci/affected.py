"""Find the services that changed files affect. Pure: callers pass the tree and the old lock files."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.core.model import Service, Workspace
from buildkit_tasks.dockerfiles.document import lookup_name
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.project import sources
from buildkit_tasks.workspaces.cargo import Package

from . import taken
from .crates import Crates, Locked, inside

#: Names of files that compose reads, including through `include` and `extends`.
_COMPOSE = re.compile(r"(?:^|/)[^/]*compose[^/]*\.ya?ml$")


@dataclass(frozen=True)
class _Image:
    """The inputs of one service's image. Paths are relative to the tree. `context` is None for a remote context.

    `crates`: the directories of the program's crates. If None, any file in the context affects the image.
    """

    service: Service
    context: str | None
    ignore: Ignore
    files: frozenset[str]
    takes: tuple[taken.Matcher, ...] = ()
    program: Package | None = None
    crates: frozenset[str] | None = None
    directories: tuple[tuple[str, Ignore], ...] = ()
    services: frozenset[str] = field(default=frozenset())

    def why(self, path: str, crates: Crates) -> str:
        """Return why a changed file affects the image; empty if it does not. `find` handles lock files."""
        if path in self.files:
            return path
        for place, ignore in self.directories:
            if inside(path, place) and taken.sent(ignore, _below(path, place)):
                return f"{path} (context {place})"
        if (
            self.context is None
            or not inside(path, self.context)
            or not taken.sent(self.ignore, _below(path, self.context))
        ):
            return ""
        if self.crates is None:
            return f"{path} (context)"
        if self.copied(path):
            return f"{path} (copied)"
        owner = crates.owner(path)
        if owner in self.crates:
            return f"{path} (crate {crates.packages[owner].name})"
        if ruled := crates.ruled(path):
            return f"{path} (workspace)" if any(crates.of[d].directory in ruled for d in self.crates) else ""
        if owner is None:
            return f"{path} (context)"
        return f"{path} (read by a source file)" if crates.reads(self.crates, path) else ""

    def copied(self, path: str) -> bool:
        """Return whether a step other than the compile step copies or mounts this file."""
        below = _below(path, self.context or "")
        return any(one.takes(below) for one in self.takes)


def find(
    root: Path,
    workspace: Workspace,
    crates: Crates,
    paths: Iterable[str],
    before: Callable[[str], str | None],
    compose_files: Sequence[Path] = (),
) -> dict[str, tuple[str, ...]]:
    """Return the affected services and their reasons.

    `paths` are relative to `root`, the directory of the tree. `before` returns the text of a file at the base, or None
    if it did not exist.
    """
    makers = {name: s.name for s in workspace.services for name in sources.image_names(s)}
    images = [_image(root, service, crates, makers) for service in workspace.services]
    compose = {_relative(root, path) for path in compose_files}
    reasons: dict[str, dict[str, None]] = {service.name: {} for service in workspace.services}
    locks = {w.path("Cargo.lock"): w for w in crates.workspaces}
    for path in dict.fromkeys(paths):
        lock = locks.get(path)
        old = Locked.read(before(path) or "") if lock is not None else None
        for image in images:
            if path in compose or _COMPOSE.search(path):
                why = f"{path} (compose file)"
            elif posixpath.basename(path) in (".env", ".env.example"):
                why = f"{path} (variables for the compose file)"
            elif lock is not None and image.program is not None:
                mine = crates.of[image.program.directory] is lock
                why = f"{path} (packages)" if mine and crates.relocked(image.program, old) else ""
                why = why or (f"{path} (copied)" if image.copied(path) else "")
            else:
                why = image.why(path, crates)
            if why:
                reasons[image.service.name][why] = None
    _spread(images, reasons)
    return {name: tuple(why) for name, why in reasons.items() if why}


def _spread(images: Sequence[_Image], reasons: Mapping[str, dict[str, None]]) -> None:
    """Add services with images that are built from the image of an affected service."""
    again = True
    while again:
        again = False
        for image in images:
            mine = reasons[image.service.name]
            for other in image.services:
                why = f"service {other}"
                if reasons.get(other) and why not in mine:
                    mine[why] = None
                    again = True


def _image(root: Path, service: Service, crates: Crates, makers: Mapping[str, str]) -> _Image:
    """`makers` maps the names of the project's own images to the services that build them."""
    file = sources.known(service)
    kinds = list(taken.named_contexts(service.contexts))
    places = [Path(value) for kind, value in kinds if kind == "path"]
    services = frozenset(value for kind, value in kinds if kind == "service")
    directories = tuple((_relative(root, place), _ignore(place)) for place in places)
    if service.remote:
        return _Image(service, None, Ignore(), frozenset(), directories=directories, services=services)
    context = _relative(root, service.context)
    named = None if service.inline else service.dockerfile
    files = set() if named is None else {_relative(root, named)}
    files |= {_relative(root, path) for path in _ignore_files(service.context, named)}
    needs = file.needs(service.args, service.target, tuple(service.contexts))
    services |= {makers[name] for name in map(lookup_name, needs.images) if name in makers} - {service.name}
    found = _Image(
        service,
        context,
        _ignore(service.context, named),
        frozenset(files),
        directories=directories,
        services=services,
    )
    if file.compile_arguments(needs) is None:
        return found
    given = service.args.get("SOURCE")
    program = crates.program(
        service.binary, context, posixpath.normpath(posixpath.join(context, given)) if given else None
    )
    if program is None:
        return found
    copied = taken.patterns(file, service.args, service.target, tuple(service.contexts))
    matchers = tuple(taken.Matcher.of(pattern) for pattern in copied)
    return _Image(**{**vars(found), "takes": matchers, "program": program, "crates": crates.closure(program)})


def _ignore_files(context: Path, dockerfile: Path | None) -> list[Path]:
    """Return the ignore files that BuildKit would use: the Dockerfile's own and, if it is missing, the context's."""
    more = [dockerfile.with_name(f"{dockerfile.name}.dockerignore")] if dockerfile is not None else []
    return [*more, context / ".dockerignore"] if not more or not more[0].exists() else more


def _ignore(context: Path, dockerfile: Path | None = None) -> Ignore:
    try:
        return Ignore.of(context, dockerfile)
    except (OSError, ValueError):
        return Ignore()  # the build will reject it; until then, every file counts


def _relative(root: Path, path: Path) -> str:
    return posixpath.normpath(os.path.relpath(path, root))


def _below(path: str, directory: str) -> str:
    return path if directory in (".", "") else path[len(directory) + 1 :] or "."
