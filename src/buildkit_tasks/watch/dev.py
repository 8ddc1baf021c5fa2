"""Runs the stack in the foreground: starts it, follows its logs, and on an interrupt stops what it started."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timezone

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Command
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.project.discover import Project, discover
from buildkit_tasks.stack import running, stack

from . import containers, loop

#: Describes what an interrupt does.
ENDING = "press Ctrl-C to stop the containers that were started"

#: Seconds to wait for the logs to end once the last container has stopped.
LAST_WORDS = 2.0


def dev(
    session: Session,
    services: Sequence[str],
    *,
    with_build: bool = True,
    watching: bool = False,
    progress: str = "auto",
) -> None:
    """Build and start these services (none: all), print their logs, and if `watching`, keep them in sync.

    An interrupt stops what this started; anything that ran before keeps running. Problems: same as `up` and `watch`.
    """
    project = discover(session, lesser=True, named=services)
    before = _containers(session, project)
    with _Logs(session, project, stack.named(project, services)) as logs, _stopping(session, project, before):
        if watching:
            # a live view and the logs would overwrite each other
            plain = "plain" if progress == "auto" else progress
            loop.watch(session, services, progress=plain, after=logs.follow, ending=ENDING)
            return
        try:
            request = BuildRequest(services=tuple(services), progress=progress)
            stack.up_project(session, project, request, with_build=with_build)
        except Problem as problem:
            if problem.code != "unhealthy":
                raise
            session.report.problem(problem)
        logs.follow()
        session.report.say(f"following the logs; {ENDING}", style="bold")
        logs.wait()
        session.report.say("every container has stopped")


class _Logs:
    """Follows all logs with compose, which adds prefixes and colors, until the last container stops."""

    def __init__(self, session: Session, project: Project, services: Sequence[str]) -> None:
        self._session, self._project, self._services = session, project, tuple(services)
        self._since = _now()
        self._running = contextlib.ExitStack()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> _Logs:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.join(LAST_WORDS)
        self._running.close()
        self.wait()

    def follow(self) -> None:
        """Run `compose logs` from where the last run ended, unless that run is still active."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._running.close()
        files = stack.files_in_force(self._session, self._project)
        command = compose_cli.logs(self._session.root, files, self._services, follow=True, since=self._since)
        ended = self._running.enter_context(run.beside(self._session.world, command))
        self._thread = threading.Thread(target=self._wait, args=(ended,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the logs end."""
        if self._thread is not None:
            self._thread.join()

    def _wait(self, ended: Callable[[], int]) -> None:
        ended()
        self._since = _now()


@contextlib.contextmanager
def _stopping(session: Session, project: Project, before: Collection[running.Running]) -> Iterator[None]:
    """Run a block; however it ends, stop the containers started during it."""
    try:
        yield
    finally:
        started = containers.started(before, _containers(session, project))
        if started:
            session.report.say(f"stopping {', '.join(started)}", style="bold")
            _stop(session, project, started, everything=not before)


def _stop(session: Session, project: Project, started: Sequence[str], *, everything: bool) -> None:
    """Remove the containers, and the networks if nothing else is left; volumes are kept."""
    files, name = stack.files_in_force(session, project), project.workspace.project
    if everything:
        asked: Sequence[Command] = (
            compose_cli.down(session.root, files),
            compose_cli.by_name(session.root, name, "down"),
        )
    else:
        words = ("rm", "--stop", "--force", *started)
        asked = (compose_cli.remove(session.root, files, started), compose_cli.by_name(session.root, name, *words))
    said = ""
    try:
        for command in asked:  # the second command in case the compose file is no longer valid
            result = run.capture(session.world, command, group=True)
            if result.code == 0:
                return
            said = result.stderr.strip()
    except KeyboardInterrupt:
        session.report.warn("stopping was interrupted; containers may still be running (to stop them: invoke down)")
        raise
    session.report.warn(f"containers may still be running (to stop them: invoke down): {session.masked(said)[-300:]}")


def _containers(session: Session, project: Project) -> tuple[running.Running, ...]:
    return running.listed(session, project.workspace.project)


def _now() -> str:
    """Return the current time in the format of `docker logs --since`."""
    return datetime.now(timezone.utc).isoformat()
