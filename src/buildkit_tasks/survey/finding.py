"""What `init` understood of a repository: frozen values, no reading, no writing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .cargo import CargoWorkspace
from .debian import Packages
from .reach import Reach
from .recipe import Recipe


@dataclass(frozen=True)
class Note:
    """Something a person should know: `where` it stands (FILE:LINE, or a service). `open`: to be looked at."""

    where: str
    text: str
    open: bool = False


@dataclass(frozen=True)
class Program:
    """A program of the workspace that a service's image holds, at its path there (empty: ours to choose)."""

    name: str
    path: str = ""


@dataclass(frozen=True)
class Service:
    """A compose service whose program comes out of a workspace of the repository.

    `target`: what cargo compiles for where that was named; `gnu`: a program without shared libraries. `profiles`: of
    compose, it is not started without one of them. `added`: the compose file does not have it yet.

    `context` is what it was built in, relative to the root. `adopted`: it builds with our Dockerfile already.
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


@dataclass(frozen=True)
class LeftAlone:
    """A service that is built as it was, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Workspace:
    """A cargo workspace that services are built from."""

    cargo: CargoWorkspace
    reach: Reach
    packages: Packages


@dataclass(frozen=True)
class Finding:
    """Everything. `compose`: the compose files in force, relative to the root, none where there are none; `listed`:
    they are more than what compose finds by itself in the root; `existing`: texts of the files that we may add to.
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
        """The workspace of a directory."""
        return next(w for w in self.workspaces if w.cargo.directory == directory)
