"""Opens the history to read it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem

from .model import Build
from .store import NAME, Store


@contextlib.contextmanager
def opened(session: Session) -> Iterator[Store]:
    """The history of this checkout. Raises `Problem` history-missing if there is none, or it cannot be read."""
    path = session.state / NAME
    try:
        if not path.is_file():
            raise Problem(
                "history-missing",
                "The history contains no builds of this checkout.",
                causes=["it records builds run in this checkout by `invoke build`, `up` and `quickstart`"],
                hint="invoke build",
            )
        store = Store(path, write=False)
        try:
            yield store
        finally:
            store.close()
    except sqlite3.Error as error:
        raise Problem(
            "history-missing",
            f"The history of builds cannot be read: {error}.",
            causes=[f"{path} is corrupt, locked, or was written by a different version of buildkit-tasks"],
            hint=f"rm {path}    (nothing else depends on it)",
        ) from None


def chosen(store: Store, number: int) -> Build:
    """A build by its number; 0: the last one. Raises `Problem` history-missing."""
    found = store.build(number) if number else next(iter(store.builds(1)), None)
    if found is None:
        raise Problem(
            "history-missing",
            f"Build {number} is not in the history." if number else "The history contains no builds of this checkout.",
            hint="invoke history    (lists the builds)" if number else "invoke build",
        )
    return found
