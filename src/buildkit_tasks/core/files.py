"""Atomic file replacement, and locks that the kernel releases when the process dies.

`builds/transfer.py` has its own copies, because it is part of the recipe that the never-stale proof covers.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from . import readfile

#: Follows the name of the target in the names of unfinished files, which are hidden.
UNFINISHED = ".buildkit-tasks-"

#: Seconds to wait before reporting a wait, and between retries.
REPORT_AFTER, TRY_EVERY = 2.0, 0.05


def replace(
    path: Path,
    content: bytes | str,
    *,
    mode: int | None = None,
    last_check: Callable[[], None] | None = None,
    durable: bool = True,
) -> None:
    """Replace a file atomically: other programs see either the old or the new content, even after a power failure.

    Without `durable`, the file may be empty after a power failure. Use this for state that can be recreated, because
    syncing to a disk that is busy with images takes seconds.

    A symlink stays a symlink. An existing file keeps its mode, owner and extended attributes, unless `mode` is given;
    a new file gets `mode`, or 0666 minus the umask. `last_check` runs just before the replacement; if it raises,
    nothing is written. Raises OSError.
    """
    place = _replaceable(path)
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=_unfinished(place), dir=place.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            _take_over(Path(name), place, mode)
            if durable:
                os.fsync(handle)
        if last_check:
            last_check()
        Path(name).replace(place)
    finally:
        Path(name).unlink(missing_ok=True)


def _replaceable(path: Path) -> Path:
    """Resolve a symlink. Raises OSError if the target is not a regular file: root could replace `/dev/null`."""
    place = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        readfile.only_files(place, place.stat().st_mode)
    return place


def append(path: Path, content: str) -> None:
    """Append to a file, which is created if it does not exist. Raises OSError, also for a FIFO or a device."""
    with contextlib.suppress(FileNotFoundError):
        readfile.only_files(path, path.stat().st_mode)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    with os.fdopen(handle, "wb") as file:
        readfile.only_files(path, os.fstat(handle).st_mode)
        file.write(content.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def written(path: Path, *, mode: int) -> Iterator[BinaryIO]:
    """Yield a file to write to. It replaces `path` if the block succeeds, and is removed otherwise.

    For content that does not fit into memory or that another process writes. A symlink stays a symlink. Raises OSError.
    """
    place = _replaceable(path)
    handle, name = tempfile.mkstemp(prefix=_unfinished(place), dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            Path(name).chmod(mode)
            os.fsync(handle)
        Path(name).replace(place)
    finally:
        Path(name).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove whatever is at this path, but not the target of a symlink. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove unfinished files left behind by killed `replace` calls. The caller must hold the path's lock."""
    place = Path(os.path.realpath(path))
    for left in place.parent.glob(f"{glob.escape(_unfinished(place))}*"):
        with contextlib.suppress(OSError):
            left.unlink()


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None, *, patience: float | None = None) -> Iterator[None]:
    """Lock a directory, or a file, which is created if it does not exist.

    `waiting` is called once if another process holds the lock for `REPORT_AFTER` seconds. Raises TimeoutError after
    `patience` seconds. Does nothing on a file system without locks. Raises OSError if `path` cannot be opened.
    """
    kind = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    handle = os.open(path, kind | os.O_CLOEXEC, 0o600)
    try:
        _wait(handle, waiting, patience)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, waiting: Callable[[], None] | None, patience: float | None) -> None:
    began = time.monotonic()
    while True:
        # flock has no timeout: poll only if the wait is limited or not yet reported
        once = fcntl.LOCK_NB if waiting or patience is not None else 0
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | once)
            return
        except BlockingIOError:
            waited = time.monotonic() - began
        except OSError:
            return
        if patience is not None and waited > patience:
            raise TimeoutError(f"locked by another process for {patience:.0f} s")
        if waiting and waited > REPORT_AFTER:
            waiting()
            waiting = None
        time.sleep(TRY_EVERY)


def _take_over(fresh: Path, place: Path, mode: int | None) -> None:
    """Copy the mode, owner and attributes of the replaced file to the new file."""
    try:
        was = place.stat()
    except FileNotFoundError:
        fresh.chmod(0o666 & ~_umask() if mode is None else mode)
        return
    if mode is None:
        shutil.copystat(place, fresh)  # the mode, and extended attributes if any
        os.utime(fresh)
    else:
        fresh.chmod(mode)
    if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):  # another user owns the file, and we are not root
            os.chown(fresh, was.st_uid, was.st_gid)


def _unfinished(place: Path) -> str:
    """Return the name prefix of unfinished versions. For `.env`, it still matches the usual `.gitignore` patterns."""
    return f"{'' if place.name.startswith('.') else '.'}{place.name}{UNFINISHED}"


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
