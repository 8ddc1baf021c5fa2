"""What comes from outside while a task runs: signals that end it, and refusals of the operating system."""

from __future__ import annotations

import errno
import os
import signal
from typing import NoReturn

from .errors import Problem

#: Signals that end a run as Ctrl-C does: buildx is interrupted and waited for. Code of the problem by signal.
ENDING = {signal.SIGTERM: "terminated", signal.SIGHUP: "hung-up"}

_HINTS = {
    errno.ENOSPC: "invoke cache    (lists what takes space); df -h shows the file systems",
    errno.EDQUOT: "free space of your quota, then run the command again",
    errno.EROFS: "use a checkout and a home directory that can be written",
    errno.EACCES: "ls -ld {path}; it has to belong to you",
    errno.EPERM: "ls -ld {path}; it has to belong to you",
    errno.EMFILE: "ulimit -n 4096, then run the command again",
    errno.ENAMETOOLONG: "use a shorter path",
}
_REFUSALS = {*_HINTS, errno.EIO, errno.ENFILE, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ESTALE, errno.ENXIO}


class Ended(KeyboardInterrupt):
    """A signal asked us to end. A Ctrl-C to everybody who cleans up; `code` is that of the problem to report."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def end_on_signals() -> None:
    """From now on SIGTERM and SIGHUP end the run as Ctrl-C does. One that is ignored (`nohup`) stays ignored."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _frame: object) -> NoReturn:
    raise Ended(ENDING[signal.Signals(number)])


def interrupted(error: KeyboardInterrupt) -> Problem:
    """The problem that an interrupt is reported as."""
    code = error.code if isinstance(error, Ended) else "interrupted"
    words = {"terminated": "Ended by SIGTERM.", "hung-up": "Ended by SIGHUP: the terminal was closed."}
    first = words.get(code, "Interrupted.")
    return Problem(code, f"{first} Nothing was left half done.", hint="run the command again")


def refused(error: OSError) -> Problem | None:
    """The problem for a file or a device that the system denies us; None for an error that only a bug explains."""
    if error.errno not in _REFUSALS:
        return None
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    why = error.strerror or str(error)
    return Problem(
        "system-refused",
        f"{path}: {why}." if path else f"{why}.",
        hint=_HINTS.get(error.errno, "ls -ld {path}" if path else "").format(path=path or "the file"),
    )
