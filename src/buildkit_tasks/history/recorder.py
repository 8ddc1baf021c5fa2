"""Records a build: collects its inputs while BuildKit runs, then adds what the build did. Never fails a build."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, BuildRequest
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.project.discover import Project

from . import cases

if TYPE_CHECKING:
    from .gather import Gathered
    from .store import Store

T = TypeVar("T")


class Recorder:
    """A build that is being recorded. The build fills `progress`; `pulled`: a pack filled the mounts."""

    def __init__(
        self, session: Session, project: Project, plan: BuildPlan, request: BuildRequest, *, pulled: bool = False
    ) -> None:
        self._session, self._project, self._plan, self._request = session, project, plan, request
        self._gathered: Gathered | None = None
        self._refused = ""
        self._began, self._clock = time.time(), session.world.clock()
        self.progress = Progress()
        self._pulled = pulled
        self._case = cases.case(
            services=[service.name for service in plan.services],
            platforms=plan.routes,
            profile=plan.profile,
            incremental=plan.incremental,
            where=(project.engine.id, plan.builder),
            command=words(request),
        )
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start collecting the inputs in a thread. Does nothing if already started."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._gather, daemon=True)
            self._thread.start()

    def _join(self, timeout: float | None = None) -> None:
        self.start()
        if self._thread is not None:
            self._thread.join(timeout)

    def _gather(self) -> None:
        from .gather import gather  # imported late, in the thread: the build does not wait for sqlite3

        def work(store: Store) -> Gathered:
            self.progress.past = store.past(self._case)
            return gather(self._session, self._project, self._plan, store)

        self._gathered = self._with_store(work)

    def _with_store(self, work: Callable[[Store], T]) -> T | None:
        """Run `work` on the history. A corrupt file is replaced; any other failure is kept for the warning."""
        import sqlite3

        from .store import NAME, Store

        try:
            path = self._session.state / NAME
            for again in (True, False):
                try:
                    store = Store(path)
                    try:
                        return work(store)
                    finally:
                        store.close()
                except sqlite3.OperationalError:  # locked, read-only or full: not corrupt
                    raise
                except sqlite3.DatabaseError as error:
                    if not again:
                        raise
                    self._session.report.warn(f"{path} is corrupt ({error}); starting a new build history")
                    path.unlink(missing_ok=True)
        except (sqlite3.Error, OSError, ValueError, Problem) as error:
            self._refused = self._refused or str(error)
        return None

    def built(self, outcome: BuildOutcome) -> BuildOutcome:
        """Record a successful build. Returns its outcome with the sizes of its images, before and now."""
        self._join()
        gathered = self._gathered
        if gathered is None:
            self._warn()
            return outcome
        from .gather import sizes

        before: Mapping[str, int] = gathered.sizes
        new = [target.image for target in outcome.targets if target.changed]
        now = {**before, **(sizes(self._session, new) if new and gathered.asked else {})}
        outcome = replace(
            outcome,
            targets=tuple(
                replace(t, size=now.get(t.image, 0), size_before=before.get(t.image, 0)) for t in outcome.targets
            ),
        )
        number = self._save(gathered, outcome, "built", "")
        return replace(outcome, recorded=(number,)) if number else outcome

    def failed(self, code: str) -> None:
        """Record a build that failed, with its problem's code."""
        self._join(timeout=2.0)  # do not keep the user waiting after Ctrl-C
        if self._gathered is not None:
            self._save(self._gathered, None, "failed", code)

    def _save(self, gathered: Gathered, outcome: BuildOutcome | None, word: str, code: str) -> int | None:
        from . import keys, observed
        from .model import Build, ImageRecord

        inputs, progress = gathered.inputs, self.progress
        inputs = replace(inputs, bases=observed.bases(inputs.bases, progress))
        known = observed.positions(inputs, self._plan.services, progress)
        inputs = replace(inputs, steps=observed.states(inputs, known, progress))
        inputs = replace(inputs, steps=keys.with_keys(inputs.steps, inputs.bases, gathered.key))
        targets = outcome.targets if outcome else ()
        seen, cargo = observed.reported(known, progress)
        build = Build(
            began=self._began,
            seconds=round(outcome.seconds if outcome else self._session.world.clock() - self._clock, 3),
            command=words(self._request),
            outcome=word,
            problem=code,
            inputs=inputs,
            images=tuple(ImageRecord(t.service, t.image, t.digest, t.changed, t.size) for t in targets),
            seen=seen,
            cargo=cargo,
            pulled=self._pulled,
            disturbed=any(tree.newest >= self._began * 1e9 for tree in gathered.trees.values()),
        )

        def work(store: Store) -> int:
            if store.key != gathered.key:
                raise ValueError("another build replaced the history")
            return store.add(build, gathered.trees, gathered.texts, self._case)

        number = self._with_store(work)
        self._warn()
        return number

    def _warn(self) -> None:
        if self._refused:
            self._session.report.warn(f"this build was not recorded in the history: {self._refused}")


def words(request: BuildRequest) -> str:
    """Return the command line of a request."""
    flags = {
        "--service": ",".join(request.services),
        "--platform": ",".join(request.platforms),
        "--profile": request.profile,
        "--push": request.push,
        "--oci": request.oci,
    }
    given = [f"{flag} {value}" for flag, value in flags.items() if value]
    given += ["--no-incremental"] if request.incremental is False else []
    given += ["--no-cache"] if request.no_cache else []
    return " ".join(["build", *given])
