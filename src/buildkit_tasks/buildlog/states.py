"""Shows what a running build is doing: the state of each image, the labels of steps, the crates. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.core.progress import Progress, Vertex

#: `[api compile 2/2] RUN …`, `[api internal] load …`, `[api] exporting to image`. A single target has no name.
_NAMED = re.compile(r"\[(?P<target>[^\s\]]+) ?(?P<stage>[^\]]*)\] (?P<rest>.*)", re.DOTALL)
_COMPILES = re.compile(r"\bRUN\b.*/compile build\b", re.DOTALL)

#: A monotonic clock, in seconds.
Clock = Callable[[], float]


@dataclass(frozen=True)
class Image:
    """An image and its state: waiting, preparing, compiling, exporting, done, failed, or the running step."""

    service: str
    state: str


def brief(step: str, width: int = 100) -> str:
    """Return a step or an instruction on one line of at most `width` characters, without mount options."""
    text = " ".join(word for word in step.split() if not word.startswith("--mount"))
    return text if len(text) <= width else text[: width - 1] + "…"


class States:
    """The state of a planned build, read from its progress."""

    def __init__(self, plan: BuildPlan, progress: Progress) -> None:
        self._services, self._progress = plan.services, progress
        self._keys = {service.key for service in plan.services} if len(plan.services) > 1 else set[str]()
        self._together = [{service.key for service in group} for group in plan.groups if len(group) > 1]
        self._names: dict[str, tuple[str, str]] = {}
        self._repeated: tuple[int, set[str]] = (0, set())

    def label(self, vertex: Vertex) -> str:
        """Return a step on one line, without mount options, and without the target if several targets share it."""
        target, bare = self._split(vertex.name)
        common = self._shared(bare) or (compiles(vertex) and any(target in group for group in self._together))
        name = bare if target and common else vertex.name
        return brief(name)

    def running(self) -> Vertex | None:
        """Return the most significant running step: one that compiles, else another RUN, else the last to start."""
        busy = [vertex for vertex in self._vertexes() if _runs(vertex)]
        return next(filter(compiles, busy), next((v for v in busy if "RUN" in v.name), busy[-1] if busy else None))

    def images(self) -> list[Image]:
        """Return the state of every image."""
        vertexes = self._vertexes()
        own: dict[str, list[Vertex]] = {}
        for vertex in vertexes:
            own.setdefault(self._split(vertex.name)[0], []).append(vertex)
        shared = {bare: v for v in vertexes if _runs(v) and self._shared(bare := self._split(v.name)[1])}
        for vertex in vertexes:  # BuildKit may announce a group's compile step under only some of its targets
            if _runs(vertex) and compiles(vertex):
                for group in self._together:
                    if (target := self._split(vertex.name)[0]) in group:
                        for key in group - {target}:
                            own.setdefault(key, []).append(vertex)
        found = []
        for service in self._services:
            mine = own.get(service.key if self._keys else "", [])
            common = [shared[bare] for v in mine if (bare := self._split(v.name)[1]) in shared] if shared else []
            found.append(Image(service.name, self._state(mine, common)))
        return found

    def crates(self, last: int = 3) -> str:
        """Return the crates as `279/298  api, notifier`: started/total, newest first; empty if none."""
        started = self._progress.compiled
        if not started and not self._progress.total:
            return ""
        return "  ".join(
            filter(None, (f"{self._progress.done}{of_total(self._progress)}", ", ".join(reversed(started[-last:]))))
        )

    def _state(self, own: Sequence[Vertex], shared: Sequence[Vertex]) -> str:
        if any(vertex.error and not vertex.cancelled for vertex in own):
            return "failed"
        exports = [vertex for vertex in own if vertex.name.endswith("exporting to image") and vertex.started]
        if exports:
            return "done" if all(vertex.completed for vertex in exports) else "exporting"
        busy = [*(vertex for vertex in own if _runs(vertex) and not vertex.internal), *shared]
        if any(map(compiles, busy)):
            return "compiling"
        if busy:
            return self.label(busy[0])
        return "preparing" if any(vertex.started for vertex in own) else "waiting"

    def _vertexes(self) -> list[Vertex]:
        return list(self._progress.vertexes.values())  # a copy, because another thread reads the stream

    def _split(self, name: str) -> tuple[str, str]:
        """Return a step's target (empty if its name contains none), and the name without it."""
        if name not in self._names:
            found = _NAMED.match(name)
            if not found or found["target"] not in self._keys:
                self._names[name] = "", name
            else:
                stage = f"[{found['stage']}] " if found["stage"] else ""
                self._names[name] = found["target"], stage + found["rest"]
        return self._names[name]

    def _shared(self, bare: str) -> bool:
        """Return whether several targets have a step with this name. BuildKit runs it once, under one of the names."""
        count = len(self._progress.vertexes)
        if self._repeated[0] != count:
            seen = Counter(self._split(v.name)[1] for v in self._vertexes() if not v.internal)
            self._repeated = count, {name for name, times in seen.items() if times > 1}
        return bare in self._repeated[1]


def compiles(vertex: Vertex) -> bool:
    """Return whether this is our compile step."""
    return _COMPILES.search(vertex.name) is not None


def of_total(progress: Progress) -> str:
    """Return the total number of crates as `/298`, if the compile step has reported it."""
    return f"/{progress.total}" if progress.total else ""


def _runs(vertex: Vertex) -> bool:
    return bool(vertex.started) and not vertex.completed
