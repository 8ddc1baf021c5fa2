"""Watches a project's files until interrupted: waits for events, scans the files, and acts on changes."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem

from . import machine
from .events import Ear
from .keeper import Keeper
from .look import Look, changed, look
from .machine import Do, Done, Looked, Noise, State, Tick, Wait
from .rules import NOTHING, Work, work

#: Maximum number of scans until the watched directories match those on disk.
TRIES = 10

#: Nanoseconds by which a file's timestamp may precede its change: more than one tick of any kernel's clock.
TICK = 50_000_000


def watch(
    session: Session,
    services: Sequence[str],
    *,
    progress: str = "auto",
    after: Callable[[], None] = lambda: None,
    ending: str = "press Ctrl-C to stop watching (the containers keep running)",
) -> None:
    """Build and start these services (none: all), then keep them in sync with their files until interrupted.

    `after`: called whenever containers may have been started; `ending`: describes what an interrupt does. Problems:
    any from discovery, and anything that prevents the stack from starting, except what saving a file can fix.
    """
    began = time.time_ns()
    _Loop(session, Keeper(session, services, progress=progress, ending=ending), after).run(began)


class _Loop:
    def __init__(self, session: Session, keeper: Keeper, after: Callable[[], None]) -> None:
        self.session, self.keeper, self.after = session, keeper, after
        self.ear = Ear(session.world.env, lambda path: self.keeper.targets.concerns(path))
        self.keeper.interrupted = lambda: not self.ear.heard.empty()
        self.seen = Look({}, frozenset())

    def run(self, began: int) -> None:
        """Run until interrupted. `began`: a time (ns) before the compose files were read."""
        with self.ear:
            self.seen = self._look()  # before the first build reads anything
            if any(self._changed_since(rule.path, began) for rule in self.keeper.targets.rules if not rule.service):
                self._read(Work(reload=True))
            self.keeper.begin(self.seen.paths)
            state = State(phase=machine.Phase.WORKING)
            event: machine.Event = self._done(NOTHING)
            while True:
                state, decision = machine.step(state, event)
                if isinstance(decision, Wait):
                    event = self._wait(decision.until)
                elif isinstance(decision, Do):
                    event = self._do(decision.work)
                    if self._drain():
                        state, _ = machine.step(state, Noise(self._now()))
                else:
                    before, self.seen = self.seen, self._look()
                    event = Looked(work(self.keeper.targets.rules, changed(before, self.seen)))

    def _do(self, found: Work) -> Done:
        self.keeper.say(f"{found.words(str(self.session.root))} changed", style="bold")
        try:
            found = self._read(found)
        except Problem as problem:
            self.keeper.report(problem, "nothing was built")
            return self._done(found)
        return self._done(self.keeper.do(found, self.seen.paths))

    def _read(self, found: Work) -> Work:
        """Read what changed in the project. If the rules changed, scan again with the new ones and add the changes."""
        news = found
        for _ in range(TRIES):
            if not self.keeper.read_again(reload=news.reload):
                break
            before, self.seen = self.seen, self._look()
            news = work(self.keeper.targets.rules, changed(before, self.seen))
            found = found.and_also(news)
        return found

    def _changed_since(self, path: str, moment: int) -> bool:
        """Return whether a file changed after a time (ns), allowing for rounded file times."""
        seen = self.seen.paths.get(path)
        return seen is not None and seen[-1] > moment - TICK

    def _done(self, owed: Work) -> Done:
        if self.keeper.started:
            self.after()
        return Done(self._now(), owed)

    def _now(self) -> float:
        return self.session.world.clock()

    def _wait(self, until: float | None) -> machine.Event:
        try:
            self.ear.heard.get(timeout=None if until is None else max(0.0, until - self._now()))
        except queue.Empty:
            return Tick(self._now())
        self._drain()
        return Noise(self._now())

    def _drain(self) -> bool:
        """Discard the events so far; return whether there were any."""
        some = False
        while True:
            try:
                some = self.ear.heard.get_nowait() or some
            except queue.Empty:
                return some

    def _look(self) -> Look:
        """Scan the files, and ensure that every directory found was already being watched."""
        found = look(self.keeper.targets.roots)
        for _ in range(TRIES):
            try:
                if not self.ear.cover(found.directories):
                    return found
            except FileNotFoundError:  # removed between the scan and the watch
                pass
            found = look(self.keeper.targets.roots)
        self.ear.heard.put(True)
        return found
