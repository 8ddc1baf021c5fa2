"""One deadline for a whole exchange with a registry, enforced even while a socket waits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

#: Timeouts in seconds between two bytes of a response or upload. Large registries pause before answering an upload, but
#: the answer must be complete within this time after its last byte.
TIMEOUT = 5.0
UPLOAD_TIMEOUT = 60.0

#: Bytes of an upload that share one timeout: at 60 s, anything above 1 kB/s is fast enough.
_PIECE = 1 << 16

Socket = TypeVar("Socket", bound=socket.socket)


class Patience(threading.local):
    """How long this thread may wait: until a point in time, and for each byte. Nested limits can only be shorter.

    `uploading`: whether the current request has a large body. `sent`: when its last byte was sent.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.end = float("inf")
        self.uploading = False
        self.sent = clock()

    @contextmanager
    def until(self, end: float) -> Iterator[None]:
        """Limit all waits in the block to this time."""
        before, self.end = self.end, min(self.end, end)
        try:
            yield
        finally:
            self.end = before

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.clock() >= self.end

    @property
    def left(self) -> float:
        """The remaining seconds. Raises `TimeoutError` if there are none."""
        left = self.end - self.clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def wait(self) -> float:
        """Return the seconds to wait for the next byte. Raises `TimeoutError` after the deadline."""
        return min(UPLOAD_TIMEOUT if self.uploading else TIMEOUT, self.left)

    def wait_answer(self) -> float:
        """Like `wait`, for a byte of a response; after an upload, all bytes share one `UPLOAD_TIMEOUT`."""
        if not self.uploading:
            return self.wait()
        left = self.sent + UPLOAD_TIMEOUT - self.clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, self.left)


def timed(kind: type[Socket], patience: Patience) -> type[Socket]:
    """Return a socket type that checks the deadline before each wait: a slow trickle of bytes cannot outlast it.

    Works below the parsers for headers and chunks, so the deadline covers every part of a response.
    """

    class Timed(kind):  # type: ignore[valid-type, misc]
        def recv_into(self, *args: Any, **more: Any) -> int:
            self.settimeout(patience.wait_answer())
            return int(super().recv_into(*args, **more))

        def sendall(self, data: Any, *args: Any) -> None:
            rest = memoryview(data).cast("B")
            while rest:  # one `sendall` of everything would have one timeout for everything
                self.settimeout(patience.wait())
                super().sendall(rest[:_PIECE], *args)
                rest = rest[_PIECE:]
                patience.sent = patience.clock()

    return Timed
