"""Determines what to watch for a project: the rules of its services, and the directories to scan."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service, Workspace
from buildkit_tasks.dockerfiles.document import lookup_name
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.project import sources

from . import develop
from .look import Root
from .rules import SHORT_LIVED, Action, Below, Rule, under

#: Names of files that a compose file may read, and limits on the number and size of files searched for such names.
_READ_BY_COMPOSE = re.compile(r"[^\s\"'\[\]{},]*(?:\.ya?ml|\.env[\w.-]*)(?![\w/])")
_MOST_FILES, _LARGEST = 200, 1_000_000


@dataclass(frozen=True)
class Targets:
    """The rules, the roots to scan, and the triggers with files to copy at the start, by service.

    `skipped`: descriptions of what is not watched.
    """

    rules: tuple[Rule, ...]
    roots: tuple[Root, ...]
    initial: tuple[tuple[str, develop.Trigger], ...]
    skipped: tuple[str, ...] = ()

    def concerns(self, path: str) -> bool:
        """Return whether a change to this path may matter. The scan that follows decides."""
        return any(rule.may_concern(path) for rule in self.rules)


def find(workspace: Workspace, chosen: Collection[str], files: Sequence[Path]) -> Targets:
    """Return the targets for the chosen services. `files`: the compose files.

    A service with a `develop.watch` section is watched as it specifies, any other built service by its context.
    Problems: compose-key-unsupported, compose-invalid, dockerfile-unreadable, no-built-service.
    """
    rules: list[Rule] = []
    roots: list[Root] = []
    initial: list[tuple[str, develop.Trigger]] = []
    skipped: list[str] = []
    services = {service.name: service for service in workspace.services}
    entries: Mapping[str, Mapping[str, Any]] = workspace.config.get("services") or {}
    for name in chosen:
        service = services.get(name)
        found = develop.triggers(name, entries[name])
        if found is not None:
            ignore = context_ignore(service) if service and not service.remote else None
            rules += develop.rules(name, found, ignore, develop.mounts(entries[name]), skipped.append)
            roots += (_root(trigger.path, ignore) for trigger in found)
            initial += ((name, trigger) for trigger in found if trigger.initial and trigger.action.syncs)
        elif service:
            for other in needed(service, workspace.services):
                rules += _by_context(name, other)
                roots += _context_roots(other)
    if not rules:
        raise Problem(
            "no-built-service",
            "Nothing to watch: none of these services has a `build:` or `develop.watch` section.",
            hint="add `build:` or `develop:` to a service",
        )
    for file in compose_reads(files, Path(workspace.root)):
        rules.append(Rule("", Action.RELOAD, file))
        roots.append(_file(file))
    return Targets(tuple(rules), tuple(dict.fromkeys(roots)), tuple(initial), tuple(skipped))


def needed(service: Service, services: Sequence[Service]) -> tuple[Service, ...]:
    """Return the service and those that it is built from, directly or indirectly."""
    makers: dict[str, Service] = {}
    for other in services:
        for image in sources.image_names(other):
            makers.setdefault(image, other)
    by_name = {other.name: other for other in services}
    found, todo = {service.name: service}, [service]
    while todo:
        one = todo.pop()
        values = one.contexts.values()
        more = [by_name.get(value.partition(":")[2]) for value in values if value.startswith("service:")]
        if not one.remote:
            more += [makers.get(lookup_name(image)) for image in sources.needed_images(one)]
        for other in filter(None, more):
            if other.name not in found:
                found[other.name] = other
                todo.append(other)
    return tuple(found.values())


def context_ignore(service: Service) -> Below:
    """Return the patterns to ignore in a service's context: from its ignore file, and for editor files and git.

    Problems: dockerfile-unreadable.
    """
    return _ignore(service.name, service.context, None if service.inline else service.dockerfile)


def _ignore(name: str, directory: Path, dockerfile: Path | None = None) -> Below:
    try:
        found = Ignore.of(directory, dockerfile)
    except (OSError, ValueError) as error:
        raise Problem(
            "dockerfile-unreadable",
            f"The .dockerignore of the service {name!r} cannot be read.",
            causes=[str(error)],
            hint=f"fix {directory}/.dockerignore",
        ) from error
    return Below(str(directory), Ignore((*found.patterns, *SHORT_LIVED.patterns.patterns)))


def _directories(service: Service) -> Iterator[Below]:
    yield context_ignore(service)
    for value in service.contexts.values():
        if value.startswith("/"):
            yield _ignore(service.name, Path(value))


def _files(service: Service) -> Iterator[str]:
    """Yield the Dockerfile and ignore files, which affect the build even if they are outside the context."""
    yield str(service.context / ".dockerignore")
    yield from (f"{value}/.dockerignore" for value in service.contexts.values() if value.startswith("/"))
    if not service.inline:
        yield str(service.dockerfile)
        yield f"{service.dockerfile}.dockerignore"


def _by_context(name: str, service: Service) -> Iterator[Rule]:
    if service.remote:
        return
    for below in _directories(service):
        yield Rule(name, Action.REBUILD, below.root, (below,))
    for file in _files(service):
        yield Rule(name, Action.REBUILD, file)


def _context_roots(service: Service) -> Iterator[Root]:
    if not service.remote:
        yield from (Root(below.root, ".", below.patterns) for below in _directories(service))
        yield from map(_file, _files(service))


def _root(path: str, ignore: Below | None) -> Root:
    """Return the root for a trigger: the context if it contains the path, to avoid scanning excluded files."""
    inside = under(path, ignore.root) if ignore else None
    if ignore and inside is not None:
        return Root(ignore.root, inside, ignore.patterns)
    return Root(path, ".", SHORT_LIVED.patterns) if Path(path).is_dir() else _file(path)


def _file(path: str) -> Root:
    directory, name = os.path.split(path)
    return Root(directory, name)


def compose_reads(files: Sequence[Path], root: Path) -> tuple[str, ...]:
    """Return the compose files, .env, and similar files that they reference (`include`, `extends`, `env_file`).

    Does not parse the files. An extra file only causes a needless compose query, and a missing file only a delay.
    """
    places = [
        *files,
        *(folder / ".env" for folder in (root, *(file.parent for file in files))),
        root / "pyproject.toml",
    ]
    found = dict.fromkeys(map(str, places))
    todo = list(files)
    while todo and len(found) < _MOST_FILES:
        file = todo.pop()
        try:
            if not file.is_file() or file.stat().st_size > _LARGEST:
                continue
            text = file.read_text("utf-8", errors="replace")
        except OSError:
            continue
        for word in _READ_BY_COMPOSE.findall(text):
            path = Path(os.path.normpath(file.parent / word))
            if str(path) not in found and path.is_file():
                found[str(path)] = None
                todo += [path] if path.suffix in (".yaml", ".yml") else []
    return tuple(found)
