"""Requests to registries with urllib3: a shared deadline, a size limit per response, credentials for one host only.

Import this late: TLS takes 50 ms to import.
"""

from __future__ import annotations

import email.utils
import ipaddress
import random
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from .names import Blob, Denied, Malformed, Unreachable, is_loopback, printable, proxy_for
from .patience import Patience, timed
from .reader import LIMIT

#: Maximum number of attempts if the registry, not the request, is at fault; maximum number of redirects.
TRIES = 3
REDIRECTS = 5

#: Maximum pause in seconds that a registry may request.
LONGEST_PAUSE = 60.0

_PIECE = 1 << 16
_BUSY = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """A complete response: status, headers in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Wire:
    """Sends requests with a deadline. `env` contains the proxies; `sleep` waits between attempts."""

    env: Mapping[str, str]
    ca_bundle: str
    patience: Patience
    sleep: Callable[[float], None] = time.sleep
    _pools: dict[str, urllib3.PoolManager] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def tried(self, method: str, host: str, work: Callable[[], Answer]) -> Answer:
        """Call `work` and return its response; retry if that may help, after the delay requested by the registry.

        Raises `Unreachable`, `Denied`, `Malformed`; the caller handles statuses below 400 and 401, 404.
        """
        last = "no response"
        for attempt in range(TRIES):
            asked = 0.0
            try:
                answer = work()
                if answer.status not in _BUSY:
                    return self._judged(method, host, answer)
                last = f"{host} returned {answer.status}"
                asked = _retry_after(answer.headers.get("retry-after", ""))
            except (HTTPError, OSError, ValueError) as error:
                last = f"{host}: {_words(error)}"
            if self.patience.over:
                raise Unreachable(f"{last}; no time left to retry")
            if attempt + 1 < TRIES:
                self._pause(asked, random.uniform(0.5, 1.5) * 0.4 * 2**attempt, last)  # noqa: S311  # jitter
        raise Unreachable(last)

    def request(
        self, method: str, address: str, headers: Mapping[str, str], body: Blob | bytes | None = None, most: int = LIMIT
    ) -> Answer:
        """Send one request. GET and HEAD follow redirects, without sending credentials."""
        sent = dict(headers)
        for _ in range(REDIRECTS + 1):
            answer = self._once(method, address, sent, body, most)
            place = answer.headers.get("location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not place:
                return answer
            if method not in ("GET", "HEAD"):
                raise Malformed(f"{method} was redirected")
            address = self._next(address, place)
            sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
        raise Malformed(f"more than {REDIRECTS} redirects")

    def checked(self, address: str, base: str) -> str:
        """Parse an untrusted URL. Only https is allowed, and http from this machine to itself."""
        try:
            parts = urllib.parse.urlsplit(address)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise Malformed(f"{printable(address)!r} is not a URL") from None
        if not parts.scheme:
            raise Malformed(f"{printable(address)!r} is not a complete URL")
        ours = is_loopback(urllib.parse.urlsplit(base).netloc)
        fine = parts.scheme == "https" or (parts.scheme == "http" and ours and is_loopback(parts.netloc))
        if not fine or not host or "@" in parts.netloc or not address.isprintable() or " " in address:
            raise Malformed(f"{printable(parts.scheme)}://{printable(host)}: only https without credentials is allowed")
        if _is_local(host) and not ours and host != urllib.parse.urlsplit(base).hostname:
            raise Malformed("a remote host redirected the request to this machine or its own link")
        return urllib.parse.urlunsplit(parts._replace(fragment=""))

    def _next(self, address: str, place: str) -> str:
        try:
            joined = urllib.parse.urljoin(address, place)
        except ValueError:
            joined = place
        return self.checked(joined, address)

    def _once(
        self, method: str, address: str, headers: Mapping[str, str], body: Blob | bytes | None, most: int
    ) -> Answer:
        more = {"Content-Length": str(body.size)} if isinstance(body, Blob) else {}
        large = isinstance(body, Blob) and body.size > 0
        self.patience.uploading = large
        reply = self._pool(address).urlopen(
            method,
            address,
            body=body.read() if isinstance(body, Blob) else body,
            headers={**headers, **more},
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=self.patience.wait(), read=self.patience.wait()),
        )
        whole = False
        try:
            content = b"" if method == "HEAD" else self._read(reply, most if reply.status < 300 else _PIECE)
            whole = True
        finally:
            if whole:
                reply.release_conn()
            else:
                reply.close()  # the rest is not needed
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, content)

    def _read(self, reply: urllib3.BaseHTTPResponse, most: int) -> bytes:
        kept = bytearray()
        while piece := reply.read(_PIECE):
            kept += piece
            if len(kept) > most:
                raise Malformed(f"the response is larger than {most} bytes")
        return bytes(kept)

    def _judged(self, method: str, host: str, answer: Answer) -> Answer:
        if answer.status < 400 or answer.status in (401, 404):
            return answer
        if answer.status in (403, 405):
            raise Denied(f"{host} returned {answer.status} for {method}")
        raise Unreachable(f"{host} returned {answer.status} for {method}")

    def _pause(self, asked: float, usual: float, why: str) -> None:
        if asked > LONGEST_PAUSE or asked >= self.patience.left:
            raise Unreachable(f"{why}, and asked to retry after {asked:.0f} s")
        self.sleep(min(max(asked, usual), self.patience.left))

    # ---- connections

    def _pool(self, address: str) -> urllib3.PoolManager:
        parts = urllib.parse.urlsplit(address)
        proxy = proxy_for(self.env, parts.scheme, parts.netloc)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._manager(proxy)
            return self._pools[proxy]

    def _manager(self, proxy: str) -> urllib3.PoolManager:
        pools = {"http": self._kinds[0], "https": self._kinds[1]}
        # used by multiple threads; a pool with fewer connections would keep closing and reopening them
        more: dict[str, Any] = {"maxsize": 8, "ssl_context": self._trust}
        if proxy:
            parts = urllib.parse.urlsplit(proxy)
            user = ":".join(urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
            login = urllib3.make_headers(proxy_basic_auth=user) if parts.username else None
            bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            made: urllib3.PoolManager = urllib3.ProxyManager(
                bare, proxy_headers=login, proxy_ssl_context=self._trust, **more
            )
        else:
            made = urllib3.PoolManager(**more)
        made.pool_classes_by_scheme = pools
        return made

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_bundle or None)
        context.sslsocket_class = timed(ssl.SSLSocket, self.patience)
        return context

    @cached_property
    def _kinds(self) -> tuple[type[urllib3.HTTPConnectionPool], type[urllib3.HTTPSConnectionPool]]:
        plain = timed(socket.socket, self.patience)

        def watched(opened: socket.socket) -> socket.socket:
            made = plain(opened.family, opened.type, opened.proto, fileno=opened.detach())
            made.settimeout(self.patience.wait())  # for the TLS handshake: a new socket object has no timeout
            return made

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return watched(super()._new_conn())

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return watched(super()._new_conn())

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        return PlainPool, SecurePool


def _is_local(host: str) -> bool:
    """Whether a host is written as an address of this machine, in any notation, or as a link-local address."""
    if host.rstrip(".").rpartition(".")[2] == "localhost":
        return True
    try:
        found: Any = ipaddress.ip_address(socket.inet_aton(host))  # also reads 127.1 and 0x7f000001
    except (OSError, ValueError):
        try:
            found = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
    found = getattr(found, "ipv4_mapped", None) or found
    return bool(found.is_loopback or found.is_unspecified or found.is_link_local)


def _retry_after(value: str) -> float:
    """Return the seconds in a Retry-After header, a number or a date; 0 if missing or invalid."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


def _words(error: Exception) -> str:
    """Return the error message, without our class names and object addresses."""
    inner = error.__cause__ or error
    if isinstance(inner, OSError) and inner.strerror:
        return str(inner.strerror)
    text = re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(error)).rstrip(".")
    return printable(text or type(error).__name__)
