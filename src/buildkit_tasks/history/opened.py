"""Opens the history to read it."""

from __future__ import annotations

import contextlib
import difflib
import sqlite3
from collections.abc import Iterator, Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import lists
from buildkit_tasks.core.errors import Problem

from .model import Build
from .store import KEPT, NAME, Store


@contextlib.contextmanager
def opened(session: Session) -> Iterator[Store]:
    """Open the history of this checkout. Raises `Problem` history-missing if it does not exist or cannot be read."""
    path = session.state / NAME
    try:
        if not path.is_file():
            raise Problem(
                "history-missing",
                "The history contains no builds of this checkout.",
                causes=[
                    "the history records only builds that `invoke build`, `up` and similar tasks ran in this checkout"
                ],
                hint="run `invoke build`",
            )
        store = Store(path, write=False)
        try:
            yield store
        finally:
            store.close()
    except sqlite3.Error as error:
        raise Problem(
            "history-missing",
            f"Cannot read the build history: {error}.",
            causes=[f"{path} is corrupt or locked, or was written by a different version of buildkit-tasks"],
            hint=f"run `rm {path}`; nothing else depends on this file",
        ) from None


def chosen(store: Store, number: int) -> Build:
    """Return a build by its number (0: the last build). Raises `Problem` history-missing."""
    found = store.build(number) if number else next(iter(store.builds(1)), None)
    if found is None:
        raise Problem(
            "history-missing",
            f"Build {number} is not in the history." if number else "The history contains no builds of this checkout.",
            hint="run `invoke history` to list the builds" if number else "run `invoke build`",
        )
    return found


def newest(store: Store, count: int = 0, services: Sequence[str] = ()) -> list[Build]:
    """Return the newest `count` builds (0: all) of any of these services, if given, newest first.

    `services`: as given on the command line, with lists and patterns. Raises `Problem` unknown-service, bad-argument.
    """
    if count < 0:
        raise Problem("bad-argument", f"--last {count}: the number of builds cannot be negative.")
    everything = 2 * KEPT  # more than the file ever contains
    if not services:
        return store.builds(count or everything)
    builds = store.builds(everything)
    known = sorted({service.name for build in builds for service in build.inputs.services})
    wanted = {match for name in lists.names(services, "service") for match in _matches(name, known)}
    found = [build for build in builds if any(service.name in wanted for service in build.inputs.services)]
    return found[:count] if count else found


def _matches(name: str, known: Sequence[str]) -> list[str]:
    found = lists.matching(name, known)
    if not found:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise Problem(
            "unknown-service",
            f"No build in the history matches the service {name!r}."
            + (f" Did you mean {' or '.join(near)}?" if near else ""),
            hint=f"services in the history: {', '.join(known) or 'none'}",
        )
    return found
