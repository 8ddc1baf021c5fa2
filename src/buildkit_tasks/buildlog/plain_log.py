"""Converts the output of a `docker build` without JSON progress to the status objects of `progress`. Pure.

BuildKit's plain progress: `#7 [compile 2/5] RUN …`, `#7 1.234 text`, `#7 CACHED`, `#7 DONE 1.2s`, `#7 ERROR: …`.
The legacy builder: `Step 3/9 : RUN …`, ` ---> Using cache`, and a step's own lines unchanged. podman instead prints
`[1/2] STEP 3/9: RUN …`, `--> Using cache`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

_STEP = re.compile(r"^#(\d+) (.+)$")
_LOG = re.compile(r"^#(\d+) \d+\.\d+ ?(.*)$")
_STATE = re.compile(r"^#(\d+) (CACHED|DONE|ERROR|CANCELED)\b:? ?(.*)$")
_LEGACY = re.compile(r"^(?:\[\d+/\d+\] )?(?:Step|STEP) (\d+)/(\d+) ?: (.+)$")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")  # the legacy builder colors the stderr of steps
_QUIET = re.compile(
    r"^ ?---?> |^(?:\[\d+/\d+\] )?COMMIT "
    r"|^Removing intermediate container |^Sending build context |^Successfully |^DEPRECATED|^\s*$"
)


class PlainLog:
    """Splits bytes into lines, and converts lines to status objects. `now` returns seconds since the epoch."""

    def __init__(self, service: str, now: Callable[[], float]) -> None:
        self._service, self._now = service, now
        self._partial = ""
        self._step = ""
        self._named: set[str] = set()
        self.lines: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the status objects of completed lines. A carriage return also ends a line."""
        *whole, self._partial = (self._partial + chunk.decode("utf-8", errors="replace")).split("\n")
        for line in whole:
            text = _COLOR.sub("", line).rstrip("\r").rsplit("\r", 1)[-1]
            self.lines.append(text)
            if status := self._status(text):
                yield status

    def close(self, code: int) -> Iterator[dict[str, Any]]:
        """End the last step. If `code` is not 0, the step failed, and the last line is its error."""
        if self._partial:
            yield from self.feed(b"\n")
        last = next((x for x in reversed(self.lines) if x.strip()), "")
        if self._step:
            yield self._vertex(self._step, completed=True, error=last if code else "")
        elif code:
            yield self._vertex("docker build", completed=True, error=last)

    def _status(self, line: str) -> dict[str, Any] | None:
        if found := _LEGACY.match(line):
            ended = [self._vertex(self._step, completed=True)] if self._step else []
            self._step = f"[{self._service} {found[1]}/{found[2]}] {found[3]}"
            started = self._vertex(self._step, name=self._step, started=True)
            return {"vertexes": [v for s in (*ended, started) for v in s["vertexes"]]}
        if self._step:
            if line.lstrip(" ").startswith(("---> Using cache", "--> Using cache")):
                return self._vertex(self._step, cached=True)
            return None if _QUIET.match(line) else self._log(self._step, line)
        if found := _LOG.match(line):
            return self._log(self._digest(found[1]), found[2])
        if found := _STATE.match(line):
            if found[2] == "CACHED":
                return self._vertex(self._digest(found[1]), cached=True, completed=True)
            return self._vertex(self._digest(found[1]), completed=True, error=found[3] if found[2] == "ERROR" else "")
        found = _STEP.match(line)
        if found and found[1] not in self._named:  # the first line is the step's name; the rest is detail
            self._named.add(found[1])
            plain = not found[2].startswith("[") or "internal" in found[2]
            name = found[2] if plain else f"[{self._service} {found[2][1:]}"
            return self._vertex(self._digest(found[1]), name=name, started=True)
        return None

    def _digest(self, number: str) -> str:
        return f"{self._service}#{number}"

    def _vertex(
        self,
        digest: str,
        *,
        name: str = "",
        started: bool = False,
        completed: bool = False,
        cached: bool = False,
        error: str = "",
    ) -> dict[str, Any]:
        stamp = datetime.fromtimestamp(self._now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        vertex: dict[str, Any] = {"digest": digest, "cached": cached, "error": error}
        vertex |= {"name": name} if name else {}
        vertex |= {"started": stamp} if started else {}
        vertex |= {"completed": stamp} if completed else {}
        return {"vertexes": [vertex]}

    def _log(self, digest: str, line: str) -> dict[str, Any]:
        return {"logs": [{"vertex": digest, "data": base64.b64encode((line + "\n").encode()).decode()}]}
