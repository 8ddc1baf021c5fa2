"""Reduces BuildKit's raw progress (a stream of JSON objects on stderr) to what users need. Pure.

Each object is a SolveStatus: vertexes, statuses, logs (base64), warnings.
Source: https://github.com/moby/buildkit/blob/v0.13.1/client/graph.go
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .model import BuildOutcome, Past, Step, TargetResult

_COMPILING = re.compile(r"^\s+Compiling (\S+) v(\S+)(?: \((.*)\))?")
_DOWNLOADED = re.compile(r"^\s+Downloaded \S+ v\d")
_FINISHED = re.compile(r"^\s+Finished ")
# `[stage 2/5] RUN …`, preceded by the bake target if there are several, and the platform; a single stage has no name
_STEP = re.compile(r"^\[(?:\S+ +){0,3}\d+/\d+\] ")
_OURS = re.compile(r"^buildkit-tasks: (total|fresh|marked) (.*)$")


class Decoder:
    """Splits bytes into JSON objects, regardless of chunk boundaries. buildx 0.13 prints indented, multi-line objects.

    Text that is not JSON (such as the final error line of an old buildx) is kept in `rest`.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._json = json.JSONDecoder()
        self.rest: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the objects that are now complete."""
        self._buffer += chunk.decode("utf-8", errors="replace")
        while True:
            self._buffer = self._buffer.lstrip()
            if not self._buffer:
                return
            if not self._buffer.startswith("{"):
                line, newline, remainder = self._buffer.partition("\n")
                if not newline:
                    return
                self.rest.append(line)
                self._buffer = remainder
                continue
            try:
                item, end = self._json.raw_decode(self._buffer)
            except json.JSONDecodeError:
                return
            self._buffer = self._buffer[end:]
            yield item

    def close(self) -> str:
        """Return all the text that was not JSON, after the stream has ended."""
        return "\n".join([*self.rest, self._buffer]).strip()


@dataclass(frozen=True)
class Compiling:
    """A crate that cargo began to compile. `place`: its directory, "" for a registry crate; `began`: time in seconds.

    `step`: the digest of the vertex that printed it.
    """

    name: str
    version: str
    place: str
    began: float
    step: str = ""


@dataclass
class Vertex:
    """A node in the build graph. Times are in seconds since the epoch.

    `longest`: its longest run in seconds, and `ran_from` the start of that run; None if it never ran. A step that ran
    for one target is cached for the next. `finished`: when cargo reported that it was done.
    """

    name: str = ""
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    longest: float | None = None
    ran_from: float | None = None
    finished: float | None = None
    error: str = ""
    log: list[str] = field(default_factory=list)
    partial: str = ""
    moving: dict[str, tuple[str, float, float]] = field(default_factory=dict)

    @property
    def cancelled(self) -> bool:
        """Whether it was canceled without failing itself: another step failed, or two targets share the step."""
        return "context canceled" in self.error or "CANCELED" in self.error.upper()

    @property
    def internal(self) -> bool:
        """BuildKit's own work (loading the Dockerfile, metadata, exporting), not a step of a Dockerfile."""
        return _STEP.match(self.name) is None

    @property
    def seconds(self) -> float | None:
        """How long it ran, in seconds; None if unknown."""
        if self.started is None or self.completed is None:
            return None
        return max(0.0, self.completed - self.started)


