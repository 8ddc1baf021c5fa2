"""The facts that the checks evaluate. None (or an empty value where noted) means unknown or not queried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buildkit_tasks.core.model import Engine, Version


@dataclass(frozen=True)
class Builder:
    """The current buildx builder. `status` is running, inactive, missing, or an error message.

    `wanted`: the project's settings name this builder.
    """

    name: str
    driver: str
    status: str
    platforms: tuple[str, ...] = ()
    wanted: bool = False


@dataclass(frozen=True)
class PortUse:
    """A published port that is in use by another program. `variable`: the variable that sets it, if known."""

    service: str
    port: int
    holder: str
    variable: str = ""


@dataclass(frozen=True)
class Health:
    """A health check that calls a program."""

    service: str
    tool: str
    image: str


@dataclass(frozen=True)
class Facts:
    """All gathered facts. Sizes in bytes, times in seconds."""

    # the docker command
    clis: tuple[str, ...] = ()  #: different docker programs on PATH; the first one wins
    clis_differ: str = ""  #: how the second one differs; empty if the difference does not matter
    client: Version | None = None
    podman_cli: bool = False  #: the docker command is actually podman
    podman: bool = False  #: a podman command is on PATH
    podman_engine: bool = False  #: the engine behind the socket is podman's
    compose_v1: str = ""  #: path of a docker-compose v1
    client_config: Mapping[str, Any] = field(default_factory=dict)
    # the engine
    engine: Engine | None = None  #: version () if no engine responds; None without a docker command
    silent: tuple[str, str] | None = None  #: why no engine responds, and how to fix it
    daemon_config: Mapping[str, Any] | None = None
    rootless: bool = False
    memory: int | None = None
    skew: float | None = None  #: engine's clock minus ours
    skew_error: float = 0.0  #: measurement error of `skew`
    context: str = "default"
    context_host: str = ""
    context_dead: bool = False  #: the context's socket does not exist, but the default engine responds
    builder: Builder | None = None
    cache_size: int | None = None
    # the machine
    env: Mapping[str, str] = field(default_factory=dict)
    disk_path: str = ""
    disk_free: int | None = None
    min_disk: int = 5_000_000_000
    cache_budget: int = 0
    binfmt: Mapping[str, str] = field(default_factory=dict)  #: registered emulators and the text of each registration
    inotify: Mapping[str, int] = field(default_factory=dict)
    kernel: str = ""
    root: str = ""
    unprivileged_port: int = 1024
    rc_broken: str = ""  #: a startup file that has our line although the env file is missing
    rc_off: tuple[str, ...] = ()  #: `file:line` that disables BuildKit after or without our line
    rc_set: bool = False
    completion: str = ""  #: missing, current, stale; empty = not checked
    # network
    registry: str = ""
    registry_state: str = ""  #: open, closed, untrusted (TLS), unasked; empty = nothing to pull
    registry_words: str = ""
    registry_lost: tuple[str, ...] = ()  #: missing base images that cannot be built from packages
    ca_bundle: str = ""
    ca_state: str = ""  #: ok, missing, broken, expired; empty = not set
    # the project
    compose_read: bool = True  #: False if compose or .env prevented reading the compose file, which itself may be valid
    compose_error: tuple[str, str] | None = None  #: message and fix; None = valid
    ports_taken: tuple[PortUse, ...] = ()
    ports_elsewhere: bool = False  #: the engine publishes ports on another machine
    dockerfiles_missing: tuple[str, ...] = ()  #: messages, one per service
    published: tuple[int, ...] = ()
    dotenv: bool | None = None  #: None = the project has no .env.example
    dotenv_example: bool = True  #: .env.example exists
    dotenv_error: str = ""
    dotenv_hint: str = ""  #: the fix for `dotenv_error`
    dotenv_wanted: tuple[str, str] | None = (
        None  #: a required variable of the compose file that is not set: message and fix
    )
    dotenv_missing: tuple[str, ...] = ()
    dotenv_mode: int | None = None
    dotenv_placeholders: tuple[str, ...] = ()
    dotenv_tracked: bool = False
    missing_sources: tuple[str, ...] = ()
    locks_ignored: tuple[str, ...] = ()
    locks_missing: tuple[str, ...] = ()
    locks_seen: bool = True  #: a manifest was found, so a lock file is expected
    health_tools: tuple[Health, ...] = ()
    health_unsure: tuple[Health, ...] = ()  #: programs that may or may not be in the image
    platforms: tuple[str, ...] = ()  #: platforms that the project builds for, if it sets any

    @property
    def compose_unseen(self) -> str:
        """Why the contents of the compose file are unknown; empty if they are known."""
        if self.compose_error:
            return "the compose file is not valid"
        return "" if self.compose_read else "compose could not read the compose file"
