"""A smoke-test check: a URL of a service and what its JSON must contain. Pure, except for `ask`."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from buildkit_tasks.core import shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Port

#: Response timeout in seconds, and the maximum number of bytes to read.
PATIENCE, MOST_BYTES = 10.0, 1_000_000

_FORM = "use the form SERVICE[:PORT] [METHOD] /PATH [FIELD=VALUE ...], for example api /health status=ok"


@dataclass(frozen=True)
class Check:
    """A request to a service. `target` is a container port; 0 means the first port that the service publishes.

    `fields`: field names (dotted for nested fields) and the required values, as text.
    """

    service: str
    target: int
    method: str
    path: str
    fields: tuple[tuple[str, str], ...] = ()


def parse(text: str) -> Check:
    """Parse a check from the settings. Raises `Problem` settings-invalid."""
    words = text.split()
    service, colon, port = words[0].partition(":") if words else ("", "", "")
    rest = words[1:]
    method = rest.pop(0) if rest and re.fullmatch(r"[A-Z]+", rest[0]) else "GET"
    path = rest.pop(0) if rest else ""
    fields = [word.partition("=") for word in rest]
    ascii_port = port.isascii() and port.isdigit()
    if not service or not path.startswith("/") or (colon and not ascii_port) or not all(n and e for n, e, _ in fields):
        raise Problem("settings-invalid", f"The stack.smoke setting contains an invalid check: {text!r}.", hint=_FORM)
    return Check(service, int(port or 0), method, path, tuple((name, value) for name, _, value in fields))


def address(check: Check, ports: Sequence[Port]) -> tuple[str, int]:
    """Return the service's address on this machine. Raises `Problem` smoke-failed if it does not publish that port."""
    for port in ports:
        if port.service == check.service and port.protocol == "tcp" and check.target in (0, port.target):
            return here(port)
    what = f"does not publish port {check.target}" if check.target else "publishes no ports"
    raise Problem(
        "smoke-failed",
        f"The service {check.service!r} {what}.",
        hint="add `ports:` to the service in the compose file, or set smoke_command",
    )


def here(port: Port) -> tuple[str, int]:
    """Return the address of a published port on this machine."""
    return ("127.0.0.1" if port.host in ("0.0.0.0", "::") else port.host), port.published  # noqa: S104


def ask(where: tuple[str, int], check: Check) -> tuple[int, bytes]:
    """Return the status and body. Raises OSError or http.client.HTTPException."""
    with closing(http.client.HTTPConnection(*where, timeout=PATIENCE)) as connection:
        connection.request(check.method, check.path, headers={"Accept": "application/json, */*"})
        answer = connection.getresponse()
        return answer.status, answer.read(MOST_BYTES)


def wrong(check: Check, status: int, body: bytes) -> str:
    """Return why a response fails the check, or an empty string if it passes."""
    if status >= 400:
        return f"responded with {status}: {body[:200].decode('utf-8', errors='replace')}"
    if not check.fields:
        return ""
    try:
        content = shapes.loads(body.decode("utf-8", errors="replace"), object)
    except ValueError:
        return f"did not respond with JSON: {body[:200].decode('utf-8', errors='replace')}"
    for name, expected in check.fields:
        found = _field(content, name)
        if found != expected:
            return f"{name} is {found or 'missing'}, not {expected}"
    return ""


def _field(content: Any, name: str) -> str:
    """Return a field as text (JSON if it is not a string), or an empty string if it is missing."""
    for part in name.split("."):
        if isinstance(content, dict) and part in content:
            content = content[part]
        elif isinstance(content, list) and part.isascii() and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        else:
            return ""
    return content if isinstance(content, str) else json.dumps(content)
