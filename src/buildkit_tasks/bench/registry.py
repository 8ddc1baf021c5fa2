"""A registry for the case with a pulled pack: in this process, on loopback, with its storage in a scratch directory.

Implements only what our client uses of https://github.com/opencontainers/distribution-spec/blob/main/spec.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PATH = re.compile(r"/v2/(?P<name>[a-z0-9/_-]+)/(?P<kind>blobs|manifests|tags)/(?P<what>[^?]*)(?:\?(?P<query>.*))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CHUNK = 1 << 20
#: Seconds after which a connection without data is closed.
_IDLE = 60.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    place: Path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    server: _Server

    def handle_one_request(self) -> None:
        """Close a connection that begins with TLS: the client then tries without."""
        with contextlib.suppress(OSError):
            if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
                self.close_connection = True
                return
        super().handle_one_request()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        """Answer like GET, without the content."""
        self.do_GET()

    def do_GET(self) -> None:
        """Send a blob, a manifest or the list of tags."""
        found = _PATH.fullmatch(self.path)
        if self.path == "/v2/":
            self._answer(200, b"{}")
        elif not found:
            self._answer(404)
        elif found["kind"] == "tags":
            names = sorted(path.name for path in (self.server.place / "tags").iterdir())
            self._answer(200, json.dumps({"name": found["name"], "tags": names}).encode())
        elif found["kind"] == "manifests":
            digest = self._digest(found["what"])
            path = self.server.place / "blobs" / digest.replace(":", "-")
            kind = self.server.place / "kinds" / digest.replace(":", "-")
            if not digest or not path.is_file() or not kind.is_file():
                self._answer(404)
            else:
                headers = {"Content-Type": kind.read_text(), "Docker-Content-Digest": digest}
                self._answer(200, path.read_bytes(), headers)
        else:
            self._send(found["what"])

    def do_POST(self) -> None:
        """Begin an upload."""
        found = _PATH.fullmatch(self.path)
        self._drain()
        if not found or found["kind"] != "blobs":
            self._answer(404)
            return
        place = f"/v2/{found['name']}/blobs/uploads/{secrets.token_hex(8)}"
        self._answer(202, headers={"Location": place})

    def do_PUT(self) -> None:
        """Receive a blob or a manifest."""
        found = _PATH.fullmatch(self.path)
        temporary = self.server.place / f"upload-{secrets.token_hex(8)}"
        digest = f"sha256:{self._receive(temporary)}"
        asked = re.search(r"digest=([^&]+)", (found["query"] or "") if found else "")
        tag = found["what"] if found and found["kind"] == "manifests" else ""
        if not found or (asked and asked[1].replace("%3A", ":") != digest) or (tag and not self._name(tag)):
            temporary.unlink(missing_ok=True)
            self._answer(400)
            return
        temporary.replace(self.server.place / "blobs" / digest.replace(":", "-"))
        if tag:
            (self.server.place / "kinds" / digest.replace(":", "-")).write_text(self.headers.get("Content-Type", ""))
            if not _DIGEST.fullmatch(tag):
                (self.server.place / "tags" / tag).write_text(digest)
        self._answer(201, headers={"Docker-Content-Digest": digest, "Location": self.path.partition("?")[0]})

    # ---- parts

    @staticmethod
    def _name(word: str) -> bool:
        return bool(_TAG.fullmatch(word) or _DIGEST.fullmatch(word))

    def _digest(self, name: str) -> str:
        """Return the digest of a tag or digest, empty if there is none."""
        if _DIGEST.fullmatch(name):
            return name
        path = self.server.place / "tags" / name
        return path.read_text() if _TAG.fullmatch(name) and path.is_file() else ""

    def _send(self, digest: str) -> None:
        path = self.server.place / "blobs" / digest.replace(":", "-")
        if not _DIGEST.fullmatch(digest) or not path.is_file():
            self._answer(404)
            return
        size, start = path.stat().st_size, 0
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if ranged and 0 < int(ranged[1]) < size:
            start = int(ranged[1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(size - start))
        self.send_header("Content-Type", "application/octet-stream")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                file.seek(start)
                shutil.copyfileobj(file, self.wfile, _CHUNK)

    def _receive(self, path: Path) -> str:
        digest, left = hashlib.sha256(), int(self.headers.get("Content-Length", 0))
        with path.open("wb") as file:
            while left and (chunk := self.rfile.read(min(_CHUNK, left))):
                digest.update(chunk)
                file.write(chunk)
                left -= len(chunk)
        return digest.hexdigest()

    def _drain(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, code: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def running(place: Path) -> Iterator[str]:
    """Run a registry on a free port of 127.0.0.1 and yield its address. Its storage is removed afterwards."""
    for name in ("blobs", "kinds", "tags"):
        (place / name).mkdir(parents=True, exist_ok=True)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.place = place
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
        shutil.rmtree(place, ignore_errors=True)
