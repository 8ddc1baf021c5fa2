"""Reads the output of a child process with limits on time and memory."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable
from typing import IO, Protocol

from .readfile import LARGEST

#: Maximum bytes of each stream of a program. Real programs print far less.
MOST = LARGEST

_PIECE = 1 << 16


class TooMuch(Exception):
    """A program printed more than `MOST` bytes."""


class Program(Protocol):
    """A running program, as started by `run`."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit."""


class Exchange:
    """Sends a program its input while reading its output, like `communicate`, but never more than `most` bytes."""

    def __init__(self, process: Program, given: bytes = b"", most: int = MOST) -> None:
        self._process, self._most = process, most
        self._given = memoryview(given)
        self._full = False
        self._read: dict[IO[bytes] | None, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}

    @property
    def output(self) -> tuple[bytes, bytes]:
        """What the program has printed so far, on stdout and on stderr."""
        return bytes(self._read[self._process.stdout]), bytes(self._read[self._process.stderr])

    def run(self, timeout: float | None) -> None:
        """Exchange everything and wait for the exit. Raises TimeoutError, that of the program's `wait`, and `TooMuch`.

        May be called again after an exception.
        """
        end = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            if end is None:
                return None
            seconds = end - time.monotonic()
            if seconds <= 0:
                raise TimeoutError
            return seconds

        with selectors.DefaultSelector() as ready:
            for stream in (self._process.stdout, self._process.stderr):
                if stream and not stream.closed:
                    ready.register(stream, selectors.EVENT_READ, self._receive)
            if self._process.stdin and not self._process.stdin.closed:
                os.set_blocking(self._process.stdin.fileno(), False)
                ready.register(self._process.stdin, selectors.EVENT_WRITE, self._send)
            while ready.get_map():
                for key, _ in ready.select(left()):
                    work: Callable[[IO[bytes]], bool] = key.data
                    if work(key.fileobj):  # type: ignore[arg-type]  # registered above
                        ready.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
        self._process.wait(left())

    def _receive(self, stream: IO[bytes]) -> bool:
        """Read what is there; True at the end."""
        data = os.read(stream.fileno(), _PIECE)
        kept = self._read[stream]
        if self._full:  # the program may still end by itself, but nothing more is kept
            return not data
        if len(kept) + len(data) > self._most:
            self._full = True
            raise TooMuch
        kept += data
        return not data

    def _send(self, stream: IO[bytes]) -> bool:
        """Write what fits; True once all is written, or if the program does not read it."""
        try:
            self._given = self._given[os.write(stream.fileno(), self._given[:_PIECE]) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        return not self._given
