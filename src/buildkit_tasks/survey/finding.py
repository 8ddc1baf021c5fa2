"""The results of `init`'s analysis of a repository, as frozen values. Does no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from buildkit_tasks.existing.recipe import Recipe
from buildkit_tasks.workspaces.cargo import CargoWorkspace
from buildkit_tasks.workspaces.debian import Packages
from buildkit_tasks.workspaces.reach import Reach


@dataclass(frozen=True)
class Note:
    """Something the user should know. `where`: FILE:LINE or a service; `open`: needs attention."""

    where: str
    text: str
    open: bool = False


@dataclass(frozen=True)
class Program:
    """A workspace program in a service's image, with its path in the image (empty: we choose one)."""

    name: str
    path: str = ""


@dataclass(frozen=True)
class Service:
    """A compose service with a program built from a workspace of the repository.

    `target`: the cargo target, if specified; `gnu` means a program without shared libraries. `profiles`: compose
    profiles; one of them must be active to start it. `added`: not in the compose file yet; `idle`: added, not started.

    `context`: the original build context, relative to the root. `adopted`: our Dockerfile, if already in use. `runs`:
    what compose and the image's start scripts run, as shell scripts. `providers`: services whose Dockerfiles compile
    the program; `inherited`: their build arguments.
    """

    name: str
    workspace: str
    binary: str
    context: str = "."
    recipe: Recipe | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[Program, ...] = ()
    features: tuple[str, ...] = ()
    default_features: bool = True
    profile: str = "release"
    target: str = ""
    build: Mapping[str, object] = field(default_factory=dict, repr=False)
    adopted: str = ""
    profiles: tuple[str, ...] = ()
    added: bool = False
    idle: bool = False
    runs: tuple[str, ...] = field(default=(), repr=False)
    providers: tuple[str, ...] = ()
    inherited: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftAlone:
    """A service that is not adopted, and why. `unclear`: its Dockerfile compiles a program, but it is unclear which;
    `mixed`: it ships programs of several workspaces; `unfit`: it does more than compile programs."""

    name: str
    why: str
    unclear: bool = False
    mixed: bool = False
    unfit: bool = False


@dataclass(frozen=True)
class Workspace:
    """A cargo workspace that services are built from."""

    cargo: CargoWorkspace
    reach: Reach
    packages: Packages


@dataclass(frozen=True)
class Finding:
    """Everything that `init` found. `compose`: the effective compose files relative to the root, if any; `listed`: they
    include files that compose does not find by default; `existing`: contents of the files that we may add to.
    """

    project: str
    compose: tuple[str, ...]
    services: tuple[Service, ...]
    left: tuple[LeftAlone, ...]
    workspaces: tuple[Workspace, ...]
    notes: tuple[Note, ...] = ()
    listed: bool = False
    existing: Mapping[str, str] = field(default_factory=dict, repr=False)

    def workspace(self, directory: str) -> Workspace:
        """Return the workspace in a directory."""
        return next(w for w in self.workspaces if w.cargo.directory == directory)
