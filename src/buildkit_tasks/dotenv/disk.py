"""The .env file itself: read with limits, replaced atomically, one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from buildkit_tasks.core.errors import Problem

from .text import MAX_BYTES, Refused, decode, encode

#: Seconds after which a wait is reported, and after which it ends.
REPORT_AFTER, GIVE_UP_AFTER = 2.0, 30.0

#: Our temporary file. The next run removes one that a killed run left behind.
_PREFIX = ".env.buildkit-tasks-"

_HINTS = {
    "unterminated": "close the quote; inside, write \\ in front of a quote of the same kind",
    "Invalid template": "write $$ for each $ of the value, or put it in single quotes",
    "": "write NAME=value, with the value in single quotes where it has spaces or quotes",
}

_KINDS = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))


def read(path: Path) -> str | None:
    """The text; None if the file, or the target of a link, does not exist. Never blocks on a FIFO or device.

    Problems: dotenv-unreadable.
    """
    try:
        _regular(path, path.stat().st_mode)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            _regular(path, os.fstat(handle).st_mode)
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from None
    if len(content) > MAX_BYTES:
        raise _unreadable(path, f"it is larger than {MAX_BYTES // 1024} KiB")
    return decode(content)


def _regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise _unreadable(path, f"it is {next((words for test, words in _KINDS if test(mode)), 'a device')}")


def _unreadable(path: Path, why: str) -> Problem:
    return Problem(
        "dotenv-unreadable",
        f"{path} cannot be read: {why}.",
        hint=f"ls -l {path}; it should be a file that belongs to you and has mode 600",
    )


def invalid(path: Path, refused: Refused) -> Problem:
    """Why the file's content is refused: the line, compose's words and a fix; never a value."""
    if refused.variable:
        hint = f"set {refused.variable} on a line before, or in the environment"
    else:
        hint = next((h for words, h in _HINTS.items() if refused.words.startswith(words)), _HINTS[""])
    return Problem(
        "dotenv-invalid",
        f"{path} cannot be read: line {refused.line}: {refused.words} (content not shown, it may be a secret).",
        hint=hint,
    )


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Lock the directory that holds the file (not a link to it); leaves nothing behind.

    Problems: timed-out where another run holds it for `GIVE_UP_AFTER` seconds, dotenv-unreadable.
    """
    try:
        place = path.resolve()
        handle = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or "it is a dangling link") from None
    try:
        _wait(handle, path, say)
        for left in place.parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        yield
    finally:
        os.close(handle)


def _wait(handle: int, path: Path, say: Callable[[str], None]) -> None:
    began, said = time.monotonic(), False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - began
        except OSError:
            return  # a file system without locks: only the check before the replacement protects us
        if waited > GIVE_UP_AFTER:
            raise Problem(
                "timed-out",
                f"Another run has been changing {path} for {GIVE_UP_AFTER:.0f} s.",
                hint=f"find it with fuser -v {path.resolve().parent}, stop it, then run the command again",
            )
        if waited > REPORT_AFTER and not said:
            said = True
            say(f"waiting for another run that is changing {path}")
        time.sleep(0.05)


def write_private(path: Path, text: str, expected: str | None) -> None:
    """Replace the file atomically: mode 0600 from the first byte, owner kept, a link stays a link.

    Problems: dotenv-unreadable, also if the file has changed from `expected` (None: does not exist).
    """
    place = path.resolve()
    try:
        handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(encode(text))
                file.flush()
                _keep_owner(handle, place)
                os.fsync(handle)
            if read(path) != expected:
                raise Problem(
                    "dotenv-unreadable",
                    f"{path} was changed by another program at the same time; nothing was written.",
                    hint="run the command again",
                )
            Path(name).replace(place)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise Problem("dotenv-unreadable", f"{path} cannot be written: {error.strerror}.") from error


def _keep_owner(handle: int, place: Path) -> None:
    """Keep the owner of a user's file that root completes."""
    if os.geteuid() == 0 and place.exists():
        was = place.stat()
        os.fchown(handle, was.st_uid, was.st_gid)
