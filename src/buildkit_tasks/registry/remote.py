"""Finds the team's shared repository and accesses it within a time limit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem

from . import names as registry_names
from .client import Client
from .names import Unreachable

T = TypeVar("T")

#: Seconds that we wait for an exchange after its deadline.
GRACE = 2.0


def client(session: Session, ref: str = "", *, seconds: float | None = None) -> Client:
    """Return a client for the repository on the command line or in the settings. `seconds`: limit for the exchange.

    Raises `Problem` bad-argument if there is none.
    """
    place = ref or session.settings.packs.repository
    if not place:
        raise Problem(
            "bad-argument",
            "No repository is configured.",
            hint='pass --ref HOST/PATH, or set repository = "HOST/PATH" under [tool.buildkit-tasks.packs]',
        )
    return Client(session.world, registry_names.reference(place), session.settings.build.ca_bundle, seconds=seconds)


def bounded(seconds: float | None, work: Callable[[], T]) -> T:
    """Run the work and return its result. Raises `Unreachable` if it takes longer than `seconds` plus a grace period.

    The client checks its deadline itself, but not during a name lookup. In that case the work continues in a thread
    that is not joined.
    """
    if seconds is None:
        return work()
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:  # raised again in the waiting thread
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds + GRACE)
    except queue.Empty:
        raise Unreachable(f"no response within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # the result of the work
