"""Decides when to scan the files and when to work. Pure: events in, a new state and a decision out.

The rules: a burst of saves is one change (`QUIET`, at most `LONGEST`). Only one piece of work runs at a time. When it
ends, the files are always scanned again: anything saved after the work began is part of the next piece.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .rules import NOTHING, Work

#: Seconds without an event after which a burst counts as finished, and the maximum length of a burst.
QUIET, LONGEST = 0.1, 2.0


class Phase(Enum):
    """Waiting for an event, the end of a burst, a scan of the files, or the work."""

    IDLE = "idle"
    BURST = "burst"
    LOOKING = "looking"
    WORKING = "working"


@dataclass(frozen=True)
class State:
    """`first` and `last`: the times of the burst's events. `heard`: an event arrived during the work.

    `owed`: work that failed for a reason other than the files, to be included in the next work.
    """

    phase: Phase = Phase.IDLE
    first: float = 0.0
    last: float = 0.0
    heard: bool = False
    owed: Work = NOTHING

    @property
    def due(self) -> float:
        """The time at which the burst ends."""
        return min(self.last + QUIET, self.first + LONGEST)


@dataclass(frozen=True)
class Noise:
    """Something changed on disk."""

    at: float


@dataclass(frozen=True)
class Tick:
    """The wait ended without an event."""

    at: float


@dataclass(frozen=True)
class Looked:
    """The files were compared with the state at the beginning of the last work."""

    work: Work


@dataclass(frozen=True)
class Done:
    """The work ended, successfully or not."""

    at: float
    owed: Work = NOTHING


Event = Noise | Tick | Looked | Done


@dataclass(frozen=True)
class Wait:
    """Wait for an event, or `until` this time, if set."""

    until: float | None = None


@dataclass(frozen=True)
class Look:
    """Compare the files with the state at the beginning of the last work."""


@dataclass(frozen=True)
class Do:
    """Do this work."""

    work: Work


Decision = Wait | Look | Do


def step(state: State, event: Event) -> tuple[State, Decision]:
    """Return the next state and what to do."""
    if isinstance(event, Done):
        after = replace(state, owed=event.owed, heard=False)
        if state.heard:  # the burst may still be going on
            return _burst(after, event.at)
        return replace(after, phase=Phase.LOOKING), Look()
    if isinstance(event, Looked):
        return _looked(state, event.work)
    if state.phase is Phase.IDLE:
        return _burst(state, event.at) if isinstance(event, Noise) else (state, Wait())
    if state.phase is Phase.BURST:
        burst = replace(state, last=event.at) if isinstance(event, Noise) else state
        if event.at >= burst.due:
            return replace(burst, phase=Phase.LOOKING, heard=False), Look()
        return burst, Wait(burst.due)
    return replace(state, heard=state.heard or isinstance(event, Noise)), Wait()


def _burst(state: State, at: float) -> tuple[State, Decision]:
    begun = replace(state, phase=Phase.BURST, first=at, last=at, heard=False)
    return begun, Wait(begun.due)


def _looked(state: State, found: Work) -> tuple[State, Decision]:
    if not found:
        return replace(state, phase=Phase.IDLE, heard=False), Wait()
    return replace(state, phase=Phase.WORKING, heard=False, owed=NOTHING), Do(found.and_also(state.owed))
