"""Test sessions that share an engine, from this checkout or another one."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def others(lock: Path) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether no other session is left. New sessions then wait until the block ends.

    Objects created since this session began may belong to another, running session: only the last session cleans up.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)

        def alone() -> bool:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        yield alone


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Wait for other sessions that are starting the engine or building its images."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.with_suffix(".start").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
