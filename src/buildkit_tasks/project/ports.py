"""Who holds a port of this machine: asked before `up`, so that the answer names a program and a variable."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def taken(host: str, port: int) -> bool:
    """True when nobody else could listen there now. TCP; an address that is not ours counts as free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the engine's proxy does: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return False  # a low port: the engine may bind it, we may not
        except OSError as error:
            return error.errno == 98 or "in use" in str(error).lower()
    return False


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """`name (pid N)` of the process that listens on a port; empty where it cannot be seen (other users', macOS)."""
    wanted = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            part = line.split()
            if part[3] == "0A" and int(part[1].rsplit(":", 1)[1], 16) == port:
                wanted.add(f"socket:[{part[9]}]")
    for entry in proc.glob("[0-9]*") if wanted else ():
        try:
            if any(str(fd.readlink()) in wanted for fd in (entry / "fd").iterdir()):
                return f"{(entry / 'comm').read_text().strip()} (pid {entry.name})"
        except OSError:
            continue  # it ended, or is another user's
    return ""


def variable(raw: Mapping[str, Any], service: str, target: int) -> str:
    """The variable that gives a service's published port, from the compose model with variables unresolved."""
    for port in (raw.get("services", {}).get(service) or {}).get("ports") or ():
        text = port if isinstance(port, str) else str(port.get("published", ""))
        inner = str(port.get("target", "")) if isinstance(port, dict) else text.rsplit(":", 1)[-1].split("/")[0]
        names = re.findall(r"\$\{?(\w+)", text if isinstance(port, dict) else text.rsplit(":", 1)[0])
        if inner == str(target) and names:
            return str(names[-1])
    return ""
