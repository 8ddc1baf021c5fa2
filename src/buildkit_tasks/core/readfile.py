"""Reads files that may be of any kind and size: with a size limit, without blocking, and with a single error type."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

from . import shapes

#: The largest file to read whole. Sources, lock files and configuration are far smaller.
LARGEST = 32 * 1024 * 1024

_KINDS = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))


def real(path: Path) -> Path:
    """Return the absolute path without symlinks. Unlike `Path.resolve`, never fails: symlinks that form a loop stay.

    A path with a NUL, which no file has, is returned unchanged.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return path


def content(path: Path, most: int = LARGEST) -> bytes:
    """Return a file's content. Raises OSError, also for a larger file or for a FIFO or device, which could block."""
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a path cannot contain a NUL", str(path))
    only_files(path, path.stat().st_mode)  # check before opening: opening some devices has side effects
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        only_files(path, os.fstat(handle).st_mode)
        found = file.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 1024} KiB", str(path))
    return found


def only_files(path: Path, mode: int) -> None:
    """Raise OSError unless this is the mode of a regular file."""
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _KINDS if test(mode)), "a device")
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO, f"it is {kind}", str(path))


def text(path: Path, errors: str = "strict", most: int = LARGEST) -> str:
    """Return a file's text in UTF-8. `errors` as in `bytes.decode`. Raises OSError and UnicodeDecodeError."""
    return content(path, most).decode("utf-8", errors)


def state(path: Path) -> dict[str, Any]:
    """Return a JSON object written by an earlier run, or `{}` if it cannot be read: losing state is harmless."""
    try:
        return shapes.loads(content(path), dict)
    except (OSError, ValueError):
        return {}
