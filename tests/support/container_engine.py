"""A fake engine socket with containers: it answers the Docker SDK's queries while tasks wait for healthy services."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlparse


@dataclass
class Containers:
    """The state of one container per service, which tests can change at any time."""

    path: Path
    states: dict[str, str] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, what: str) -> object:
        """Return the document at a path; return None if it does not exist."""
        *_, kind, name, last = ("", "", *what.strip("/").split("/"))
        if last == "version":
            return {"ApiVersion": "1.43", "Version": "28.5.2"}
        if (name, last) == ("containers", "json"):
            return [{"Id": service} for service in self.states]
        if (kind, last) == ("containers", "json") and name in self.states:
            labels = {"com.docker.compose.service": name}
            return {"Id": name, "Name": name, "State": {"Status": self.states[name]}, "Config": {"Labels": labels}}
        return None


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def listening(path: Path) -> Iterator[Containers]:
    """Run an engine at this path (at most 100 characters, as for any socket) until the block ends."""
    engine = Containers(path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            what = urlparse(self.path).path
            if what.endswith("/events"):
                self.send_response(200)
                self.end_headers()
                self.wfile.flush()
                engine.ended.wait()
                return
            found = engine.answer(what)
            body = json.dumps(found if found is not None else {"message": "no such thing"}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with _Server(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield engine
        finally:
            engine.ended.set()
            server.shutdown()
