"""The team's shared repository: which one, and how to talk to it."""

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

#: Seconds that a dialogue may miss its deadline by before we stop waiting for it.
GRACE = 2.0


def client(session: Session, ref: str = "", *, seconds: float | None = None) -> Client:
    """For the repository named on the command line, else the setting's; `seconds` for the whole dialogue.

    Raises `Problem` bad-argument without one.
    """
    place = ref or session.settings.packs.repository
    if not place:
        raise Problem(
            "bad-argument",
            "No repository is configured.",
            hint='--ref HOST/PATH, or repository = "HOST/PATH" under [tool.buildkit-tasks.packs]',
        )
    return Client(session.world, registry_names.reference(place), session.settings.build.ca_bundle, seconds=seconds)


def bounded(seconds: float | None, work: Callable[[], T]) -> T:
    """What the work returns or raises; `Unreachable` if that takes longer than `seconds` and a grace.

    The client looks at its deadline by itself, but not while the system looks up a name. Then the work goes on in a
    thread that nobody waits for.
    """
    if seconds is None:
        return work()
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:  # raised again where somebody waits for it
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds + GRACE)
    except queue.Empty:
        raise Unreachable(f"no answer within {seconds:.0f} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # what the work returned
