"""Receives file change events from watchfiles; only watches directories that matter."""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from buildkit_tasks.core.errors import Problem

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

#: In milliseconds: the pause between two reads, and the longest time that events are collected before delivery.
STEP, COLLECT = 50, 200

#: With this many events in one batch, the system may have dropped some.
MANY = 1000

#: Milliseconds between two polls if the system reports no events (network drives).
POLL = 500


class Ear:
    """Puts a message into `heard` whenever something changes in the directories it covers."""

    def __init__(self, env: Mapping[str, str], concerns: Callable[[str], bool]) -> None:
        self.heard: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._polling = env.get("WATCHFILES_FORCE_POLLING", "").lower() not in ("", "0", "false", "disable")
        self._concerns = concerns
        self._covered: frozenset[str] = frozenset()
        self._lost = False
        self._notify: RustNotify | None = None
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: tuple[type[BaseException], BaseException, TracebackType]) -> None:
        self._close()

    def cover(self, directories: frozenset[str]) -> bool:
        """Watch exactly these directories from now on; return whether that changed anything.

        A directory that was removed and recreated needs a new watch. Changes between the old and the new watch are
        missed, so scan the files afterwards. If a directory is missing, watchfiles raises FileNotFoundError or
        skips it. Its parents are watched first, to detect its return. Problems: system-refused.
        """
        alive = self._thread is not None and self._thread.is_alive()
        if directories == self._covered and alive and not self._lost:
            return False
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError  # late: takes 60 ms

        try:
            fresh = RustNotify(sorted(directories), False, self._polling, POLL, False, True)
        except (OSError, WatchfilesRustInternalError) as error:
            raise _refused(error) from error
        self._close()  # only then discard what the old thread found
        self._lost = False
        self._covered, self._notify, self._end = directories, fresh, threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(fresh, self._end), daemon=True)
        self._thread.start()
        return True

    def _listen(self, notify: RustNotify, end: threading.Event) -> None:
        while not end.is_set():
            try:
                found = notify.watch(COLLECT, STEP, 0, end)
            except RuntimeError:  # closed, or an internal error: the next scan starts a new thread
                self.heard.put(True)
                return
            if not isinstance(found, set):
                continue
            if len(found) >= MANY or any(path in self._covered for _, path in found):
                self._lost = True
                self.heard.put(True)
            elif any(self._concerns(path) for _, path in found):
                self.heard.put(True)

    def _close(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        if self._notify is not None:
            self._notify.close()
        self._notify = self._thread = None


def _refused(error: Exception) -> Exception:
    """Return FileNotFoundError unchanged; convert all other errors to a problem."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT or isinstance(error, FileNotFoundError):
        return error
    full = number in (errno.ENOSPC, errno.EMFILE) or os.strerror(errno.ENOSPC) in str(error)
    return Problem(
        "system-refused",
        "The system cannot watch this many directories." if full else "The files cannot be watched.",
        causes=[str(error)[:300]],
        hint="sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512    (as root)"
        if full
        else "WATCHFILES_FORCE_POLLING=true invoke watch    (polls twice a second instead)",
    )
