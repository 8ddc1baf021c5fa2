"""The services that integration tests need: a copy of those in the compose file, separate from the stack and its data.

The copy publishes no ports, sets no container names and uses none of the stack's volumes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Workspace
from buildkit_tasks.project import compose

#: Keys that tie a service to this machine or to the stack.
_LEFT_OUT = frozenset(
    (
        *("ports", "container_name", "networks", "network_mode", "profiles", "restart", "deploy", "build", "scale"),
        *("links", "external_links", "volumes_from", "depends_on", "volumes", "labels", "develop", "expose"),
    )
)

_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - names that mean this machine

#: Default ports of URLs.
_USUAL = {"postgres": 5432, "postgresql": 5432, "mysql": 3306, "amqp": 5672, "redis": 6379, "mongodb": 27017}


def chosen(workspace: Workspace, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the services to start: those in the setting, else all with a prebuilt image. Problems: unknown-service."""
    for name in wanted:
        compose.check_name(name, tuple(workspace.images), others=workspace.names)
    names = tuple(wanted) or tuple(workspace.images)
    if not names:
        raise Problem(
            "cargo-no-services",
            "The compose file has no active service with a prebuilt image for integration tests.",
            hint="activate the profile of such a service (COMPOSE_PROFILES=…), or run `invoke cargo.test` without "
            "--integration",
        )
    return names


def model(workspace: Workspace, names: Sequence[str], images: Mapping[str, str], project: str) -> dict[str, Any]:
    """Return a compose model with only these services. `images`: maps an image reference to its replacement."""
    every = workspace.config.get("services") or {}
    services = {}
    for name in names:
        entry = every[name]
        kept = {key: value for key, value in entry.items() if key not in _LEFT_OUT and value is not None}
        kept["image"] = images.get(str(entry["image"]), str(entry["image"]))
        if found := [_volume(v) for v in entry.get("volumes") or ()]:
            kept["volumes"] = found
        needed = {n: how for n, how in (entry.get("depends_on") or {}).items() if n in names}
        if needed:
            kept["depends_on"] = needed
        services[name] = kept
    made: dict[str, Any] = {"name": project, "services": services}
    for section in ("secrets", "configs"):
        used = {u["source"] for s in services.values() for u in s.get(section) or () if isinstance(u, Mapping)}
        if defined := {k: v for k, v in (workspace.config.get(section) or {}).items() if k in used}:
            made[section] = {k: {f: x for f, x in v.items() if f != "name"} for k, v in defined.items()}
    return made


def _volume(mount: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mount at the same path that shares nothing with the stack except files, mounted read-only.

    A directory that the service can write to contains its data, so the copy must not touch it.
    """
    if mount.get("type") == "tmpfs":
        return dict(mount)
    source, target = str(mount.get("source") or ""), str(mount["target"])
    reads = mount.get("read_only") or "initdb.d" in target or target.startswith("/etc/") or Path(source).is_file()
    if mount.get("type") == "bind" and reads:
        return {"type": "bind", "source": source, "target": target, "read_only": True}
    return {"type": "volume", "target": target}


def environment(workspace: Workspace, names: Sequence[str], dotenv: Mapping[str, str]) -> dict[str, str]:
    """Return the tests' variables: .env with service names as hosts, and the stack's variables for its services.

    Omits variables with different values in two services.
    """
    # .env refers to published ports; a service's own port counts if no service publishes that number
    ports = {
        port: (n, inside)
        for key in ("target", "published")
        for n in names
        for port, inside in _ports(workspace.config["services"][n], key)
    }
    found = {name: _reach(name, value, names, ports) for name, value in dotenv.items()}
    for name, value in dotenv.items():
        if name.endswith("PORT") and dotenv.get(f"{name[:-4]}HOST") in _LOCAL and value.isdecimal():
            found[name] = str(ports.get(int(value), ("", int(value)))[1])
    several: dict[str, set[str]] = {}
    for service in workspace.names:
        for name, value in (workspace.config["services"][service].get("environment") or {}).items():
            several.setdefault(name, set()).add(str(value) if value is not None else "")
    agreed = {name: next(iter(values)) for name, values in several.items() if len(values) == 1}
    hosts = {name for name, value in agreed.items() if _host(value) in names}
    stems = {name.removesuffix("_HOST").removesuffix("HOST") for name in hosts if name.endswith("HOST")}
    near = {name for name in agreed if any(stem and name.startswith(stem) for stem in stems)}
    return {**found, **{name: agreed[name] for name in sorted(hosts | near)}}


def _ports(service: Mapping[str, Any], key: str) -> Iterator[tuple[int, int]]:
    """Yield a service's ports (`published` or `target`), each with the port that the container listens on."""
    for port in service.get("ports") or ():
        if isinstance(port, Mapping) and all(re.fullmatch(r"\d+", str(port.get(k) or "")) for k in ("target", key)):
            yield int(port[key]), int(port["target"])


def _host(value: str) -> str:
    """Return the host in a value: a URL, `host` or `host:port`."""
    if "://" in value:
        try:
            return urlsplit(value).hostname or ""
        except ValueError:
            return ""
    return re.sub(r":\d+$", "", value)


def _reach(variable: str, value: str, names: Sequence[str], ports: Mapping[int, tuple[str, int]]) -> str:
    """Replace this machine's name in a value with the service and its own port; leave other values unchanged."""
    if "://" in value:
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            return value
        if parts.hostname not in _LOCAL:
            return value
        service, inside = ports.get(port or _USUAL.get(parts.scheme, 0), ("", 0))
        if not service:
            return value
        userinfo, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{userinfo}{at}{service}:{inside}"))
    if value in _LOCAL and (name := next((n for n in names if variable.upper().startswith(n.upper())), "")):
        return name
    return value
