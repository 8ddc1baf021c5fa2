"""External events: signals that end the run, and operating system errors."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import Problem

#: The signals that end a run like Ctrl-C (we interrupt buildx and wait for it), with their problem codes.
ENDING = {signal.SIGTERM: "terminated", signal.SIGHUP: "hung-up"}

_HINTS = {
    errno.ENOSPC: "run `invoke cache` to see what takes up space, and `df -h` to see the free space",
    errno.EDQUOT: "free up some of your quota, then rerun the command",
    errno.EROFS: "use a writable checkout and home directory",
    errno.EACCES: "run `ls -ld {path}` to check that you own it",
    errno.EPERM: "run `ls -ld {path}` to check that you own it",
    errno.EMFILE: "run `ulimit -n 4096`, then rerun the command",
    errno.ENAMETOOLONG: "use a shorter path",
}


class Ended(KeyboardInterrupt):
    """A signal asked this process to exit. Cleanup code treats it as Ctrl-C; `code` is the problem to report."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class _Deferral:
    """How many blocks currently defer signals, and the first deferred signal."""

    depth: int = 0
    waiting: KeyboardInterrupt | None = None


#: Signals are delivered to the main thread, no matter which thread requests a deferral.
_DEFERRAL = _Deferral()


def end_on_signals() -> None:
    """Make SIGTERM and SIGHUP end the run like Ctrl-C. An ignored signal (`nohup`) stays ignored."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, _frame: object) -> None:
    code = ENDING.get(signal.Signals(number))
    ending = Ended(code) if code else KeyboardInterrupt()
    if not _DEFERRAL.depth:
        raise ending
    _DEFERRAL.waiting = _DEFERRAL.waiting or ending


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer signals that would end the run until the block ends.

    Used to start a process, which would be lost if a signal arrived after the start but before its handle is stored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _DEFERRAL.depth += 1
    try:
        yield
    finally:
        _DEFERRAL.depth -= 1
    if not _DEFERRAL.depth and (ending := _DEFERRAL.waiting):
        _DEFERRAL.waiting = None
        raise ending


def interrupted(error: KeyboardInterrupt) -> Problem:
    """Return the problem to report for an interrupt."""
    code = error.code if isinstance(error, Ended) else "interrupted"
    words = {"terminated": "Terminated by SIGTERM.", "hung-up": "Terminated by SIGHUP: the terminal was closed."}
    first = words.get(code, "Interrupted.")
    return Problem(code, f"{first} Nothing was left half-finished.", hint="rerun the command")


def refused(error: OSError) -> Problem:
    """Return the problem for a file system, device or network error."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    why = error.strerror or str(error)
    return Problem(
        "system-refused",
        f"{path}: {why}." if path else f"{why}.",
        hint=_HINTS.get(error.errno or 0, "run `ls -ld {path}`" if path else "").replace("{path}", path or "the file"),
    )


def memory() -> Problem:
    """Return the problem if Python runs out of memory."""
    return Problem(
        "system-refused",
        "Out of memory.",
        hint="close other programs, or raise the limit (check `free -m` and `ulimit -v`)",
    )
