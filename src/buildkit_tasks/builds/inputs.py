"""Prepares BuildKit's inputs: links to the contexts, and Dockerfiles in directories named after their content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Service
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.images import names as image_names

from . import transfer


def links(session: Session, services: Sequence[Service]) -> dict[Path, Path]:
    """Map each directory to the link to build through. BuildKit identifies transfers by a path's last component."""
    local = [service for service in services if not service.remote]
    found = {}
    for context in dict.fromkeys(service.context for service in local):
        here = [service for service in local if service.context == context]
        also = [d for service in here for d in directories(service)]
        files = [service.dockerfile for service in here if not service.inline]
        outside = [file for file in files if not _inside(file, context)]
        inside = [_real(file) for file in files if file not in outside]
        try:
            # if the Dockerfile is outside the context or inline, the context's own .dockerignore applies
            plain = [context / "Dockerfile"] if len(inside) < len(here) else []
            found[context] = _guarded(
                session, context, list(dict.fromkeys([*inside, *plain])), list(dict.fromkeys([*also, *outside]))
            )
            found.update({d: _guarded(session, d, [d / "Dockerfile"]) for d in also if d not in found})
        except ValueError as error:
            raise invalid_ignore_file(error) from error
        except OSError as error:
            names = ", ".join(service.name for service in here)
            raise Problem(
                "context-unreadable",
                f"The build context of {names} cannot be read: {error.filename or context}.",
                causes=[str(error.strerror or error)],
                hint="fix `build.context` in the compose file",
            ) from error
    return found


def invalid_ignore_file(error: ValueError) -> Problem:
    """Return the problem for a pattern that BuildKit would also reject."""
    return Problem(
        "context-unreadable",
        "The ignore file of a build context is invalid.",
        causes=[str(error)],
        hint="fix the pattern in .dockerignore",
    )


def _guarded(session: Session, context: Path, dockerfiles: Sequence[Path], also: Sequence[Path] = ()) -> Path:
    """Return the link for a context. Removes the guard's state if it is corrupt: a new link name is always safe."""
    for left in (session.state / "transfer").glob("*.*"):
        if not left.is_file():  # a FIFO would block the guard
            files.remove(left)
    try:
        return transfer.guard(context, session.state, dockerfiles, also)
    except RecursionError:
        for left in (session.state / "transfer").glob("*.json"):
            left.unlink(missing_ok=True)
        return transfer.guard(context, session.state, dockerfiles, also)


def directories(service: Service) -> tuple[Path, ...]:
    """Return the directories among a service's additional contexts."""
    paths = (Path(value) for value in service.contexts.values() if value.startswith("/"))
    return tuple(path for path in paths if path.is_dir())


def paths(services: Sequence[Service], found: Mapping[Path, Path]) -> dict[str, Path]:
    """Return the Dockerfile paths to pass to BuildKit. Paths inside the context go through the context's link."""
    result = {}
    for service in services:
        if service.inline or service.remote:
            continue
        link = found.get(service.context, service.context)
        if _inside(service.dockerfile, service.context):
            result[service.name] = link / _real(service.dockerfile).relative_to(readfile.real(service.context))
        else:
            result[service.name] = service.dockerfile
    return result


def _real(file: Path) -> Path:
    """Resolve the symlinks in the path of the directory, but not the file itself."""
    return Path(os.path.realpath(file.parent)) / file.name


def _inside(file: Path, context: Path) -> bool:
    return _real(file).is_relative_to(readfile.real(context))


def without_syntax(
    session: Session, engine: Engine, services: Sequence[Service], files: Mapping[str, Dockerfile], *, look_only: bool
) -> tuple[dict[str, Dockerfile], dict[str, Path], dict[str, str]]:
    """Rewrite Dockerfiles whose frontend image is unavailable, for the engine's built-in frontend.

    Returns all Dockerfiles, the paths of the rewritten ones (next to their .dockerignore), and the mirror's image for
    each of the other frontends.
    """
    names = {file.syntax for file in files.values() if file.syntax}
    decisions = image_choice.decide(session, engine, sorted(names)) if names else {}
    found, places = dict(files), {}
    for service in services:
        file = files.get(service.name)
        text = plain_text(file, decisions, service.name) if file else None
        if not file or text is None:
            continue
        words = f"using the engine's built-in frontend for {service.name}'s Dockerfile"
        session.report.say(f"  no registry provides {file.syntax}: {words}")
        found[service.name] = Dockerfile.read(text)
        if not service.inline and not look_only:
            places[service.name] = _written(session, service, text)
    return found, places, {d.reference: d.use for d in decisions.values() if d.source == "mirror"}


def plain_text(file: Dockerfile, decisions: Mapping[str, image_names.Decision], service: str) -> str | None:
    """Return the text for the engine's built-in frontend, or None if the Dockerfile's frontend is available.

    Raises `Problem` image-unavailable for frontends other than docker/dockerfile.
    """
    if not file.syntax or decisions[file.syntax].source not in ("none", "offline"):
        return None
    if image_names.parse(file.syntax).path != "docker/dockerfile":
        raise Problem(
            "image-unavailable",
            f"The Dockerfile of service {service!r} needs the frontend {file.syntax}.",
            causes=["the engine does not have this frontend, and no registry is reachable"],
            hint="set a mirror (BUILDKIT_TASKS_IMAGES_REGISTRY=mirror.example)",
        )
    return re.sub(r"(?m)^(\s*#)\s*syntax\s*=.*$", r"\1", file.text, count=1)


def _written(session: Session, service: Service, text: str) -> Path:
    """Write the text to a directory named after its content. Otherwise, BuildKit might read an old version."""
    data = text.encode("utf-8", "surrogateescape")
    own = service.dockerfile.with_name(service.dockerfile.name + ".dockerignore")
    ignored = own.read_bytes() if own.is_file() else (service.context / ".dockerignore")
    if isinstance(ignored, Path):
        ignored = ignored.read_bytes() if ignored.is_file() else b""
    folder = session.state / "dockerfiles" / hashlib.sha256(data + b"\0" + ignored).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in ((service.dockerfile.name, data), (own.name, ignored)):
        if not (folder / name).is_file() or (folder / name).read_bytes() != content:
            files.replace(folder / name, content, durable=False)
    return folder / service.dockerfile.name
