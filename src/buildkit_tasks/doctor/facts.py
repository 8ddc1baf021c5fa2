"""What the checks judge. None (or an empty value where noted) = not asked or unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buildkit_tasks.core.model import Engine, Version


@dataclass(frozen=True)
class Builder:
    """The buildx builder in use. `status` is running, inactive, missing, or an error message.

    `wanted`: the project's settings name it.
    """

    name: str
    driver: str
    status: str
    platforms: tuple[str, ...] = ()
    wanted: bool = False


@dataclass(frozen=True)
class PortUse:
    """A published port that another program holds. `variable` changes it, if known."""

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
    """Everything gathered. Sizes in bytes, times in seconds."""

    # the docker command
    clis: tuple[str, ...] = ()  #: docker programs on PATH that differ, first one wins
    clis_differ: str = ""  #: how the second one differs; empty if in nothing that matters
    client: Version | None = None
    podman_cli: bool = False  #: the docker command is podman's
    podman: bool = False  #: a podman command is on PATH
    podman_engine: bool = False  #: the engine behind the socket is podman's
    compose_v1: str = ""  #: path of a docker-compose of the first generation
    client_config: Mapping[str, Any] = field(default_factory=dict)
    # the engine
    engine: Engine | None = None  #: with version () if none answers; None without a docker command
    silent: tuple[str, str] | None = None  #: why no engine answers, and how to fix it
    daemon_config: Mapping[str, Any] | None = None
    rootless: bool = False
    memory: int | None = None
    skew: float | None = None  #: engine's clock minus ours
    skew_error: float = 0.0  #: how wrong `skew` may be
    context: str = "default"
    context_host: str = ""
    context_dead: bool = False  #: the context's socket does not exist, but the default one answers
    builder: Builder | None = None
    cache_size: int | None = None
    # the machine
    env: Mapping[str, str] = field(default_factory=dict)
    disk_path: str = ""
    disk_free: int | None = None
    min_disk: int = 5_000_000_000
    cache_budget: int = 0
    binfmt: Mapping[str, str] = field(default_factory=dict)  #: emulator registration to its text
    inotify: Mapping[str, int] = field(default_factory=dict)
    kernel: str = ""
    root: str = ""
    unprivileged_port: int = 1024
    rc_broken: str = ""  #: a start-up file with our line, but without its env file
    rc_off: tuple[str, ...] = ()  #: `file:line` that switches BuildKit off after or without our line
    rc_set: bool = False
    completion: str = ""  #: missing, current, stale; empty = not asked
    # network
    registry: str = ""
    registry_state: str = ""  #: open, closed, untrusted (TLS), unasked; empty = nothing has to be pulled
    registry_words: str = ""
    registry_lost: tuple[str, ...] = ()  #: base images that are not here and that no packages make
    ca_bundle: str = ""
    ca_state: str = ""  #: ok, missing, broken, expired; empty = none is set
    # the project
    compose_read: bool = True  #: False if compose or .env, not the file, is the reason it could not be read
    compose_error: tuple[str, str] | None = None  #: message and fix; None = valid
    ports_taken: tuple[PortUse, ...] = ()
    ports_elsewhere: bool = False  #: the engine publishes ports on another machine than this one
    dockerfiles_missing: tuple[str, ...] = ()  #: messages, one per service
    published: tuple[int, ...] = ()
    dotenv: bool | None = None  #: None = the project has no .env.example
    dotenv_example: bool = True  #: there is a .env.example
    dotenv_error: str = ""
    dotenv_hint: str = ""  #: the fix for `dotenv_error`
    dotenv_wanted: tuple[str, str] | None = None  #: a variable that compose requires and nothing sets: message and fix
    dotenv_missing: tuple[str, ...] = ()
    dotenv_mode: int | None = None
    dotenv_placeholders: tuple[str, ...] = ()
    dotenv_tracked: bool = False
    missing_sources: tuple[str, ...] = ()
    locks_ignored: tuple[str, ...] = ()
    locks_missing: tuple[str, ...] = ()
    locks_seen: bool = True  #: there is a manifest whose lock file could be looked for
    health_tools: tuple[Health, ...] = ()
    health_unsure: tuple[Health, ...] = ()  #: programs of which the Dockerfile does not show whether they are there
    platforms: tuple[str, ...] = ()  #: platforms the project builds for, if it names them

    @property
    def compose_unseen(self) -> str:
        """Why nothing is known of what the compose file says; empty where it is."""
        if self.compose_error:
            return "the compose file is not valid"
        return "" if self.compose_read else "compose could not read the compose file yet"
