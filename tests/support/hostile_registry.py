"""A malicious registry: it serves a valid pack for any requested tag, corrupted in one way at a time.

It uses raw sockets, because no HTTP server would send most of these answers. It claims to have the toolchain in the
requested tag, so machines accept the pack and continue with the next step.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import secrets
import socket
import socketserver
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from buildkit_tasks.packs import pack as packs

OCI = "application/vnd.oci.image"
LABEL = "buildkit-tasks.pack"


#: How many seconds it keeps a client waiting: longer than any test takes.
LASTING = 900


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer() -> bytes:
    """Return a layer with a part that is not an archive; it is different each time, so no engine has it already."""
    text = f"not an archive {secrets.token_hex(8)}".encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("deps-1.tar.gz")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


@dataclass
class Pack:
    """The pack as JSON values. A behavior can corrupt them before they are served."""

    label: dict[str, Any]
    layers: list[bytes] = field(default_factory=lambda: [layer()])
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    labels: Any = None

    def config_bytes(self) -> bytes:
        content = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {LABEL: json.dumps(self.label)} if self.labels is None else self.labels},
            "rootfs": {"type": "layers", "diff_ids": [sha256(blob) for blob in self.layers]},
            **self.config,
        }
        return json.dumps(content).encode()

    def manifest_bytes(self) -> bytes:
        about = self.config_bytes()
        content = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": sha256(about), "size": len(about)},
            "layers": [
                {"mediaType": f"{OCI}.layer.v1.tar", "digest": sha256(blob), "size": len(blob)} for blob in self.layers
            ],
            **self.manifest,
        }
        return json.dumps(content).encode()


def pack_for(tag: str) -> Pack:
    """Return a pack that matches the machine requesting the tag `scope-platform-profile-toolchain…`."""
    scope, platform, profile, toolchain = (tag.split("-") + ["x"] * 4)[:4]
    return Pack(
        {
            "format": packs.FORMAT,
            "scope": scope,
            "platform": platform,
            "created": "2026-11-01T00:00:00+00:00",
            "toolchain": toolchain,
            "rustc": "rustc 1.95.0",
            "host": "x86_64-unknown-linux-gnu",
            "profile": profile,
            "rustflags": "",
            "lock": "a" * 64,
            "form": "gz",
            "units": 3,
            "crates": 3,
            "compile_seconds": 9.5,
            "parts": {"deps-1.tar.gz": 4096},
            "packages": ["gcc 12.2"],
        }
    )


@dataclass(frozen=True)
class Request:
    """The request, and the socket for the answer."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    sock: socket.socket
    server: Hostile

    def answer(
        self, body: bytes, kind: str = "application/json", status: str = "200 OK", more: Mapping[str, str] | None = None
    ) -> None:
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **(more or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.sock.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1"))
        if self.method != "HEAD":
            self.sock.sendall(body)


#: Answers a request, or returns False to serve the valid pack.
Behavior = Callable[[Request], bool]


class Hostile(socketserver.ThreadingTCPServer):
    """`asked`: all requests. `pack`: the pack that is served once a tag has been requested."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, behavior: Behavior, spoil: Callable[[Pack], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behavior, self.spoil = behavior, spoil
        self.asked: list[Request] = []
        self.pack: Pack | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect: the tests cause this."""


class Handler(socketserver.BaseRequestHandler):
    server: Hostile

    def handle(self) -> None:
        self.request.settimeout(LASTING)
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self.request.recv(65536)
            if not piece:
                return
            if not got and piece[0] == 0x16:  # a TLS hello: we do not support TLS, and clients recognize this answer
                self.request.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                return
            got += piece
        lines = got.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        body = got.partition(b"\r\n\r\n")[2]
        while len(body) < int(headers.get("content-length", 0)):
            body += self.request.recv(65536) or bytes(1 << 20)
        request = Request(method, path, headers, body.decode("latin-1"), self.request, self.server)
        self.server.asked.append(request)
        if not self.server.behavior(request):
            sound(request)


def sound(request: Request) -> None:
    """Answer like an honest registry."""
    path = request.path.partition("?")[0]
    if path.rstrip("/") == "/v2":
        return request.answer(b"{}")
    if path.endswith("/tags/list"):
        return request.answer(b'{"name":"team/cache","tags":[]}')
    name = path.rpartition("/")[2]
    server = request.server
    if server.pack is None:
        server.pack = pack_for(name)
        server.spoil(server.pack)
    manifest, config = server.pack.manifest_bytes(), server.pack.config_bytes()
    if "/manifests/" in path and (not name.startswith("sha256:") or name == sha256(manifest)):
        return request.answer(manifest, f"{OCI}.manifest.v1+json", more={"Docker-Content-Digest": sha256(manifest)})
    blobs = {sha256(blob): blob for blob in (*server.pack.layers, config)}
    if "/blobs/" in path and name in blobs:
        return request.answer(blobs[name], "application/octet-stream")
    return request.answer(b"{}", status="404 Not Found")


@contextmanager
def running(behavior: Behavior, spoil: Callable[[Pack], None] = lambda _: None) -> Iterator[Hostile]:
    server = Hostile(behavior, spoil)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---- behaviors


def _at(place: str, answer: Callable[[Request], None]) -> Behavior:
    """Return a behavior for URLs that contain this text."""

    def behave(request: Request) -> bool:
        if place in request.path:
            answer(request)
            return True
        return False

    return behave


def says(body: bytes, kind: str = "application/json", place: str = "/v2/") -> Behavior:
    return _at(place, lambda request: request.answer(body, kind))


def drips(start: bytes, drop: bytes, pause: float = 0.5, place: str = "/v2/") -> Behavior:
    """Send a start, then small pieces for as long as the client listens."""

    def answer(request: Request) -> None:
        end = time.monotonic() + LASTING
        with suppress(OSError):
            request.sock.sendall(start)
            while time.monotonic() < end:
                request.sock.sendall(drop)
                if pause:
                    time.sleep(pause)

    return _at(place, answer)


def moves(address: str) -> Behavior:
    return _at("/v2/", lambda r: r.answer(b"", status="307 Temporary Redirect", more={"Location": address}))


def asks_for_login(challenge: str) -> Behavior:
    return _at("/v2/", lambda r: r.answer(b"", status="401 Unauthorized", more={"WWW-Authenticate": challenge}))


def fails(status: str, more: Mapping[str, str] | None = None) -> Behavior:
    return _at("/v2/", lambda r: r.answer(b"", status=status, more=more))


def injects(header: str) -> Behavior:
    """Send the valid manifest, with a digest header that continues with attacker-controlled text."""

    def answer(request: Request) -> bool:
        name = request.path.rpartition("/")[2]
        if "/manifests/" not in request.path or name.startswith("sha256:"):
            return False
        if request.server.pack is None:
            request.server.pack = pack_for(name)
        body = request.server.pack.manifest_bytes()
        request.answer(
            body, f"{OCI}.manifest.v1+json", more={"Docker-Content-Digest": header.replace("DIGEST", sha256(body))}
        )
        return True

    return answer


def names_itself(request: Request) -> bool:
    """Send an index that only contains itself, under every name."""
    name = request.path.rpartition("/")[2]
    if "/manifests/" not in request.path:
        return False
    digest = name if name.startswith("sha256:") else sha256(b"itself")
    entry = {"mediaType": f"{OCI}.index.v1+json", "digest": digest, "size": 9}
    image = {**entry, "mediaType": f"{OCI}.manifest.v1+json"}
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [entry, image]}
    request.answer(json.dumps(index).encode(), f"{OCI}.index.v1+json")
    return True


