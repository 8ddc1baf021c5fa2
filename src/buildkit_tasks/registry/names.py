"""Validated values from a registry: digests, tags, names, descriptors. Pure.

Digests and tags of these types are safe to use in a Dockerfile, a bake file or an argv; unvalidated text is not.
"""

from __future__ import annotations

import hashlib
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from buildkit_tasks.core import references
from buildkit_tasks.core.errors import Problem

#: Maximum number of bytes of untrusted text to show.
SHOWN = 200

_LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.ASCII)  # \d matches other alphabets
_HOST = re.compile(rf"{references.HOST}(?::\d{{1,5}})?", re.ASCII)
_PATH = re.compile(references.PATH)

#: Docker Hub has several names; it responds under one, and docker stores its password under another.
HUB = "registry-1.docker.io"
HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry.hub.docker.com", HUB})
HUB_LOGIN = "https://index.docker.io/v1/"


class RegistryError(Exception):
    """A failed exchange with a registry. There are exactly three kinds, see below."""


class Unreachable(RegistryError):
    """No response, a late response, or a server error of the registry."""


class Denied(RegistryError):
    """The registry denies access, with or without a login."""


class Malformed(RegistryError):
    """An invalid response: wrong structure, too large, or bytes that do not match their digest."""


class Digest(str):
    """`sha256:` and 64 hexadecimal digits. Raises `Malformed` for any other text."""

    __slots__ = ()

    def __new__(cls, text: object) -> Digest:
        if not (isinstance(text, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", text)):
            raise Malformed(f"{printable(text)!r} is not a sha256 digest")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Return the digest of these bytes."""
        return cls(f"sha256:{hashlib.sha256(content).hexdigest()}")


class Tag(str):
    """A tag: up to 128 letters, digits, `_`, `.`, `-`. Raises `Malformed` for any other text."""

    __slots__ = ()

    def __new__(cls, text: object) -> Tag:
        if not (isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", text)):
            raise Malformed(f"{printable(text)!r} is not a tag")
        return super().__new__(cls, text)


@dataclass(frozen=True)
class Descriptor:
    """A manifest's entry for a blob: media type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class Manifest:
    """An image's manifest. `digest` is computed from the received bytes; `layers` are in order."""

    digest: Digest
    layers: tuple[Descriptor, ...]
    config: Descriptor

    @property
    def size(self) -> int:
        """Bytes of all layers, as stored."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class Config:
    """An image's configuration: its labels, and the digests of its layers before compression."""

    labels: Mapping[str, str] = field(default_factory=dict)
    diff_ids: tuple[Digest, ...] = ()


@dataclass(frozen=True)
class Blob:
    """Something to upload: its digest, its size in bytes, and its content, reopened for each attempt."""

    digest: str
    size: int
    read: Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Reference:
    """A repository, `host/repository`; `host` may include a port. Raises `Problem` bad-argument if invalid."""

    host: str
    repository: str

    def __post_init__(self) -> None:
        fits = _HOST.fullmatch(self.host) and _PATH.fullmatch(self.repository)
        if not fits or len(self.name) > 255:
            raise _no_reference(self.name)

    @property
    def name(self) -> str:
        """The name as written by docker."""
        return f"{self.host}/{self.repository}"

    @property
    def api_host(self) -> str:
        """The host that serves the API; Docker Hub's differs from its name."""
        return HUB if self.host in HUB_NAMES else self.host

    def at(self, digest: Digest) -> str:
        """Return the image with exactly this digest, as written by docker."""
        return f"{self.name}@{digest}"


def reference(text: str) -> Reference:
    """Parse `host[:port]/path`. Raises `Problem` bad-argument for a tag, a digest, a user or a name without a host."""
    host, _, path = text.partition("/")
    if not ("." in host or ":" in host or host == "localhost"):
        raise _no_reference(text)
    if host in HUB_NAMES and path and "/" not in path:
        path = f"library/{path}"
    return Reference(host, path)


def _no_reference(text: str) -> Problem:
    shown = re.sub(r"^[^/]*@", "***@", text)  # a password may precede an @
    causes = ["expected host/path in lower case, without a tag or digest"]
    if shown != text:
        causes.append("do not include a user or password; use docker login")
    return Problem(
        "bad-argument",
        f"{printable(shown)!r} is not a valid repository name.",
        causes=causes,
        hint="for example: --ref ghcr.io/OWNER/PROJECT-cache",
    )


def is_loopback(host: str) -> bool:
    """Return whether a host (with or without its port) is this machine; only then is TLS not required."""
    return bool(_LOOPBACK.fullmatch(host))


def proxy_for(env: Mapping[str, str], scheme: str, host: str) -> str:
    """Return the proxy for a host (with or without port), empty for none; this machine never needs one.

    Raises `Unreachable` for an invalid one, without its text: it may contain a password.
    """
    if is_loopback(host):
        return ""
    found: dict[str, str] = {}
    for kind in (scheme, "all", "no"):
        if value := env.get(f"{kind}_proxy") or env.get(f"{kind.upper()}_PROXY"):
            found[kind] = value
    if not found and sys.platform == "darwin":
        from urllib.request import getproxies  # late: it imports TLS

        found = getproxies()
    name = re.sub(r":[0-9]+$", "", host).lower()
    for entry in found.get("no", "").lower().split(","):
        end = entry.strip().lstrip("*.")
        if entry.strip() == "*" or (end and (end in (name, host.lower()) or name.endswith(f".{end}"))):
            return ""
    proxy = found.get(scheme) or found.get("all", "")
    return _valid_proxy(proxy if "://" in proxy else f"http://{proxy}") if proxy else ""


def _valid_proxy(proxy: str) -> str:
    try:
        parts = urllib.parse.urlsplit(proxy)
        valid = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or any("@" in part for part in (parts.path, parts.query, parts.fragment)) or not proxy.isascii():
        raise Unreachable("the proxy URL is invalid (encode special characters in the password, such as %2F)")
    if parts.scheme not in ("http", "https"):
        raise Unreachable(f"a {printable(parts.scheme, 20)} proxy is not supported, only http and https")
    return proxy


def printable(text: object, most: int = SHOWN) -> str:
    """Return untrusted text as one line for the terminal: no control characters or escapes, limited length."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in str(text)[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"
