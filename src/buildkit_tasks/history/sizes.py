"""Records the sizes of the caches whenever they are listed, so recording needs no extra query."""

from __future__ import annotations

import contextlib

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem

from .model import Sizes

#: Seconds to wait for another process that is writing. A listing is more important than its record.
PATIENCE = 0.2


def record(session: Session, sizes: Sizes) -> None:
    """Add sizes to the history of this checkout, if it has one. Never fails."""
    import sqlite3

    from .store import NAME, Store

    with contextlib.suppress(sqlite3.Error, OSError, Problem):
        path = session.state / NAME
        if path.is_file():
            store = Store(path, create=False, patience=PATIENCE)
            try:
                store.add_sizes(sizes)
            finally:
                store.close()
