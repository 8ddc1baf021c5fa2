"""Does the work: builds what changed, replaces outdated containers, copies files, and reports what failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Service
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.pipeline import build as pipeline
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import discover, files_found
from buildkit_tasks.stack import running, stack

from . import containers, targets
from .notify import notify
from .rules import NOTHING, Work, work

#: Failures caused by the code itself: the same build would fail again, so wait until a file changes.
CODE = frozenset({"compile-failed", "build-failed", "build-lacks"})

#: Failures of the first build that do not end `watch`, because saving a file can fix them.
REPAIRABLE = CODE | {"unhealthy", "dockerfile-unreadable", "context-unreadable"}

NONE: frozenset[str] = frozenset()


class Keeper:
    """The project and its watched services. `services`: the names as typed (empty: all).

    `interrupted`: whether another change is pending, which ends any wait.
    """

    def __init__(self, session: Session, services: Sequence[str], *, progress: str, ending: str) -> None:
        self.ending = ending
        self.session, self.services, self.progress = session, tuple(services), progress
        self.interrupted: Callable[[], bool] = lambda: False
        self.started = False
        self.project = discover(session, lesser=True, named=self.services)
        self.targets = self._targets()
        self._warn()

    def begin(self, present: Collection[str]) -> None:
        """Build and start everything. `present`: all watched paths. Problems: those that saving a file cannot fix."""
        problem = self._start(present)
        if problem and problem.code not in REPAIRABLE:
            raise problem
        if problem:
            self.session.report.problem(problem)
        names = ", ".join(dict.fromkeys(rule.service for rule in self.targets.rules if rule.service))
        self.say(f"watching {names}; {self.ending}", style="bold")

    def read_again(self, *, reload: bool) -> bool:
        """Reread the rules, and if `reload` is set, the compose files; return whether the rules changed."""
        if reload:
            self.session.forget()
            self.project = discover(self.session, lesser=True, named=self.services)
        fresh = self._targets()
        same, self.targets = fresh == self.targets, fresh
        if not same:
            self._warn()
        return not same

    def do(self, found: Work, present: Collection[str]) -> Work:
        """Do the work; return what failed for a reason other than the files."""
        began = self.session.world.clock()
        if not self.started:
            return self._begin_again(found, present)
        names = set(self._built()) if found.reload else found.rebuild
        failed, owed = self._build([s for s in self.project.workspace.services if s.name in names])
        try:
            replaced = self._replace(failed, everything=found.reload)
            self._copy(found.sync)
            self._restart(found.restart)
        except Problem as problem:
            self.report(problem, "the build succeeded")
            return Work(owed, found.sync, found.restart)
        done = ((replaced, "replaced"), (sorted(found.sync), "synced"), (sorted(found.restart), "restarted"))
        words = "; ".join(f"{', '.join(names)} {what}" for names, what in done if names)
        took = f"{self.session.world.clock() - began:.1f} s"
        if words:
            self.say(f"{words} ({took})", style="green")
            notify(self.session, words)
        elif not failed:
            self.say(f"no containers had to be replaced ({took})")
        return Work(owed)

    def say(self, line: str, *, style: str = "") -> None:
        """Print a line with the time of day."""
        self.session.report.say(f"[{time.strftime('%H:%M:%S')}] {line}", style=style)

    def report(self, problem: Problem, what: str) -> None:
        """Print a failure that does not end the watch."""
        self.session.report.problem(problem)
        self.say(f"{what}; waiting for the next change", style="bold")
        notify(self.session, problem.message)

    # ---- the project ----

    def _request(self, services: Sequence[str]) -> BuildRequest:
        return BuildRequest(services=tuple(services), progress=self.progress)

    def _chosen(self) -> list[str]:
        names = stack.named(self.project, self.services)
        return names or list(self.project.workspace.config.get("services") or ())

    def _built(self) -> list[str]:
        chosen = self._chosen()
        return [name for name in self.project.workspace.names if name in chosen]

    def _targets(self) -> targets.Targets:
        files = files_found(self.session)
        return targets.find(self.project.workspace, self._chosen(), files)

    def _warn(self) -> None:
        for words in self.targets.skipped:
            self.session.report.warn(words)

    # ---- images ----

    def _start(self, present: Collection[str]) -> Problem | None:
        """Build and start everything, and copy the initial files; return the problem, if any."""
        problem = None
        try:
            stack.up_project(self.session, self.project, self._request(self.services))
        except Problem as found:
            problem = found
        self.started = problem is None or problem.code == "unhealthy"
        if self.started:
            self._copy_initial(present)
        return problem

    def _begin_again(self, found: Work, present: Collection[str]) -> Work:
        """Retry everything after the first build failed."""
        problem = self._start(present)
        if problem:
            self.report(problem, "the stack is running" if self.started else "nothing was started")
            return NOTHING if problem.code in REPAIRABLE else Work(found.rebuild)
        notify(self.session, "everything is healthy")
        return NOTHING

    def _build(self, services: Sequence[Service]) -> tuple[frozenset[str], frozenset[str]]:
        """Build these in one solve; return the failed services, and those failing for reasons other than their files.

        If unrelated services fail together, builds each separately, so one error does not block the others.
        """
        if not services:
            return NONE, NONE
        try:
            self._solve(services)
            return NONE, NONE
        except Problem as problem:
            groups = alike(services)
            if len(groups) == 1 or problem.code not in CODE:
                return self._not_built(services, problem)
        failed, owed = NONE, NONE
        for group in groups:
            try:
                self._solve(group)
            except Problem as problem:
                more, later = self._not_built(group, problem)
                failed, owed = failed | more, owed | later
        return failed, owed

    def _solve(self, services: Sequence[Service]) -> None:
        outcome = pipeline.build_project(self.session, self.project, self._request([s.name for s in services]))
        pipeline.show_summary(self.session, outcome)

    def _not_built(self, services: Sequence[Service], problem: Problem) -> tuple[frozenset[str], frozenset[str]]:
        names = frozenset(service.name for service in services)
        self.report(problem, "the old containers keep running")
        return names, NONE if problem.code in CODE else names

    # ---- containers ----

    def _replace(self, failed: Collection[str], *, everything: bool) -> tuple[str, ...]:
        """Replace containers that use an outdated image. `everything`: all that compose considers outdated."""
        session, workspace = self.session, self.project.workspace
        watched = [s for s in workspace.services if s.name in self._built()]
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(running.listed, session, workspace.project)
            ids = image_choice.ids(session, [s.image for s in watched])
            before = asked.result()
        names: Sequence[str] = containers.outdated(watched, workspace.config.get("services") or {}, before, ids)
        if everything:
            names = [name for name in self._chosen() if name not in failed]
        if not names:
            return ()
        self._up(names, dependencies=everything)
        return containers.replaced(before, running.listed(session, workspace.project))

    def _up(self, names: Sequence[str], *, dependencies: bool = False) -> None:
        files = stack.files_in_force(self.session, self.project)
        ready = stack.replace_containers(
            *(self.session, self.project.workspace, files, names),
            dependencies=dependencies,
            enough=lambda: self.interrupted(),
        )
        if not ready:
            self.say("files changed again; no longer waiting for all services to become healthy")

    def _copy(self, found: Mapping[str, Mapping[str, str]]) -> None:
        if not any(found.values()):
            return
        there = running.listed(self.session, self.project.workspace.project)
        for service, files in found.items():
            if files:
                containers.copy(self.session, [c.name for c in there if c.service == service], files)

    def _copy_initial(self, present: Iterable[str]) -> None:
        wanted = [(service, trigger.path) for service, trigger in self.targets.initial]
        rules = [rule for rule in self.targets.rules if (rule.service, rule.path) in wanted]
        if rules:
            self._copy(work(rules, present).sync)

    def _restart(self, names: Collection[str]) -> None:
        if names:
            files = stack.files_in_force(self.session, self.project)
            run.check(self.session.world, compose_cli.restart(self.session.root, files, sorted(names)))
            self._up(sorted(names))


def alike(services: Sequence[Service]) -> list[list[Service]]:
    """Group the services that are built from the same context and Dockerfile."""
    groups: list[list[Service]] = []
    for service in services:
        same = next((group for group in groups if sources.same_build(group[0], service)), None)
        if same is None:
            groups.append([service])
        else:
            same.append(service)
    return groups
