"""Immutable values passed between packages, from settings to results. No I/O, and no knowledge of docker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Version = tuple[int, ...]


@dataclass(frozen=True)
class Command:
    """One process to start: argv, an absolute working directory, and additions to the environment.

    `secrets`: values that must never be shown; `stdin`: passed to the process. `patience`: the timeout of a query, in
    seconds; 0 for commands that do work and have no time limit. `litters`: it leaves files in TMPDIR; buildx 0.13 does
    so for every Dockerfile that is not a file.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: tuple[tuple[str, str], ...] = ()
    stdin: str | None = None
    secrets: tuple[str, ...] = ()
    patience: float = 0
    litters: bool = False


@dataclass(frozen=True)
class Result:
    """The result of a finished command: exit code, both streams as text, wall seconds."""

    command: Command
    code: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Service:
    """A service that the compose file builds. `binary`: its program in the workspace.

    `context` and `dockerfile` are absolute. A `remote` context (a URL) has no local path, and `dockerfile` is a path
    inside it. `inline`: the Dockerfile's text if it is part of the compose file. `build`: the whole resolved section.
    `key`: the service's name as a bake target. `platforms`: as set in the compose file.
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
    """The discovered contents of the compose file.

    `images`: the images of services that are not built; `config`: the whole resolved compose model. `inactive`: if no
    active service is built, the services that inactive profiles would build, with their profiles.
    """

    root: Path
    project: str
    scope: str
    compose_files: tuple[Path, ...]
    services: tuple[Service, ...]
    images: Mapping[str, str]
    ports: tuple[Port, ...]
    config: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    inactive: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the built services, in compose order."""
        return tuple(s.name for s in self.services)


@dataclass(frozen=True)
class Engine:
    """Facts about the current engine, from a single round trip. Versions are tuples of ints, `()` if absent.

    `host_name`: the host name of the engine's machine. `rootless`: root in its containers is the user who runs the
    engine.
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
    """The user's request. Defaults: all `services`, the engine's platform, and an automatic choice of `incremental`.

    `push`: the registry and path to push to; `oci`: a directory for OCI archives; otherwise the images stay in the
    engine. `by_digest`: push without a tag, for a manifest list that is created later.
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
    """All decisions made before anything runs. `definition` is the bake file; `reasons` explain each choice.

    `routes`: for each requested platform, how its images are built, as text. `builder`: the builder that the plan is
    for, empty for the engine's own. `groups`: the services of each compile group; `profile` is empty if there are no
    groups. `notes`: the parts of the compose file that have no effect, and why.
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
        """The services with programs that are compiled here. The others are built from their own Dockerfiles."""
        return tuple(service for group in self.groups for service in group)


@dataclass(frozen=True)
class Step:
    """A build step as reported by BuildKit; `seconds` is None if it did not run."""

    name: str
    cached: bool
    seconds: float | None


@dataclass(frozen=True)
class TargetResult:
    """One image of a build. `config` is the digest of its configuration, if the builder reports one.

    `size`, `size_before`: bytes of this image and of the image that previously had its name; 0 if unknown.
    """

    service: str
    image: str
    digest: str
    changed: bool
    config: str = ""
    size: int = 0
    size_before: int = 0


@dataclass(frozen=True)
class BuildOutcome:
    """A finished build. `fresh` is None if the compile step was cached (cargo did not run).

    `up_to_date`: nothing was built because nothing changed since the last build. `recorded`: the build's numbers in the
    history, one per builder.
    """

    seconds: float
    incremental: bool
    compiled: tuple[str, ...]
    fresh: int | None
    targets: tuple[TargetResult, ...]
    steps: tuple[Step, ...]
    marked: tuple[str, ...] = ()
    up_to_date: bool = False
    recorded: tuple[int, ...] = ()


@dataclass(frozen=True)
class Past:
    """The duration and the crates of an earlier build of the same kind.

    `empty`: the target mount had no objects before. If it had, `crates` lists those that cargo compiled, in order.
    """

    seconds: float
    crates: tuple[str, ...]
    empty: bool
