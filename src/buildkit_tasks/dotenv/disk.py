"""Reads and writes .env atomically, with limits and one writer at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from buildkit_tasks.core import files, readfile
from buildkit_tasks.core.errors import Problem

from .text import MAX_BYTES, Refused, decode, encode

#: Seconds to wait for another run that holds the lock.
PATIENCE = 30.0

_HINTS = {
    "unterminated": "close the quote; write \\ before a quote of the same kind inside the value",
    "Invalid template": "write $$ for each $ in the value, or put the value in single quotes",
    "": "write NAME=value; put a value with spaces or quotes in single quotes",
}


def read(path: Path) -> str | None:
    """Return the text, or None if the file or the target of a link does not exist. Never blocks on a FIFO or device.

    Problems: dotenv-unreadable.
    """
    try:
        return decode(readfile.content(path, MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from None


def _unreadable(path: Path, why: str) -> Problem:
    return Problem(
        "dotenv-unreadable",
        f"{path} cannot be read: {why}.",
        hint=f"{path} must be a regular file that you can read; check `ls -l {path}`",
    )


def invalid(path: Path, refused: Refused) -> Problem:
    """Return the problem for an invalid file: the line, compose's error and a fix; never a value."""
    if refused.variable:
        hint = f"set {refused.variable} on an earlier line, or in the environment"
    else:
        hint = next((h for words, h in _HINTS.items() if refused.words.startswith(words)), _HINTS[""])
    return Problem(
        "dotenv-invalid",
        f"{path} cannot be read: line {refused.line}: {refused.words} (content hidden because it may be a secret).",
        hint=hint,
    )


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Lock the file's directory (for a symlink, its target's directory). Leaves no lock file behind.

    Problems: timed-out if another run holds it for `PATIENCE` seconds, dotenv-unreadable.
    """
    try:
        folder = readfile.real(path).parent
        with files.locked(folder, lambda: say(f"waiting for another run that is changing {path}"), patience=PATIENCE):
            files.remove_unfinished(path)
            yield
    except TimeoutError:
        raise Problem(
            "timed-out",
            f"Another run has been changing {path} for {PATIENCE:.0f} s.",
            hint=f"find the other run with `fuser -v {readfile.real(path).parent}`, stop it, then rerun the command",
        ) from None
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or "it is a dangling symlink") from None


def write_private(path: Path, text: str, expected: str | None) -> None:
    """Replace the file atomically: mode 0600 from the start, same owner, a link stays a link.

    Problems: dotenv-unreadable, also if the file differs from `expected` (None: it must not exist).
    """

    def unchanged() -> None:
        if read(path) != expected:
            raise Problem(
                "dotenv-unreadable",
                f"{path} was changed by another program in the meantime; nothing was written.",
                hint="rerun the command",
            )

    try:
        files.replace(path, encode(text), mode=0o600, last_check=unchanged)
    except OSError as error:
        raise Problem("dotenv-unreadable", f"{path} cannot be written: {error.strerror}.") from error
