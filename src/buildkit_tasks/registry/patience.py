"""One deadline for a whole exchange with a registry, also while a socket waits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

#: Seconds without a byte: while answers come, and while a blob is sent, about which large registries think for a while.
TIMEOUT = 5.0
UPLOAD_TIMEOUT = 60.0

Socket = TypeVar("Socket", bound=socket.socket)


class Patience(threading.local):
    """Until when (by the clock) this thread may wait, and how long for the next byte. Nested waits only shorten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.end = float("inf")
        self.idle = TIMEOUT

    @contextmanager
    def until(self, end: float) -> Iterator[None]:
        """Nothing in the block waits past `end`."""
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
        """Seconds left. Raises `TimeoutError` when there are none."""
        left = self.end - self.clock()
        if left <= 0:
            raise TimeoutError("not in time")
        return left

    def wait(self) -> float:
        """Seconds to wait for the next byte. Raises `TimeoutError` at the deadline."""
        return min(self.idle, self.left)


def timed(kind: type[Socket], patience: Patience) -> type[Socket]:
    """The socket type that looks at the deadline before it waits: a byte now and then does not put it off.

    It lies below the parsers of headers and chunks, so that no part of an answer can take longer.
    """

    class Timed(kind):  # type: ignore[valid-type, misc]
        def recv_into(self, *args: Any, **more: Any) -> int:
            self.settimeout(patience.wait())
            return int(super().recv_into(*args, **more))

        def sendall(self, *args: Any, **more: Any) -> None:
            self.settimeout(patience.wait())
            super().sendall(*args, **more)

    return Timed
