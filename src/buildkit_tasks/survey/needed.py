"""Find the Debian packages that a workspace's services need for their crates and for cargo's linkers."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.workspaces import cargo_config, debian
from buildkit_tasks.workspaces.cargo import CargoWorkspace, Locked
from buildkit_tasks.workspaces.tree import Tree

from .finding import Service


def packages(files: Tree, workspace: CargoWorkspace, services: Sequence[Service]) -> debian.Packages:
    """Return the packages for the services that are built from a workspace."""
    return debian.needs(_crates(workspace, services), cargo_config.linkers(files, workspace.config))


def _crates(workspace: CargoWorkspace, services: Sequence[Service]) -> Sequence[Locked]:
    """Return the dependencies of the services' programs. Cargo compiles nothing else, such as desktop-only crates."""
    ours = [s for s in services if s.workspace == workspace.directory]
    names = {name for s in ours for name in (s.binary, *(p.name for p in s.programs))}
    if not names <= workspace.binaries.keys():
        return workspace.locked
    return debian.reached(workspace.locked, {workspace.binaries[name].name for name in names})
