"""The current engine and its features, from one `docker info`, for any context or DOCKER_HOST."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Result, Version
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import docker

#: Minimum versions of the full tier: cache mounts with ids, bake, progress as JSON, compose models as JSON.
MINIMUM: Mapping[str, Version] = {"engine": (23,), "buildx": (0, 13), "compose": (2, 20)}

#: Timeout in seconds. A remote engine over ssh needs a few; a hung one must not block us forever.
ANSWER_TIMEOUT = 15.0

#: The default sockets of this machine's engine, the only one that we start.
DEFAULT_SOCKETS = (Path("/var/run/docker.sock"), Path("/run/docker.sock"))

_TEXTS = ("ID", "ServerVersion", "OSType", "Architecture", "DockerRootDir", "Name")

#: The fields that we read from `docker info`.
_INFO: shapes.Shape = {
    **dict.fromkeys(_TEXTS, str),
    "ClientInfo": {"Context": str, "Plugins": [{"Name": str, "Version": str}]},
    "DriverStatus": list,
    "SecurityOptions": list,
    "ServerErrors": [str],
}

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def version(text: str) -> Version:
    """Return the leading numbers of a version, `()` if there are none: `v0.13.1+ds1` is `(0, 13, 1)`."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def dotted(of: Version) -> str:
    """Format a version for display; "none" if it is empty."""
    return ".".join(map(str, of)) or "none"


def parse(info: Mapping[str, Any]) -> Engine:
    """Parse the document of `docker info`. `version` is `()` if no engine responded."""
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
    """Like `facts`, but without an error if no engine responds: then only the client (plugins, context) is known."""
    return parse(_info(world, cwd)[0])


def facts(world: World, cwd: Path) -> Engine:
    """Return the current engine. Problems: engine-missing (no docker command), engine-stopped, engine-denied."""
    return document(world, cwd)[1]


def document(world: World, cwd: Path) -> tuple[dict[str, Any], Engine]:
    """Like `facts`, but also return the document of `docker info`."""
    info, words = _info(world, cwd)
    if "ServerVersion" not in info and "host" in info:
        raise Problem(
            "engine-missing",
            "The docker command is actually podman, but a Docker engine is required.",
            hint="invoke engine.install, or set DOCKER_HOST to a Docker engine",
        )
    engine = parse(info)
    if not engine.version:
        raise silent(world, cwd, words)
    return info, engine


def _info(world: World, cwd: Path) -> tuple[dict[str, Any], str]:
    """Return the document, `{}` if there is none, and docker's stderr."""
    result = run.capture(world, docker.info(cwd), timeout=ANSWER_TIMEOUT)
    if result.code == 124:
        return {}, f"docker did not respond within {ANSWER_TIMEOUT:.0f} s"
    return read_info(result)


def checked(info: dict[str, Any]) -> dict[str, Any]:
    """Return the document of `docker info` if the fields that we read have their shapes. Raises `ValueError`."""
    shapes.check(info, _INFO)
    return info


def read_info(result: Result) -> tuple[dict[str, Any], str]:
    """Return the document of `docker info`, `{}` if it is not one, and docker's error message."""
    try:
        info = checked(shapes.loads(result.stdout, dict))
    except ValueError as error:
        return {}, result.stderr.strip() or f"`docker info` did not print valid JSON: {error}"
    words = [result.stderr.strip(), *(info.get("ServerErrors") or ())]
    return info, "\n".join(w for w in words if w)


