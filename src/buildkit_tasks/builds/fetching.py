"""Detects a stalled registry while BuildKit fetches an image. BuildKit itself would wait forever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from buildkit_tasks.core.errors import Problem

#: A fetch has stalled after this many seconds without progress, or below this rate in bytes per second.
#: cargo has the same minimum rate (`http.low-speed-limit`).
STALLED, SLOWEST = 60.0, 10.0


class Fetching:
    """Follows the fetch of one image in BuildKit's stream of status objects.

    `image`: the reference, used to recognize its steps. A step or layer that starts or ends counts as progress, and so
    do `SLOWEST` bytes per second. Unpacking a layer has no time limit. `stalled` stays set after the command stops.
    """

    def __init__(self, image: str, clock: Callable[[], float], seconds: float = STALLED) -> None:
        self.image, self.seconds, self.stalled = image, seconds, False
        self._clock, self._since, self._waiting = clock, clock(), False
        self._running: dict[str, bool] = {}  # the image's steps by digest
        self._bytes: dict[tuple[str, str], float] = {}  # bytes fetched or unpacked so far, by step and id
        self._mark = 0.0

    def update(self, status: Mapping[str, Any]) -> None:
        """Process one status object of the stream."""
        before = dict(self._running), set(self._bytes)
        for item in status.get("vertexes") or ():
            if self.image in item.get("name", ""):
                self._running[item["digest"]] = bool(item.get("started")) and not item.get("completed")
        for item in status.get("statuses") or ():
            key = (item.get("vertex", ""), item.get("id", ""))
            if item.get("completed"):
                self._bytes.pop(key, None)
            elif key[0] in self._running:
                self._bytes[key] = float(item.get("current") or 0)
        unpacking = any(name.startswith("extracting ") for _, name in self._bytes)
        fetched = sum(self._bytes.values())
        moved = before != (self._running, set(self._bytes)) or fetched - self._mark >= self.seconds * SLOWEST
        if moved or unpacking:
            self._since, self._mark = self._clock(), fetched
        self._waiting = any(self._running.values()) and not unpacking

    def left(self) -> float:
        """Return the seconds until the fetch counts as stalled, 0 or less once it does. Callable from any thread."""
        left = self._since + self.seconds - self._clock() if self._waiting else self.seconds
        self.stalled = self.stalled or left <= 0
        return left

    def problem(self) -> Problem:
        """Return the problem to report for a stalled fetch."""
        host = self.image.partition("/")[0]
        return Problem(
            "registry-unreachable",
            f"The registry {host} stopped responding while BuildKit fetched {self.image}.",
            causes=[f"the registry sent less than {SLOWEST:.0f} bytes per second for {self.seconds:.0f} s"],
            hint=f"try again later; to check the registry: curl -sS https://{host}/v2/",
        )
