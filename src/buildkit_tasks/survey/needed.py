"""The Debian packages that the programs of a workspace's services need: for their crates, and for cargo's linkers."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.workspaces import cargo_config, debian
from buildkit_tasks.workspaces.cargo import CargoWorkspace, Locked
from buildkit_tasks.workspaces.tree import Tree

from .finding import Service


def packages(files: Tree, space: CargoWorkspace, services: Sequence[Service]) -> debian.Packages:
    """The packages for the services that are built from a workspace."""
    return debian.needs(_crates(space, services), cargo_config.linkers(files, space.config))


def _crates(space: CargoWorkspace, services: Sequence[Service]) -> Sequence[Locked]:
    """What the programs of the services depend on: cargo compiles nothing else, such as a desktop application's."""
    ours = [s for s in services if s.workspace == space.directory]
    names = {name for s in ours for name in (s.binary, *(p.name for p in s.programs))}
    if not names <= space.binaries.keys():
        return space.locked
    return debian.reached(space.locked, {space.binaries[name].name for name in names})