class Progress:
    """Accumulates the stream. `compiled`: crates in order.

    `totals`, `freshes`: crates to compile and crates reused, by the digest of the compile step that reported them.
    `past`: earlier builds of the same kind, for an estimate; set by the code that records builds.
    """

    def __init__(self) -> None:
        self.vertexes: dict[str, Vertex] = {}
        self.compiled: list[str] = []
        self.crates: list[Compiling] = []
        self.totals: dict[str, int] = {}
        self.freshes: dict[str, int] = {}
        self.downloaded = 0
        self.past: tuple[Past, ...] = ()
        self.marked: list[str] = []
        self.warnings: list[str] = []

    @property
    def total(self) -> int | None:
        """The number of crates that all compile steps will compile; None until one has reported it."""
        return sum(self.totals.values()) if self.totals else None

    @property
    def fresh(self) -> int | None:
        """The number of crates that all compile steps reused; None until one has reported it."""
        return sum(self.freshes.values()) if self.freshes else None

    @property
    def done(self) -> int:
        """The number of crates that started to compile; if a total is known, only in the steps that it covers."""
        return sum(1 for c in self.crates if c.step in self.totals) if self.totals else len(self.compiled)

    def update(self, status: dict[str, Any]) -> list[str]:
        """Process one object. Returns the log lines that are now complete."""
        for item in status.get("vertexes") or ():
            vertex = self.vertexes.setdefault(item["digest"], Vertex())
            vertex.name = item.get("name", vertex.name)
            if item.get("started"):
                vertex.started = _seconds(item["started"])
            if item.get("completed"):
                vertex.completed = _seconds(item["completed"])
            vertex.cached = vertex.cached or bool(item.get("cached"))
            ran = item.get("completed") and not vertex.cached and not item.get("error")
            if ran and (vertex.longest is None or (vertex.seconds or 0.0) > vertex.longest):
                vertex.longest, vertex.ran_from = vertex.seconds or 0.0, vertex.started
            vertex.error = item.get("error") or vertex.error
        for item in status.get("statuses") or ():
            vertex = self.vertexes.setdefault(item.get("vertex", ""), Vertex())
            if item.get("completed"):
                vertex.moving.pop(item.get("id", ""), None)
            elif item.get("current"):
                vertex.moving[item.get("id", "")] = (item.get("name", ""), item["current"], item.get("total") or 0)
        lines: list[str] = []
        for entry in status.get("logs") or ():
            vertex = self.vertexes.setdefault(entry["vertex"], Vertex())
            text = vertex.partial + base64.b64decode(entry.get("data") or "").decode("utf-8", errors="replace")
            *whole, vertex.partial = text.split("\n")
            for line in whole:
                self._line(entry["vertex"], line, entry.get("timestamp") or "")
                lines.append(line)
        for warning in status.get("warnings") or ():
            self.warnings.append(base64.b64decode(warning.get("short") or "").decode("utf-8", errors="replace"))
        return lines

    def _line(self, digest: str, line: str, stamp: str) -> None:
        vertex = self.vertexes[digest]
        vertex.log.append(line)
        if ours := _OURS.match(line):
            kind, value = ours.groups()
            if kind == "marked":
                self.marked.append(value)
            elif value.strip().isdigit():
                (self.totals if kind == "total" else self.freshes)[digest] = int(value)
        elif compiling := _COMPILING.match(line):
            self.compiled.append(compiling[1])
            self.crates.append(Compiling(compiling[1], compiling[2], compiling[3] or "", _seconds(stamp), digest))
        elif _DOWNLOADED.match(line):
            self.downloaded += 1
        elif _FINISHED.match(line):
            vertex.finished = _seconds(stamp)

    def moving(self) -> tuple[str, float, float] | None:
        """Return the current download, extraction or transfer: BuildKit's word, bytes so far, total (0 if unknown)."""
        busy = [v for v in list(self.vertexes.values()) if v.started and not v.completed]
        moved = [item for vertex in busy for item in list(vertex.moving.values())]
        if not moved:
            return None
        word = moved[-1][0]
        same = [item for item in moved if item[0] == word]
        return word, sum(item[1] for item in same), sum(item[2] for item in same)

    def failed(self) -> Vertex | None:
        """Return the step that failed the build, rather than one that was canceled because of it."""
        broken = [v for v in self.vertexes.values() if v.error]
        real = [v for v in broken if not v.cancelled]
        return max(real or broken, key=lambda v: len(v.log), default=None)

    def forget_failures(self) -> None:
        """Forget earlier failures, because the same build is running again."""
        for vertex in self.vertexes.values():
            vertex.error = ""

    def outcome(self, seconds: float, targets: tuple[TargetResult, ...], *, incremental: bool) -> BuildOutcome:
        """Summarize the finished build and its images."""
        return BuildOutcome(
            seconds=seconds,
            incremental=incremental,
            compiled=tuple(dict.fromkeys(self.compiled)),
            fresh=self.fresh,
            targets=targets,
            steps=self.steps(),
            marked=tuple(self.marked),
        )

    def steps(self) -> tuple[Step, ...]:
        """Return the steps of the Dockerfiles in the order seen, without BuildKit's internal steps."""
        return tuple(
            Step(v.name, v.cached and v.longest is None, v.seconds if v.longest is None else v.longest)
            for v in self.vertexes.values()
            if not v.internal
        )


def _seconds(stamp: str) -> float:
    """Parse RFC 3339 with nanoseconds to seconds; Python before 3.11 supports neither Z nor nine digits."""
    head, _, fraction = stamp.rstrip("Z").partition(".")
    try:
        base = datetime.fromisoformat(head + "+00:00").timestamp()
    except ValueError:
        return 0.0
    digits = re.match(r"\d*", fraction)
    return base + (float(f"0.{digits[0]}") if digits and digits[0] else 0.0)
