"""The critical path of a recorded build: the chain of steps that determined its duration. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from buildkit_tasks.history import keys
from buildkit_tasks.history.model import Build, Seen

#: A step may seem to start this many seconds before a step it waited for ends: BuildKit reports out of order.
SLACK = 0.05
#: Minimum duration of a step in seconds; BuildKit also reports many steps that take no time.
LEAST = 0.01


def path(build: Build) -> frozenset[int]:
    """Return the positions in `build.seen` of the steps on the critical path.

    Starts at the step that ended last. From each step, goes back to the step that ended last among the steps it waited
    for. These are the steps it builds on if they are known, or else all steps that ended before it began.
    """
    ran = {number: seen for number, seen in enumerate(build.seen) if not seen.cached and (seen.seconds or 0.0) >= LEAST}
    found: set[int] = set()
    at = max(ran, key=lambda number: _ended(ran[number]), default=None)
    while at is not None:
        found.add(at)
        began = ran[at].began
        ready = [n for n in _below(build, at, ran) if n not in found and _ended(ran[n]) <= began + SLACK]
        at = max(ready, key=lambda number: _ended(ran[number]), default=None)
    return frozenset(found)


def _below(build: Build, at: int, ran: Iterable[int]) -> list[int]:
    """Return the steps that a step may have waited for."""
    seen = build.seen[at]
    if seen.at is not None:
        needed = keys.needed(build.inputs.steps, seen.at)
    else:
        first = re.split(r"[ \]]", seen.name.lstrip("["), maxsplit=1)[0]
        service = next((s for s in build.inputs.services if s.name.replace(".", "_") == first), None)
        needed = set(service.steps) if service else set(range(len(build.inputs.steps)))
    if seen.internal:
        return [number for number in ran if build.seen[number].internal]
    return [n for n in ran if build.seen[n].at in needed or (build.seen[n].at is None and not exports(build.seen[n]))]


def exports(seen: Seen) -> bool:
    """Return whether the step exports an image, which no other step waits for."""
    return "exporting to " in seen.name


def _ended(seen: Seen) -> float:
    return seen.began + (seen.seconds or 0.0)
