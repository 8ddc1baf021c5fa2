"""The current engine and its features: one `docker info` round trip, for whatever context or DOCKER_HOST is set."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.core import docker, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Version
from buildkit_tasks.core.world import World

#: The minimum versions of the full tier: cache mounts with ids, bake, progress as JSON, compose models as JSON.
MINIMUM: Mapping[str, Version] = {"engine": (23,), "buildx": (0, 13), "compose": (2, 20)}

#: Seconds an engine may take to answer. A remote one over ssh needs a few; a hung one must not block us for ever.
ANSWER_TIMEOUT = 15.0

#: Where this machine's engine listens by default; we start no other.
DEFAULT_SOCKETS = (Path("/var/run/docker.sock"), Path("/run/docker.sock"))

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def version(text: str) -> Version:
    """The leading numbers of a version, `()` without any: `v0.13.1+ds1` is `(0, 13, 1)`."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def dotted(of: Version) -> str:
    """A version for display; "none" without one."""
    return ".".join(map(str, of)) or "none"


def parse(info: Mapping[str, Any]) -> Engine:
    """The facts in the document of `docker info`. `version` is `()` if no engine answered."""
    client = info.get("ClientInfo") or {}
    plugins = {p.get("Name"): version(p.get("Version") or "") for p in client.get("Plugins") or ()}
    arch = str(info.get("Architecture") or "")
    return Engine(
        id=str(info.get("ID") or ""),
        version=version(str(info.get("ServerVersion") or "")),
        buildx=plugins.get("buildx", ()),
        compose=plugins.get("compose", ()),
        os=str(info.get("OSType") or ""),
        arch=_ARCHES.get(arch, arch),
        containerd_store=["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []),
        context=str(client.get("Context") or "default"),
        root_dir=str(info.get("DockerRootDir") or ""),
        host_name=str(info.get("Name") or ""),
        rootless=any("name=rootless" in str(option) for option in info.get("SecurityOptions") or ()),
    )


def client(world: World, cwd: Path) -> Engine:
    """Like `facts`, but without an error if no engine answers: then only the client (plugins, context) is known."""
    return parse(_info(world, cwd)[0])


def facts(world: World, cwd: Path) -> Engine:
    """The engine in use. Raises `Problem` engine-missing (no docker command), engine-stopped or engine-denied."""
    info, words = _info(world, cwd)
    if "ServerVersion" not in info and "host" in info:
        raise Problem(
            "engine-missing",
            "The docker command here is podman's; a Docker engine is needed.",
            hint="invoke engine.install, or set DOCKER_HOST to a Docker engine",
        )
    engine = parse(info)
    if not engine.version:
        raise silent(world, cwd, words)
    return engine


def _info(world: World, cwd: Path) -> tuple[dict[str, Any], str]:
    """The document, `{}` without one, and docker's stderr."""
    result = run.capture(world, docker.info(cwd), timeout=ANSWER_TIMEOUT)
    try:
        info = json.loads(result.stdout)
    except ValueError:
        info = {}
    words = [result.stderr.strip(), *(info.get("ServerErrors") or ())] if isinstance(info, dict) else []
    return (info if isinstance(info, dict) else {}), "\n".join(w for w in words if w)


def host(world: World, cwd: Path) -> str:
    """The engine's address as docker resolves it: DOCKER_HOST, else the current context's."""
    if given := world.env.get("DOCKER_HOST"):
        return given
    result = run.capture(world, docker.context_host(cwd), timeout=ANSWER_TIMEOUT)
    return result.stdout.strip() or f"unix://{DEFAULT_SOCKETS[0]}"


def local_socket(address: str) -> Path | None:
    """The socket file of a `unix://` address; None for any other."""
    return Path(address[len("unix://") :]) if address.startswith("unix://") else None


def silent(world: World, cwd: Path, words: str = "") -> Problem:
    """Why no engine answers: tries to connect to its socket, and does not depend on docker's wording."""
    address = host(world, cwd)
    causes = list(dict.fromkeys(line for line in words.splitlines() if line.strip()))[-2:]
    path = local_socket(address)
    if path is None:
        return Problem(
            "engine-stopped",
            f"The engine at {address} does not answer.",
            causes=causes,
            hint="start that machine's engine, or choose another one: docker context ls; unset DOCKER_HOST",
        )
    if knock(path) == "denied":
        return Problem(
            "engine-denied",
            f"You are not allowed to use the engine at {path}.",
            causes=["its socket belongs to root and the group docker", *causes],
            hint="sudo usermod -aG docker $USER, then log in again (or in this shell only: newgrp docker)",
        )
    ours = path in DEFAULT_SOCKETS
    return Problem(
        "engine-stopped",
        f"No engine listens at {path}.",
        causes=causes,
        hint="invoke engine.start" if ours else "start that engine, or: unset DOCKER_HOST; docker context ls",
    )


def knock(path: Path) -> str:
    """State of a socket file: "open", "denied" (no permission), or "closed" (missing, or nobody listens)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(2)
        try:
            door.connect(str(path))
        except PermissionError:
            return "denied"
        except OSError:
            return "closed"
    return "open"


def lacking(engine: Engine) -> tuple[str, ...]:
    """Which of engine, buildx and compose are missing or older than the full tier needs."""
    have = {"engine": engine.version, "buildx": engine.buildx, "compose": engine.compose}
    return tuple(name for name, least in MINIMUM.items() if have[name] < least)


def require_compose(engine: Engine) -> None:
    """Raises `Problem` compose-missing: every tier needs compose."""
    if "compose" in lacking(engine):
        require_full(replace(engine, version=MINIMUM["engine"], buildx=MINIMUM["buildx"]))


def require_full(engine: Engine) -> None:
    """Raises `Problem` engine-too-old, buildx-missing or compose-missing: found and wanted versions, and the fix."""
    names = {"engine": "Docker Engine", "buildx": "the buildx plugin", "compose": "the compose plugin"}
    codes = {"engine": "engine-too-old", "buildx": "buildx-missing", "compose": "compose-missing"}
    have = {"engine": engine.version, "buildx": engine.buildx, "compose": engine.compose}
    missing = lacking(engine)
    if not missing:
        return
    causes = [
        f"{names[n]}: {f'found {dotted(have[n])}' if have[n] else 'not found'}, wanted {dotted(MINIMUM[n])} or newer"
        for n in missing
    ]
    first = missing[0]
    wanted = f"{names[first]} {dotted(MINIMUM[first])} or newer is needed"
    raise Problem(
        codes[first],
        f"{wanted[0].upper()}{wanted[1:]}; " + (f"this is {dotted(have[first])}." if have[first] else "found none."),
        causes=causes,
        hint="invoke engine.install (Debian, Ubuntu; others: https://docs.docker.com/engine/install/)",
    )
