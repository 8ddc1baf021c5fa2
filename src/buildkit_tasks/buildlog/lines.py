"""Shows a running build as lines, for files, CI and screen readers: finished steps, crates, and slow steps."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.core.report import Report

from . import estimate, states

#: Print the number of crates each time this many more have started.
CRATES_PER_LINE = 25

#: Print the running step after this many seconds without output.
SILENCE = 30.0

#: Print a line with the estimate if the build is expected to take this many seconds.
LONG = 15.0

#: Report a compile step that has printed nothing for this many seconds. The step prints a line once it has its mounts.
BLOCKED = 2.0


class Lines:
    """One line per finished step and per `CRATES_PER_LINE` crates; with `verbatim`, every line of every step."""

    def __init__(self, report: Report, plan: BuildPlan, progress: Progress, *, verbatim: bool = False) -> None:
        self.report, self.progress, self.verbatim = report, progress, verbatim
        self.states = states.States(plan, progress)
        self.blocked = Blocked(self.states, report.world.clock)
        self.printed: set[str] = set()
        self.crates = 0
        self.estimated = False
        self.began = self.last = report.world.clock()
        self.lock = threading.Lock()  # two threads print

    def update(self, lines: Sequence[str]) -> None:
        """Print what finished since the last call."""
        with self.lock:
            if self.verbatim:
                for line in lines:
                    self._say(line)
            for digest, vertex in list(self.progress.vertexes.items()):
                if vertex.completed and digest not in self.printed and not vertex.internal:
                    self.printed.add(digest)
                    if not vertex.cached and not vertex.cancelled:
                        how = "failed" if vertex.error else f"{vertex.seconds or 0:.1f} s"
                        self._say(f"  {self.states.label(vertex)}: {how}")
            done = self.progress.done
            if not self.verbatim and done - self.crates >= CRATES_PER_LINE:
                self.crates = done - done % CRATES_PER_LINE
                self._say(f"  compiled {done}{states.of_total(self.progress)} crates")

    def tick(self) -> None:
        """Print what the build is waiting for."""
        with self.lock:
            if self.blocked.news():
                self._say(f"  {WAITING}")
            if self.report.world.clock() - self.last >= SILENCE:
                vertex = self.states.running()
                what = self.states.label(vertex) if vertex else "waiting for the builder"
                crates = self.states.crates()
                expected = self._expected()
                of = f" of {estimate.words(expected)}" if expected else ""
                words = f"compiling {crates}" if vertex and crates and states.compiles(vertex) else what
                self._say(f"  {self.report.world.clock() - self.began:.0f} s{of}: {words}")
            elif not self.estimated and (usual := self._expected() or 0.0) >= LONG:
                self.estimated = True
                self._say(f"  earlier builds like this one took {estimate.words(usual)}")

    def _expected(self) -> float | None:
        return estimate.total(self.progress.past, self.progress, self.report.world.clock() - self.began)

    def _say(self, line: str) -> None:
        self.last = self.report.world.clock()
        self.report.say(line)


WAITING = "no output from the compile step yet; another build may be using its cache mount"


class Blocked:
    """Detects a compile step that has started but is still waiting for its cache mount."""

    def __init__(self, of: states.States, clock: states.Clock) -> None:
        self._states, self._clock = of, clock
        self._since: float | None = None
        self._said = False

    def now(self) -> bool:
        """Return whether the running compile step started over `BLOCKED` seconds ago and has printed nothing."""
        vertex = self._states.running()
        if not vertex or not states.compiles(vertex) or vertex.log or vertex.partial:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        return self._clock() - self._since >= BLOCKED

    def news(self) -> bool:
        """Return the same as `now`, but true only once."""
        self._said, before = self._said or self.now(), self._said
        return self._said and not before
