"""Finds what uses a port on this machine. `up` reports the program and the variable to change."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from buildkit_tasks.core import run
from buildkit_tasks.core.model import Port
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import docker


def published(config: Mapping[str, Any], services: Collection[str]) -> Iterator[Port]:
    """Yield the host ports that these services of a resolved compose model publish, except ranges and random ports."""
    for name, service in (config.get("services") or {}).items():
        for port in (service.get("ports") or ()) if name in services else ():
            number = str(port.get("published") or "")
            if number.isdigit() and int(number) and port.get("target"):
                host, protocol = str(port.get("host_ip") or "0.0.0.0"), str(port.get("protocol") or "tcp")  # noqa: S104
                yield Port(name, host, int(number), int(port["target"]), protocol)


def shared_network(engine_host: str, address: str) -> bool:
    """Return whether the engine publishes ports on this machine: it has a local socket and our host name.

    The host name differs for Docker Desktop, for an engine on another machine, and if we run in a container.
    """
    return address.startswith("unix://") and engine_host == socket.gethostname()


def taken(host: str, port: int, protocol: str = "tcp") -> bool:
    """Return whether the port is in use; a port on another machine's address counts as free."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:  # like the engine's proxy: a port in TIME_WAIT is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return False  # a low port: the engine may be allowed to bind it even if we are not
        except OSError as error:
            return error.errno == 98 or "in use" in str(error).lower()
    return False


def user(world: World, root: Path, port: Port) -> str:
    """Return what uses a port: `container NAME`, `program (pid N)`, or "another program" if we cannot see it."""
    names = run.capture(world, docker.publishing(root, port.published, port.protocol)).stdout.split()
    return f"container {names[0]}" if names else holder(port.published, port.protocol) or "another program"


def remedy(name: str, env_file: Path | str) -> str:
    """Return how to choose another port, for a hint. `name`: the variable that sets it, or an empty string."""
    return f"set {name}=<a free port> in {env_file}" if name else "change `ports:` in the compose file"


def holder(port: int, protocol: str = "tcp", proc: Path = Path("/proc")) -> str:
    """Return `name (pid N)` of the process listening on a port; empty if we cannot see it (other users, macOS)."""
    wanted = set()
    for table in (protocol, f"{protocol}6"):
        try:
            lines = (proc / "net" / table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            part = line.split()
            if part[3] == ("0A" if protocol == "tcp" else "07") and int(part[1].rsplit(":", 1)[1], 16) == port:
                wanted.add(f"socket:[{part[9]}]")
    for entry in proc.glob("[0-9]*") if wanted else ():
        try:
            if any(str(fd.readlink()) in wanted for fd in (entry / "fd").iterdir()):
                return f"{(entry / 'comm').read_text().strip()} (pid {entry.name})"
        except OSError:
            continue  # it exited, or belongs to another user
    return ""


def variable(raw: Mapping[str, Any], service: str, target: int) -> str:
    """Return the variable that sets a service's published port, from the compose model with unresolved variables."""
    entry = (raw.get("services") or {}).get(service)
    for port in (entry.get("ports") or ()) if isinstance(entry, Mapping) else ():
        text = port if isinstance(port, str) else str(port.get("published", ""))
        inner = str(port.get("target", "")) if isinstance(port, dict) else text.rsplit(":", 1)[-1].split("/")[0]
        names = re.findall(r"\$\{?(\w+)", text if isinstance(port, dict) else text.rsplit(":", 1)[0])
        if inner == str(target) and names:
            return str(names[-1])
    return ""
