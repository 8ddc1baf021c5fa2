"""Queries the engine over its own socket, because starting `docker` takes longer than the query itself.

Only used where every build would wait for `docker` (docs/adr/0018); everything else uses the docker command, which
supports every kind of context. https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.core import readfile, shapes
from buildkit_tasks.core.world import World

from .facts import DEFAULT_SOCKETS, local_socket

#: Responses are a few kilobytes. A larger one is not from an engine.
LARGEST = 4_000_000
PATIENCE = 5.0

#: Image names that can be part of an API path without quoting.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}")


@dataclass(frozen=True)
class Answer:
    """The engine's id and version, and the ids of the requested images that it has, with their sizes in bytes."""

    engine: str
    version: str
    images: dict[str, str]
    sizes: dict[str, int] = field(default_factory=dict)


def context(world: World) -> str:
    """Return the name of docker's current context, empty if DOCKER_HOST is used. Raises `OSError`, `ValueError`."""
    if world.env.get("DOCKER_HOST"):
        return ""
    if given := world.env.get("DOCKER_CONTEXT"):
        return given
    file = world.docker_config / "config.json"
    content = shapes.loads(readfile.content(file), dict) if file.exists() else {}
    return str(content.get("currentContext") or "default")


def context_file(world: World, name: str) -> Path:
    """Return the file that docker stores a context in."""
    folder = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return world.docker_config / "contexts" / "meta" / folder / "meta.json"


def address(world: World) -> Path | None:
    """Return the engine's socket on this machine; None if the engine is elsewhere. Raises `OSError`, `ValueError`."""
    name = context(world)
    if not name:
        return local_socket(world.env["DOCKER_HOST"])
    if name == "default":
        return DEFAULT_SOCKETS[0]
    try:
        endpoint = shapes.loads(readfile.content(context_file(world, name)), dict)["Endpoints"]["docker"]["Host"]
    except (KeyError, TypeError):
        return None
    return local_socket(str(endpoint))


def info(path: Path, end: float | None = None) -> dict[str, Any]:
    """Return the engine's own part of `docker info`. Raises `OSError`; `ValueError` for other responses."""
    status, found = _get(path, "/info", end or time.monotonic() + PATIENCE)
    if status != 200 or not found.get("ID"):
        raise ValueError("the engine did not report its id")
    return found


def images(path: Path, names: Iterable[str]) -> Answer:
    """Return the ids of these images in the engine at a socket. Raises `OSError`; `ValueError` for other responses."""
    end = time.monotonic() + PATIENCE
    engine = info(path, end)
    found, sizes = _images(path, names, end)
    return Answer(str(engine["ID"]), str(engine.get("ServerVersion") or ""), found, sizes)


def ids(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the ids of the images that the engine has. Raises `OSError`, `ValueError`."""
    found = _images(path, names, time.monotonic() + PATIENCE)[0]
    if not all(found.values()):
        raise ValueError("the engine did not report an image's id")
    return found


def sizes(path: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the sizes in bytes of the images that the engine has. Raises `OSError`, `ValueError`."""
    return _images(path, names, time.monotonic() + PATIENCE)[1]


def _images(path: Path, names: Iterable[str], end: float) -> tuple[dict[str, str], dict[str, int]]:
    """Return the ids and sizes of the images that the engine has."""
    found: dict[str, str] = {}
    bytes_: dict[str, int] = {}
    for name in dict.fromkeys(names):
        if not valid(name):
            raise ValueError(f"{name!r} is not a valid image name")
        status, image = _get(path, f"/images/{name}/json", end)
        if status == 200:
            found[name] = str(image["Id"]) if isinstance(image.get("Id"), str) else ""
            bytes_[name] = image["Size"] if isinstance(image.get("Size"), int) else 0
        elif status != 404:
            raise ValueError(f"the engine returned {status}")
    return found, bytes_


def valid(name: str) -> bool:
    """Return whether an image name can be part of an API path."""
    return _NAME.fullmatch(name) is not None and ".." not in name


def _get(path: Path, what: str, end: float) -> tuple[int, dict[str, Any]]:
    """Send one HTTP/1.0 request and return its status and JSON object. The response ends when the connection closes."""
    data = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(PATIENCE)
        door.connect(str(path))
        door.sendall(f"GET {what} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        while chunk := door.recv(65536):
            data += chunk
            if len(data) > LARGEST or time.monotonic() > end:
                raise ValueError("the engine's response is too long or too slow")
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    content = shapes.loads(body, dict) if found and body else None
    if found is None or not isinstance(content, dict):
        raise ValueError("not a valid engine response")
    return int(found[1]), content
