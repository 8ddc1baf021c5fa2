"""A fake engine socket that answers the queries of the up-to-date check: its id, version and images."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class EngineSocket:
    """The answers of the engine, which tests can change at any time; if `raw` is set, it is sent instead."""

    path: Path
    engine: str = "engine-1"
    version: str = "28.5.2"
    images: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    asked: list[str] = field(default_factory=list)

    def answer(self, request: bytes) -> bytes:
        """Return the complete answer to a request."""
        what = request.split(b" ")[1].decode()
        self.asked.append(what)
        if self.raw is not None:
            return self.raw
        if what == "/info":
            return _http(200, {"ID": self.engine, "ServerVersion": self.version})
        name = what.removeprefix("/images/").removesuffix("/json")
        return (
            _http(200, {"Id": self.images[name]}) if name in self.images else _http(404, {"message": "no such image"})
        )


def _http(status: int, content: object) -> bytes:
    return f"HTTP/1.0 {status} X\r\nContent-Type: application/json\r\n\r\n{json.dumps(content)}".encode()


@contextlib.contextmanager
def listening(path: Path) -> Iterator[EngineSocket]:
    """Run an engine at this path (at most 100 characters, as for any socket) until the block ends."""
    engine = EngineSocket(path)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen(16)

        def serve() -> None:
            while True:
                try:
                    with door.accept()[0] as line, contextlib.suppress(OSError):
                        line.sendall(engine.answer(line.recv(65536)))
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield engine
        finally:
            door.shutdown(socket.SHUT_RDWR)
