"""Starts services and waits until each is ready, using the engine's events instead of polling."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Result
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.engine.connect import connected
from buildkit_tasks.project import compose_words

from . import ports, state
from .state import Container

if TYPE_CHECKING:
    from docker import DockerClient

#: Log lines shown for a failing service.
LAST_LINES = 25

#: Seconds that a container without a health check must run to count as ready; longer if it was restarted.
SETTLED, SETTLED_AFTER_RESTART = 1.0, 5.0

#: Seconds to wait before printing what we are waiting for.
PATIENCE = 10.0


@dataclass(frozen=True)
class Wanted:
    """What to wait for: services of a compose project, each up to `limit` seconds plus its container's start period.

    `enough`: once it is true, stop waiting for the started containers. `summary`: report when all are ready.
    `report_running`: also report containers that were already running and are not restarted.
    """

    project: str
    services: Collection[str]
    limit: float
    enough: Callable[[], bool] = lambda: False
    summary: bool = True
    report_running: bool = True


def until_ready(session: Session, wanted: Wanted, files: Sequence[Path], start: Callable[[], Result]) -> bool:
    """Run `start` and wait until all wanted services are ready; return False if `enough` becomes true first.

    Problems: unhealthy, with each container's state, the seconds waited and its last log lines; port-in-use.
    """
    with connected(session.world, session.root) as client, ThreadPoolExecutor(1) as pool:
        watch = _Watch(session, client, wanted)
        with watch:
            started = pool.submit(start)
            started.add_done_callback(watch.wake)
            bad, result = watch.follow(started)
        if bad is None:
            return False
        if bad or result.code != 0:
            raise _failure(session, files, watch, bad, result)
    if wanted.summary:
        found = list(watch.containers.values())
        session.report.say(f"everything is healthy ({watch.elapsed:.1f} s){state.jobs(found)}", style="green")
        for line in state.restarted(found, watch.restarts):
            session.report.say(line)
    return True


class _Watch:
    """The project's containers, kept up to date from events while the context is open."""

    def __init__(self, session: Session, client: DockerClient, wanted: Wanted) -> None:
        self.session, self.client, self.wanted = session, client, wanted
        self.began = session.world.clock()
        self.containers: dict[str, Container] = {}
        self._said: dict[str, str] = {}
        self.restarts: dict[str, int] = {}  # by id: of the containers that were already running
        self._before: dict[str, str] | None = None  # by id: when the container was started
        self._ran: set[str] = set()  # ids of the containers that were running before we began
        self._since: dict[str, tuple[int, str, float]] = {}  # by id: restarts, start time, and when we saw it
        self._wake: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._filters: dict[str, Any] = {"label": [f"{state.PROJECT}={wanted.project}", f"{state.ONE_OFF}=False"]}

    @property
    def elapsed(self) -> float:
        return self.session.world.clock() - self.began

    def __enter__(self) -> None:
        self._stream = self.client.events(filters={**self._filters, "type": "container"}, decode=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._look_all()
        self._before = {identity: container.started for identity, container in self.containers.items()}
        self.restarts = {identity: container.restarts for identity, container in self.containers.items()}
        self._ran = {identity for identity, container in self.containers.items() if container.status == "running"}
        for identity, container in self.containers.items():  # these were already running
            self._since[identity] = (container.restarts, container.started, float("-inf"))

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _read(self) -> None:
        try:
            for event in self._stream:
                self._wake.put(str(event.get("id") or ""))
        except Exception:  # noqa: S110 - closed by the other thread; any error ends the stream
            pass

    def wake(self, _: Future[Result]) -> None:
        """Handle the end of the command that starts the containers."""
        self._wake.put("")

    def follow(self, started: Future[Result]) -> tuple[list[Container] | None, Result]:
        """Wait until each container is ready, failed or timed out; return the failed ones and the command's result.

        Returns None instead of the containers if `enough` becomes true first.
        """
        said, fresh = self.elapsed, False
        while True:
            if started.done() and not fresh:  # events of replaced containers may still arrive
                fresh = True
                self._look_all(forget=True)
            mine = [c for c in self.containers.values() if c.service in self.wanted.services]
            if started.done():
                result = started.result()
                bad = [c for c in mine if c.failed]
                if bad or result.code != 0:
                    return bad or [c for c in mine if not self._ready(c)], result
                if all(map(self._ready, mine)):
                    return [], result
                late = [c for c in mine if not self._ready(c) and self.elapsed > self._limit(c)]
                if late:
                    return late, result
                if self.wanted.enough():
                    return None, result
            try:
                identity = self._wake.get(timeout=0.5)
            except queue.Empty:
                waiting = sorted(c.service for c in mine if not self._ready(c))
                if waiting and self.elapsed - said > PATIENCE:
                    said = self.elapsed
                    self.session.report.say(f"  waiting for {', '.join(waiting)} ({said:.0f} s)")
                continue
            self._look(identity) if identity else self._look_all()

    def _limit(self, container: Container) -> float:
        """Return a container's timeout in seconds. Its start period tolerates failed health checks, but not an exit."""
        return self.wanted.limit + (container.start_period if not container.restarts else 0)

    def _ready(self, container: Container) -> bool:
        """Return whether a container is ready. Without a health check, it must run for a while, as it may restart."""
        if not container.ready or container.health or container.done:
            return container.ready
        restarts, _, since = self._since[container.id]
        return self.elapsed - since > (SETTLED_AFTER_RESTART if restarts else SETTLED)

    def _look_all(self, *, forget: bool = False) -> None:
        """Inspect every container. `forget`: also drop those that no longer exist, even without an event."""
        found = [str(one["Id"]) for one in self.client.api.containers(all=True, filters=self._filters)]
        for gone in self.containers.keys() - set(found) if forget else ():
            self.containers.pop(gone)
        for identity in found:
            self._look(identity)

    def _look(self, identity: str) -> None:
        from docker.errors import NotFound

        try:
            found = state.container(self.client.api.inspect_container(identity))
        except NotFound:
            self.containers.pop(identity, None)
            return
        if found.status == "removing":
            self.containers.pop(identity, None)
            return
        self.containers[identity] = found
        if found.status != "running" or self._since.get(identity, ())[:2] != (found.restarts, found.started):
            self._since[identity] = (found.restarts, found.started, self.elapsed)
        word = "done" if found.done else found.words if found.failed else found.health if found.ready else ""
        word = word or ("started" if found.status == "running" else "")
        new = self._before is not None and self._before.get(identity) != found.started
        if found.status == "exited" and not new and identity in self._ran:  # compose stopped it, to replace it
            return
        if not new and not self.wanted.report_running:  # about to be replaced or restarted
            return
        if word and found.service in self.wanted.services and self._said.get(found.name) != word:
            self._said[found.name] = word
            self.session.report.say(f"  {found.service} {word} ({self.elapsed:.1f} s)")


_NOT_PULLED = re.compile(
    r'failed to resolve reference "(?P<a>[^"]+)"|pull access denied for (?P<b>[^\s,]+)'
    r"|manifest for (?P<c>\S+) not found"
)


def not_pulled(said: str) -> Problem | None:
    """Return a problem if compose's output shows that an image could not be pulled, else None."""
    found = {m["a"] or m["b"] or m["c"]: line for line in said.splitlines() for m in _NOT_PULLED.finditer(line)}
    if not found:
        return None
    names = dict.fromkeys(name.removeprefix("docker.io/").removeprefix("library/") for name in found)
    return Problem(
        "image-unavailable",
        f"Compose could not pull {', '.join(names)}.",
        causes=[line.partition(": ")[2].strip() or line.strip() for line in found.values()],
        hint="set a mirror (BUILDKIT_TASKS_IMAGES_REGISTRY=mirror.example), or load the image with `docker load`",
    )


def _failure(
    session: Session, files: Sequence[Path], watch: _Watch, bad: Sequence[Container], result: Result
) -> Problem:
    said = result.stderr.strip()
    if taken := ports.taken_on_start(said):
        return taken
    if not bad and (missing := not_pulled(said)):
        return missing
    causes, remedy = compose_words.unset(session, said)
    if not bad:
        hint = remedy or "invoke ps; invoke logs"
        return Problem("unhealthy", "Compose could not start the stack.", causes=causes, details=said, hint=hint)
    names = list(dict.fromkeys(c.service for c in bad))
    log = run.capture(session.world, compose_cli.logs(session.root, files, names, tail=str(LAST_LINES)), timeout=30)
    return Problem(
        "unhealthy",
        f"Not ready after {watch.elapsed:.0f} s: {', '.join(names)}.",
        causes=[*(f"{c.service}: {c.words}" for c in bad), *causes],
        details=(log.stdout or log.stderr or said).strip(),
        hint=f"{remedy}; or " * bool(remedy)
        + f"invoke logs --service {names[0]}    (the last log lines are printed above)",
    )
