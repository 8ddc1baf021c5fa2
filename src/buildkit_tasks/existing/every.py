"""Recognize commands that copy every program that cargo built: `cp target/release/* /out`, `find … -exec cp`. Pure."""

from __future__ import annotations

import fnmatch
import posixpath
import re

from buildkit_tasks.workspaces.cargo import CargoWorkspace, Package

from . import cargo_command, shipped
from .recipe import Recipe, Stage

#: A directory with cargo's programs.
_OUTPUT = r"(?:^|[\s/\"'`(=])target/(?:[\w$-]+/)?(?:release|debug)"
_COMPUTED = re.compile(r"\$\([^()]*\)|`[^`]*`")


def destination(command: str) -> str:
    """Return the directory that a command copies all programs to; empty for any other command."""
    inner = " ".join(_COMPUTED.findall(command))
    if inner and re.search(rf"\b(?:find|ls)\b.*{_OUTPUT}", inner):
        files, end = shipped.copied_files(_COMPUTED.sub("computed", command))
        return end if files == ("computed",) else ""
    if re.match(rf"find\b.*{_OUTPUT}", command):
        found = re.search(r"-exec\s+(?:cp|mv|install)\s+(?:-\w+\s+)*['\"]?\{\}['\"]?\s+(\S+)\s+(?:\\?;|\+)", command)
        return found[1] if found else ""
    files, end = shipped.copied_files(command)
    return end if len(files) == 1 and re.search(rf"{_OUTPUT}/\*$", f" {files[0]}") else ""


def programs(taken: Recipe, stage: Stage, workspace: CargoWorkspace) -> tuple[str, ...]:
    """Return the programs that the cargo commands of a stage and its bases build."""
    stages = [s for s in shipped.compiled_in(taken, stage.name) if s.compiles] or [stage]
    items = [item for one in stages for item in one.items]
    commands = cargo_command.commands(items, taken.values)
    text = "\n".join(f"{item.rest}\n{item.body}" for item in items if item.keyword == "RUN")
    whole = re.search(r"\s--(?:workspace|all)\b", text) is not None
    return tuple(
        name
        for name, package in workspace.binaries.items()
        for command in commands
        if cargo_command.builds(command, name, package.name, package.directory)
        and (name in command.binaries or name not in package.conditional or command.all_features)
        and (whole or command.binaries or command.packages or command.paths or _is_default(workspace, package))
    )


def _is_default(workspace: CargoWorkspace, package: Package) -> bool:
    """Return whether cargo builds a crate if the command selects none: default members, else the crate at the root."""
    if workspace.defaults:
        inside = posixpath.relpath(package.directory, workspace.directory)
        return any(fnmatch.fnmatchcase(inside, posixpath.normpath(pattern)) for pattern in workspace.defaults)
    root = any(p.directory == workspace.directory for p in workspace.packages)
    return not root or package.directory == workspace.directory