def goes_on(request: Request) -> bool:
    """Send no packs, and a tag list in which every page links to another page."""
    if "/manifests/" in request.path:
        request.answer(b"{}", status="404 Not Found")
    elif "/tags/list" in request.path:
        number = int((re.findall(r"last=(\d+)", request.path) or ["0"])[0]) + 1
        more = {"Link": f'</v2/team/cache/tags/list?n=1000&last={number}>; rel="next"'}
        request.answer(json.dumps({"tags": ["all-amd64-release-x"] * 9}).encode(), more=more)
    else:
        return False
    return True


def waits(request: Request) -> bool:
    """Accept the request and never answer."""
    with suppress(OSError):
        request.sock.recv(1)
    return True


def sound_otherwise(_: Request) -> bool:
    return False


#: A gigabyte of zeros, compressed to a megabyte.
BOMB = gzip.compress(bytes(1 << 20)) * 900


def _headers(*lines: str, body: bytes = b"{}") -> Behavior:
    """Send these header lines and nothing else."""

    def answer(request: Request) -> None:
        head = "".join(f"{line}\r\n" for line in lines)
        with suppress(OSError):
            request.sock.sendall(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n".encode("latin-1") + body)

    return _at("/v2/", answer)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_MANIFEST = "/manifests/"


def _swapped(request: Request) -> bool:
    """Send a configuration of the same size that differs from the one in the manifest."""
    pack = request.server.pack
    if "/blobs/" not in request.path or pack is None:
        return False
    request.answer(pack.config_bytes().replace(b"amd64", b"arm64", 1), "application/octet-stream")
    return True


#: Attacks before any byte of a pack is downloaded, with text that must appear in the build's message.
BEHAVIORS: dict[str, tuple[Behavior, str]] = {
    "html": (says(b"<!doctype html><title>Welcome to the proxy</title>", "text/html"), "invalid JSON"),
    "empty": (says(b""), "invalid JSON"),
    "null": (says(b"null"), "expected dict, found NoneType"),
    "list": (says(b"[1,2]"), "expected dict, found list"),
    "number": (says(b"7"), "expected dict, found int"),
    "empty object": (says(b"{}"), "schemaVersion"),
    "no config or layers": (says(b'{"schemaVersion":2}'), "expected dict"),
    "deep nesting": (says(b'{"a":' + b"[" * 200_000), "invalid JSON"),
    "invalid UTF-8": (says(b'{"schemaVersion":2,"a":"\xff\xfe"}'), "invalid JSON"),
    "UTF-16": (says('{"schemaVersion":2}'.encode("utf-16")), "invalid JSON"),
    "duplicate names": (says(b'{"schemaVersion":2,"layers":[],"layers":[],"config":{}}'), "duplicate name"),
    "400-digit number": (says(b'{"schemaVersion":2,"a":' + b"9" * 400 + b"}"), "a number with 400 digits"),
    "900,000-digit number": (says(b'{"a":' + b"9" * 900_000 + b"}"), "a number with 900000 digits"),
    "endless body": (drips(_HEAD + b"\r\n", b" " * 65536, 0), "the response is larger than 1048576 bytes"),
    "endless chunks": (
        drips(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n", 0),
        "the response is larger than 1048576 bytes",
    ),
    "endless headers": (drips(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 60000 + b"\r\n", 0), "is unreachable"),
    "endless interim responses": (drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0), "is unreachable"),
    "slow body": (drips(_HEAD + b"Content-Length: 100000\r\n\r\n", b" "), "is unreachable"),
    "slow headers": (drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "is unreachable"),
    "no response": (waits, "is unreachable"),
    "truncated body": (
        drips(_HEAD + b"Content-Length: 10\r\nConnection: close\r\n\r\n{", b"", LASTING),
        "is unreachable",
    ),
    "garbage": (drips(b"SSH-2.0-OpenSSH_9.2\r\n", b"x" * 100, LASTING), "is unreachable"),
    "invalid gzip": (
        _at("/v2/", lambda r: r.answer(b"\x1f\x8b" + bytes(9000), more={"Content-Encoding": "gzip"})),
        "invalid JSON",
    ),
    "redirect loop": (moves("/v2/again"), "more than 5 redirects"),
    "redirect to http": (moves("http://192.0.2.1/v2/x"), "only https"),
    "redirect to a file": (moves("file:///etc/passwd"), "only https"),
    "redirect to an invalid URL": (moves("https://[::1/\x01"), "sent an invalid response"),
    "realm without TLS": (asks_for_login('Bearer realm="http://192.0.2.1/token",service="s"'), "only https"),
    "realm with an unknown scheme": (asks_for_login('Bearer realm="gopher://x",service="s"'), "only https"),
    "token of the wrong type": (
        lambda r: (
            says(b'{"token":["x"]}', place="/token")(r)
            or asks_for_login(f'Bearer realm="http://{r.server.host}/token"')(r)
        ),
        "token",
    ),
    "token with an injected header": (
        lambda r: (
            says(b'{"token":"x\\r\\nX-Evil: 1"}', place="/token")(r)
            or asks_for_login(f'Bearer realm="http://{r.server.host}/token"')(r)
        ),
        "token",
    ),
    "Retry-After of an hour": (fails("429 Too Many Requests", {"Retry-After": "3600"}), "asked to retry after 3600 s"),
    "invalid Retry-After": (fails("503 Service Unavailable", {"Retry-After": "9" * 400}), "returned 503"),
    "internal server error": (fails("500 Internal Server Error"), "returned 500"),
    "index that contains itself": (names_itself, "the requested digest"),
    "different configuration": (_swapped, "does not match the manifest"),
    "endless tag list": (goes_on, "the tag list has too many pages"),
    "1 MB cookie": (_headers("Set-Cookie: a=" + "x" * 1_000_000), "is unreachable"),
    "10,000 headers": (_headers(*(f"X-{n}: y" for n in range(10_000))), "is unreachable"),
    "Content-Length too short": (_headers("Content-Length: 9", body=b'{"schemaVersion":2}'), "invalid JSON"),
    "negative Content-Length": (_headers("Content-Length: -1", body=b"[" * 99), "invalid JSON"),
    "two Content-Length headers": (
        _headers("Content-Length: 5", "Content-Length: 7", body=b"[" * 99),
        "is unreachable",
    ),
    "invalid chunk size": (_headers("Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n"), "is unreachable"),
    "1 EB chunk": (
        drips(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nDE0B6B3A7640000\r\n", b" " * 65536, 0),
        "the response is larger than 1048576 bytes",
    ),
    "endless early hints": (
        drips(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 99, 0),
        "",
    ),
    "gzip bomb": (
        _at("/v2/", lambda r: r.answer(BOMB, more={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})),
        "invalid JSON",
    ),
    "NaN": (says(b'{"schemaVersion":2,"a":NaN}'), "NaN is not JSON"),
    "negative infinity": (says(b'{"schemaVersion":2,"a":-Infinity}'), "-Infinity is not JSON"),
    "lone surrogate in the manifest": (
        says(b'{"schemaVersion":2,"mediaType":"\\ud800"}'),
        "conflicting media types",
    ),
    "byte order mark": (says(b'\xef\xbb\xbf{"schemaVersion":2}'), "invalid JSON"),
    "two-digit status code": (drips(b"HTTP/1.1 42 What\r\n\r\n", b"", LASTING), "is unreachable"),
    "unknown HTTP version": (drips(b"HTTP/9.9 200 OK\r\n\r\n", b"", LASTING), "is unreachable"),
    "Retry-After of thirty years": (fails("429 Too Many Requests", {"Retry-After": "1000000000"}), "retry after"),
    "Retry-After until 2099": (
        fails("429 Too Many Requests", {"Retry-After": "Fri, 31 Dec 2099 23:59:59 GMT"}),
        "asked to retry after",
    ),
    "redirect with a password": (moves("https://me:it-is-4711@127.0.0.1/x"), "only https"),
    "redirect to the cloud metadata service": (moves("http://169.254.169.254/latest/meta-data/"), "only https"),
    "redirect to a socket": (moves("unix:///var/run/docker.sock"), "only https"),
}


def _label(**more: Any) -> Callable[[Pack], None]:
    return lambda pack: pack.label.update(more)


def _manifest(**more: Any) -> Callable[[Pack], None]:
    return lambda pack: pack.manifest.update(more)


def _layers(**more: Any) -> Callable[[Pack], None]:
    entry = {"mediaType": f"{OCI}.layer.v1.tar", "digest": sha256(layer()), "size": len(layer()), **more}
    return _manifest(layers=[entry])


def _labels(labels: Any) -> Callable[[Pack], None]:
    def spoil(pack: Pack) -> None:
        pack.labels = labels

    return spoil


#: Packs with correct digests that must not be downloaded.
PACKS: dict[str, tuple[Callable[[Pack], None], str]] = {
    "numeric label": (_labels({LABEL: 7}), "label: expected str, found int"),
    "labels in a list": (_labels([LABEL]), "Labels: expected dict, found list"),
    "lone surrogate in a label": (_label(rustc="\ud800"), "not valid Unicode"),
    "non-numeric part size": (_label(parts={"deps-1.tar.gz": "many"}), "is not a size"),
    "path traversal in a part name": (_label(parts={"../../etc/cron.d/x": 1}), "is not a valid part name"),
    "escape sequences": (_label(toolchain="other", rustc="\x1b[2J\x1b]0;owned\x07\r\nrustc"), "different toolchain"),
    "compressed layers": (_layers(mediaType=f"{OCI}.layer.v1.tar+gzip"), "uncompressed"),
    "Docker layer media type": (_layers(mediaType="application/vnd.docker.image.rootfs.diff.tar"), "uncompressed"),
    "oversized layer": (_layers(size=10**14), "the layers total"),
    "negative layer size": (_layers(size=-1), "is not a size"),
    "fractional layer size": (_layers(size=1.5), "is not a size"),
    "digest with a command": (
        _layers(digest=f"{sha256(b'')},target=/x --mount=type=secret,id=ca id"),
        "not a sha256",
    ),
    "md5 digest": (_layers(digest="md5:d41d8cd98f00b204e9800998ecf8427e"), "not a sha256"),
    "contradictory media types": (_manifest(mediaType=f"{OCI}.index.v1+json"), "conflicting media types"),
    "both an image and an index": (_manifest(manifests=[]), "an image and an index"),
    "fewer layers than parts": (_label(parts={"deps-1.tar.gz": 1, "rest.tar.gz": 1}), "1 layer for 2 parts"),
    "uppercase digest": (_layers(digest=sha256(b"").upper().replace("SHA256", "sha256")), "not a sha256"),
    "sha512 digest": (_layers(digest=f"sha512:{hashlib.sha512(b'').hexdigest()}"), "not a sha256"),
    "layer stored elsewhere": (
        _layers(urls=["http://169.254.169.254/latest/meta-data/"]),
        "is stored outside the registry",
    ),
    "2,000 layers": (_manifest(layers=[{}] * 2000), "more than 1000"),
    "100,000 layers": (_manifest(layers=[{"digest": sha256(b"")}] * 100_000), "larger than 1048576 bytes"),
    "no layers": (_manifest(layers=[]), "0 layers for 1 part"),
    "1 TB configuration": (
        _manifest(config={"mediaType": f"{OCI}.config.v1+json", "digest": sha256(b""), "size": 10**12}),
        "bytes",
    ),
    "bidirectional control characters in a label": (
        _label(rustc="\u202e\u2066 x", toolchain="other"),
        "different toolchain",
    ),
    "invalid date": (_label(created="\x1b]0;x\x07", toolchain="other"), "different toolchain"),
    "different layers in the configuration": (
        lambda pack: pack.config.update(rootfs={"diff_ids": [sha256(b"other")]}),
        "list different layers",
    ),
}
