"""The engine's facts without starting `docker`, whose `info` also starts every plugin to get its version (0.1 s).

The engine reports its part over its socket. The client's part, including the paths of the plugins, comes from the last
`docker info`, for as long as stat reports the same docker command, plugins and configuration. In all other cases,
`docker info` runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.files import replace
from buildkit_tasks.core.model import Engine
from buildkit_tasks.core.world import World

from . import ask, facts

#: A file that changed this recently (ns) may change again without a visible difference.
_RECENT = 2_000_000_000

_PLUGIN_DIRECTORIES = ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")


def find(world: World, cwd: Path) -> Engine:
    """Return the current engine. Problems: as for `facts.facts`."""
    file = _record(world)
    try:
        path, key = ask.address(world), _key(world)
        known = readfile.state(file)
        if path and key and known.get("key") == key:
            found = facts.parse(facts.checked({**ask.info(path), "ClientInfo": known.get("client")}))
            if found.version:
                return found
    except (OSError, ValueError):
        path, key = None, ""
    info, engine = facts.document(world, cwd)
    with contextlib.suppress(OSError, ValueError, Problem):  # it only saves a query
        if path and key and key == _key(world) and engine.buildx and engine.compose and not _wrapped(world):
            _keep(world, file, key, info)
    return engine


def plugins(world: World) -> dict[str, str]:
    """Return the paths of the plugins that docker uses, by name; empty if there is no valid record."""
    try:
        known, key = readfile.state(_record(world)), _key(world)
        if not key or known.get("key") != key:
            return {}
        paths = {str(path): path.name.removeprefix("docker-") for path in places(world)}
        recorded = [str(plugin["Path"]) for plugin in known["client"]["Plugins"]]
    except (OSError, ValueError, LookupError, TypeError, Problem):
        return {}
    return {paths[path]: path for path in recorded if path in paths and path.startswith("/")}


def _record(world: World) -> Path:
    return world.state_home / "docker-client.json"


def places(world: World) -> Iterator[Path]:
    """Yield the paths of the docker command, its plugins and configuration, or the first paths searched for them."""
    config = world.docker_config
    yield config / "config.json"
    name = ask.context(world)
    if name not in ("", "default"):
        yield ask.context_file(world, name)
    for folder in filter(None, world.env.get("PATH", os.defpath).split(os.pathsep)):
        yield Path(os.path.abspath(folder), "docker")  # noqa: PTH100 - keep links and `..` for the system to resolve
    for place in (config / "cli-plugins", *(Path(p, "docker", "cli-plugins") for p in _PLUGIN_DIRECTORIES)):
        yield from (place / f"docker-{plugin}" for plugin in ("buildx", "compose"))


def _key(world: World) -> str:
    """Return a digest of the client's files; empty if docker searches other directories or a file just changed."""
    found = hashlib.blake2b(f"2 {ask.context(world)!r}".encode("utf-8", "surrogateescape"), digest_size=16)
    newest = 0
    for path in places(world):
        found.update(f"{path}\0".encode("utf-8", "surrogateescape"))
        try:
            seen = path.stat()
        except OSError:
            continue
        newest = max(newest, seen.st_ctime_ns)
        found.update(f"{seen.st_dev} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}\0".encode())
    config = world.docker_config / "config.json"
    elsewhere = config.exists() and b"cliPluginsExtraDirs" in readfile.content(config)
    return "" if elsewhere or time.time_ns() - newest < _RECENT else found.hexdigest()


def _wrapped(world: World) -> bool:
    """Return whether docker is a script or a shim, which may choose an engine or plugins that we cannot see."""
    command = shutil.which("docker", path=world.env.get("PATH", os.defpath))
    if command is None:
        return True
    with Path(command).open("rb") as program:
        return program.read(2) == b"#!" or readfile.real(Path(command)).name not in ("docker", "com.docker.cli")


def _keep(world: World, file: Path, key: str, info: dict[str, Any]) -> None:
    """Record the client's part of `docker info`, if the plugins are the files that the key covers."""
    import json

    client = info.get("ClientInfo") or {}
    known = {str(path) for path in places(world)}
    plugins = [p for p in client.get("Plugins") or () if p.get("Name") in ("buildx", "compose")]
    if all(p.get("Path") in known and Path(p["Path"]).is_file() for p in plugins):
        kept = [{"Name": p["Name"], "Version": p.get("Version"), "Path": p["Path"]} for p in plugins]
        record = {"key": key, "client": {"Context": client.get("Context"), "Plugins": kept}}
        replace(file, json.dumps(record), mode=0o600, durable=False)
