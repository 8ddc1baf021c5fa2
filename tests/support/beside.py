"""Sessions that use one engine side by side: of this checkout, or of another."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def others(lock: Path) -> Iterator[Callable[[], bool]]:
    """Yields whether this session is the only one by now; from that answer on, others wait until it is over.

    What was made since this session began may be another's, which goes on with it: only the last one may tidy up.
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
