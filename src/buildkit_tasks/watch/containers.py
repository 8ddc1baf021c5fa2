"""The containers of the watched services: finds the outdated ones, and copies files into them."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Result, Service
from buildkit_tasks.dockercli import docker
from buildkit_tasks.stack.running import Running


def outdated(
    services: Iterable[Service],
    entries: Mapping[str, Mapping[str, Any]],
    containers: Iterable[Running],
    ids: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the services with containers that compose would replace, because they use an outdated image. Pure.

    Includes services without a container, unless scaled to 0, and those with a container that was never started.
    """
    by_service: dict[str, list[Running]] = {}
    for one in containers:
        by_service.setdefault(one.service, []).append(one)
    found = []
    for service in services:
        there, image = by_service.get(service.name, []), ids.get(service.image)
        if image is None or (not there and _scale(entries.get(service.name) or {}) == 0):
            continue
        if not there or any(one.image != image or one.state == "created" for one in there):
            found.append(service.name)
    return tuple(found)


def started(before: Iterable[Running], after: Iterable[Running]) -> tuple[str, ...]:
    """Return the services that were not running before and now have a new or running container. Pure."""
    was = tuple(before)
    ran, known = {one.service for one in was if one.state == "running"}, {one.id for one in was}
    found = {one.service for one in after if one.id not in known or one.state == "running"}
    return tuple(sorted(found - ran))


def replaced(before: Iterable[Running], after: Iterable[Running]) -> tuple[str, ...]:
    """Return the services with different containers than before. Pure."""
    one, other = ({(c.service, c.id) for c in some} for some in (before, after))
    return tuple(sorted({service for service, _ in other - one}))


def _scale(entry: Mapping[str, Any]) -> int:
    given = (entry.get("deploy") or {}).get("replicas", entry.get("scale"))
    return int(given) if isinstance(given, (int, str)) and str(given).isdigit() else 1


def copy(session: Session, names: Iterable[str], files: Mapping[str, str]) -> None:
    """Copy files from the host to their paths in containers, and remove deleted ones.

    Problems: command-failed.
    """
    there = {host: place for host, place in files.items() if Path(host).is_symlink() or Path(host).exists()}
    gone = sorted(place for host, place in files.items() if host not in there)
    with tempfile.TemporaryFile() as archive:
        added = _archive(archive, there)
        for name in names:
            if gone:
                _check(session, run.capture(session.world, docker.remove_inside(session.root, name, gone)), name)
            if added:
                archive.seek(0)
                command = docker.unpack_into(session.root, name)
                _check(session, run.piped(session.world, command, source=archive), name)


def _archive(target: IO[bytes], files: Mapping[str, str]) -> bool:
    """Write these files to a tar archive, each at its path; return whether there were any. Skips files that vanish."""
    added = False
    with tarfile.open(fileobj=target, mode="w") as archive:
        for host, place in sorted(files.items()):
            try:
                header = archive.gettarinfo(host, place.lstrip("/"))
                if header is None or not (header.isreg() or header.isdir() or header.issym()):
                    continue
                if not header.isreg():
                    archive.addfile(header)
                else:
                    with Path(host).open("rb") as content:
                        data = content.read()  # the size in the header must match the content
                    header.size = len(data)
                    archive.addfile(header, io.BytesIO(data))
                added = True
            except FileNotFoundError:
                continue
    target.flush()
    return added


def _check(session: Session, result: Result, name: str) -> None:
    if result.code != 0:
        raise Problem(
            "command-failed",
            f"The changed files could not be copied into {name}.",
            causes=[session.masked((result.stderr or result.stdout).strip()[:500])],
            hint="use `action: rebuild` for images without rm, or with a read-only file system",
        )