def host(world: World, cwd: Path) -> str:
    """Return the engine's address as resolved by docker: DOCKER_HOST, else the current context's.

    Raises `Problem` engine-stopped if docker cannot resolve its context: we must not start this machine's own engine
    instead.
    """
    if given := world.env.get("DOCKER_HOST"):
        return given
    result = run.capture(world, docker.context_host(cwd), timeout=ANSWER_TIMEOUT)
    address = result.stdout.strip()
    if result.code == 0 and (not address or re.fullmatch(r"[a-z]+://\S*", address)):
        return address or f"unix://{DEFAULT_SOCKETS[0]}"
    words = (result.stderr.strip() or address).splitlines()
    if result.code == 124:
        words = [f"docker did not respond within {ANSWER_TIMEOUT:.0f} s"]
    name = world.env.get("DOCKER_CONTEXT", "")
    raise Problem(
        "engine-stopped",
        f"Docker cannot resolve the context {name!r}." if name else "Docker cannot resolve its current context.",
        causes=words[-1:],
        hint="run `docker context ls`, then "
        + ("`unset DOCKER_CONTEXT`" if name else "`docker context use default`")
        + "; run `type -a docker` to check for a wrapper",
    )


def local_socket(address: str) -> Path | None:
    """Return the socket file of a `unix://` address; None for any other."""
    return Path(address[len("unix://") :]) if address.startswith("unix://") else None


def silent(world: World, cwd: Path, words: str = "") -> Problem:
    """Return why no engine responds. Connects to the socket instead of relying on docker's wording."""
    try:
        address = host(world, cwd)
    except Problem as problem:
        return problem
    causes = list(dict.fromkeys(line for line in words.splitlines() if line.strip()))[-2:]
    path = local_socket(address)
    if path is None:
        return Problem(
            "engine-stopped",
            f"The engine at {address} does not respond.",
            causes=causes,
            hint="start the engine on that machine, or switch to another engine (docker context ls; unset DOCKER_HOST)",
        )
    if knock(path) == "denied":
        return Problem(
            "engine-denied",
            f"Permission denied while connecting to the engine at {path}.",
            causes=["the socket is owned by root and the group docker", *causes],
            hint="sudo usermod -aG docker $USER, then log in again (or in this shell only: newgrp docker)",
        )
    ours = path in DEFAULT_SOCKETS
    return Problem(
        "engine-stopped",
        f"No engine is listening at {path}.",
        causes=causes,
        hint="invoke engine.start"
        if ours
        else "start that engine, or switch to another engine (unset DOCKER_HOST; docker context ls)",
    )


def knock(path: Path) -> str:
    """Return the state of a socket: "open", "denied" (no permission), or "closed" (missing, or nothing listens)."""
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
    """Return which of engine, buildx and compose are missing or too old for the full tier."""
    have = {"engine": engine.version, "buildx": engine.buildx, "compose": engine.compose}
    return tuple(name for name, least in MINIMUM.items() if have[name] < least)


def require_compose(engine: Engine) -> None:
    """Check that compose is installed and new enough: every tier needs it. Raises `Problem` compose-missing."""
    if "compose" in lacking(engine):
        require_full(replace(engine, version=MINIMUM["engine"], buildx=MINIMUM["buildx"]))


def require_full(engine: Engine) -> None:
    """Check the minimum versions of the full tier. Problems: engine-too-old, buildx-missing, compose-missing."""
    names = {"engine": "Docker Engine", "buildx": "the buildx plugin", "compose": "the compose plugin"}
    codes = {"engine": "engine-too-old", "buildx": "buildx-missing", "compose": "compose-missing"}
    have = {"engine": engine.version, "buildx": engine.buildx, "compose": engine.compose}
    missing = lacking(engine)
    if not missing:
        return
    causes = [
        f"{names[n]}: {f'found {dotted(have[n])}' if have[n] else 'not found'}, required: {dotted(MINIMUM[n])} or newer"
        for n in missing
    ]
    first = missing[0]
    wanted = f"{names[first]} {dotted(MINIMUM[first])} or newer is required"
    raise Problem(
        codes[first],
        f"{wanted[0].upper()}{wanted[1:]}; "
        + (f"found {dotted(have[first])}." if have[first] else "it is not installed."),
        causes=causes,
        hint="invoke engine.install (Debian, Ubuntu; others: https://docs.docker.com/engine/install/)",
    )
