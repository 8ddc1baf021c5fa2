"""The state of a container in the stack, and whether it is ready. Pure.

Follows the rules of compose's `up --wait`, plus one: a job that exited with code 0 counts as done, not as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SERVICE = "com.docker.compose.service"
PROJECT = "com.docker.compose.project"
ONE_OFF = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Container:
    """One container, as reported by the engine.

    `health` is starting, healthy or unhealthy; empty without a health check. `start_period`: seconds in which failed
    checks do not count. `restart` is the restart policy; `restarts` counts the engine's restarts.
    `started`: when it was last started.
    """

    id: str
    name: str
    service: str
    status: str
    exit_code: int = 0
    health: str = ""
    start_period: float = 0.0
    restart: str = "no"
    restarts: int = 0
    error: str = ""
    started: str = ""

    @property
    def ready(self) -> bool:
        """Whether the container is healthy, runs without a health check, or is a finished job."""
        if self.status == "running":
            return self.health in ("", "healthy")
        return self.done

    @property
    def done(self) -> bool:
        """Whether this is a job that exited with code 0 and does not restart."""
        return self.status == "exited" and self.exit_code == 0 and self.restart not in ("always", "unless-stopped")

    @property
    def failed(self) -> bool:
        """Whether it will not become ready: unhealthy, or exited with an error and will not be restarted."""
        if self.health == "unhealthy" and self.status == "running":
            return True
        if self.status == "dead" or (self.status == "created" and self.error):
            return True
        return self.status == "exited" and self.exit_code != 0 and self.restart in ("no", "")

    @property
    def words(self) -> str:
        """The state in a few words."""
        if self.status == "exited":
            return f"exited with code {self.exit_code}" + (f" ({self.error})" if self.error else "")
        if self.status == "restarting":
            return f"restarting, last exit code {self.exit_code}"
        if self.status == "created":
            return f"not started{f': {self.error}' if self.error else ''}"
        again = f", restarted {self.restarts} times" if self.restarts else ""
        return f"{self.status}{f', {self.health}' if self.health else ''}{again}"


def container(inspected: Mapping[str, Any]) -> Container:
    """Parse the document of `GET /containers/ID/json`."""
    state = inspected.get("State") or {}
    config = inspected.get("Config") or {}
    host = inspected.get("HostConfig") or {}
    check = config.get("Healthcheck") or {}
    has_check = bool(check.get("Test")) and check["Test"] != ["NONE"]
    return Container(
        id=str(inspected.get("Id") or ""),
        name=str(inspected.get("Name") or "").lstrip("/"),
        service=str((config.get("Labels") or {}).get(SERVICE) or ""),
        status=str(state.get("Status") or ""),
        exit_code=int(state.get("ExitCode") or 0),
        health=str((state.get("Health") or {}).get("Status") or "starting") if has_check else "",
        start_period=float(check.get("StartPeriod") or 0) / 1e9,
        restart=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        restarts=int(inspected.get("RestartCount") or 0),
        error=str(state.get("Error") or ""),
        started=str(state.get("StartedAt") or ""),
    )


def jobs(containers: Iterable[Container]) -> str:
    """Return the end of a summary: the finished jobs."""
    names = ", ".join(sorted(c.service for c in containers if c.done))
    return f"; exited with code 0: {names}" if names else ""


def restarted(containers: Iterable[Container], before: Mapping[str, int]) -> list[str]:
    """Return a line for each container that exited and was restarted. Without a health check, it may do so again.

    `before`: the earlier number of restarts, by container id.
    """
    counts = {c.service: c.restarts - before.get(c.id, 0) for c in containers}
    return [
        f"  {name} exited and was restarted {'once' if count == 1 else f'{count} times'}: invoke logs --service {name}"
        for name, count in sorted(counts.items())
        if count > 0
    ]


def with_dependencies(config: Mapping[str, Any], chosen: Iterable[str]) -> set[str]:
    """Return the named services (default: all) and their dependencies, which compose also starts."""
    services: Mapping[str, Any] = config.get("services") or {}
    todo = list(chosen) or list(services)
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += (services.get(name) or {}).get("depends_on") or ()
    return found


def with_dependents(config: Mapping[str, Any], chosen: Iterable[str]) -> set[str]:
    """Return the named services and those that compose restarts with them: `depends_on: {name: {restart: true}}`."""
    services: Mapping[str, Any] = config.get("services") or {}
    found = set(chosen)
    while True:
        more = {
            name
            for name, service in services.items()
            if any(one.get("restart") and on in found for on, one in _depends_on(service))
        } - found
        if not more:
            return found
        found |= more


def _depends_on(service: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    named = service.get("depends_on") or {}
    return [(on, one or {}) for on, one in named.items()] if isinstance(named, Mapping) else []
