"""The frozen values that flow from settings to report. Small and dumb: no reading, no writing, no docker words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Version = tuple[int, ...]


@dataclass(frozen=True)
class Command:
    """One process to start: argv from end to end, an absolute working directory, and additions to the environment.

    `secrets` are values that must never be shown; `stdin` is fed to the process.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: tuple[tuple[str, str], ...] = ()
    stdin: str | None = None
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a finished command left: exit code, both streams as text, wall seconds."""

    command: Command
    code: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Service:
    """A service that the compose file builds. `binary` is its program in the workspace.

    `context` and `dockerfile` are absolute, but for a `remote` context (a URL): then there is no context here and
    `dockerfile` is a name over there. `inline` is the Dockerfile's text where it stands in the compose file. `build` is
    the whole resolved section, `key` the service's name as a bake target. `platforms` are those the compose file names.
    """

    name: str
    image: str
    context: Path
    dockerfile: Path
    binary: str
    args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    contexts: Mapping[str, str] = field(default_factory=dict)
    inline: str = ""
    remote: str = ""
    key: str = ""
    platforms: tuple[str, ...] = ()
    build: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Port:
    """A host port that a service publishes; `protocol` is tcp or udp."""

    service: str
    host: str
    published: int
    target: int
    protocol: str = "tcp"


@dataclass(frozen=True)
class Workspace:
    """What the compose file says, discovered; never a list in our code.

    `images` are the images of services that are not built; `config` the whole resolved compose model.
    """

    root: Path
    project: str
    scope: str
    compose_files: tuple[Path, ...]
    services: tuple[Service, ...]
    images: Mapping[str, str]
    ports: tuple[Port, ...]
    config: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the built services, in compose order."""
        return tuple(s.name for s in self.services)


@dataclass(frozen=True)
class Engine:
    """Facts of the engine in use, from one round trip. Versions are tuples of ints, `()` where absent.

    `host_name`: what the engine's machine calls itself. `rootless`: root in its containers is the user who runs it.
    """

    id: str
    version: Version
    buildx: Version
    compose: Version
    os: str
    arch: str
    containerd_store: bool
    context: str = "default"
    root_dir: str = ""
    host_name: str = ""
    rootless: bool = False


@dataclass(frozen=True)
class BuildRequest:
    """What the user asked for. Empty `services` = all; `incremental` None = decide; no `platforms` = the engine's own.

    `push`: registry and path that the images go to, `oci`: a directory for OCI archives; else they stay in the engine.
    `by_digest`: push without a name, as a part of a manifest list that is made afterwards.
    """

    services: tuple[str, ...] = ()
    profile: str = ""
    incremental: bool | None = None
    no_cache: bool = False
    progress: str = "auto"
    platforms: tuple[str, ...] = ()
    allow_emulation: bool = False
    push: str = ""
    oci: str = ""
    by_digest: bool = False


@dataclass(frozen=True)
class BuildPlan:
    """Everything decided before anything runs. `definition` is the bake file; `reasons` the why of each choice.

    `routes`: per platform asked for how its images are made, in words. `builder`: name of the builder it was made for,
    empty for the engine's own. `groups`: the services of each compile group; `profile`
    is empty without any. `notes`: what of the compose file has no effect, and why.
    """

    workspace: Workspace
    services: tuple[Service, ...]
    profile: str
    incremental: bool
    definition: Mapping[str, Any] = field(compare=False)
    reasons: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    routes: Mapping[str, str] = field(default_factory=dict)
    builder: str = ""
    groups: tuple[tuple[Service, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def compiled(self) -> tuple[Service, ...]:
        """The services whose programs are compiled here; the others are built as their Dockerfiles say."""
        return tuple(service for group in self.groups for service in group)


@dataclass(frozen=True)
class Step:
    """A build step as BuildKit reported it; `seconds` is None where it never ran."""

    name: str
    cached: bool
    seconds: float | None


@dataclass(frozen=True)
class TargetResult:
    """One image of a build. `config` is the digest of its configuration, where the builder reports one."""

    service: str
    image: str
    digest: str
    changed: bool
    config: str = ""


@dataclass(frozen=True)
class BuildOutcome:
    """A finished build. `fresh` is None where the compile step itself came from the cache (cargo did not run).

    `up_to_date`: nothing was built, because nothing changed since the last build.
    """

    seconds: float
    incremental: bool
    compiled: tuple[str, ...]
    fresh: int | None
    targets: tuple[TargetResult, ...]
    steps: tuple[Step, ...]
    marked: tuple[str, ...] = ()
    up_to_date: bool = False
