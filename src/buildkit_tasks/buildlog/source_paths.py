"""Finds the project's source files in the output of rustc and cargo, whose paths are relative to the workspace."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from buildkit_tasks.core.model import BuildPlan

from . import remarks

#: `--> PATH:LINE:COLUMN` and, for other places in the same message, `::: PATH:LINE:COLUMN`; may contain colors.
_POINTER = re.compile(r"(?m)^([^\n]{0,80}?(?:-->|:::) ?(?:\x1b\[[\d;]*m| )*)([^\x1b\n:]+)(?=:\d+:\d+)")


def placer(plan: BuildPlan) -> Callable[[str], str]:
    """Return a function that converts a printed path to one in the project, or to "" if the file is not part of it."""
    root = plan.workspace.root
    return remarks.placer(list(_bases(plan)), lambda path: (root / path).is_file())


def from_here(text: str, plan: BuildPlan, cwd: Path) -> str:
    """Make the project's paths in rustc's messages relative to `cwd`, so editors and terminals can open them.

    Everything else is left unchanged.
    """
    place, root = placer(plan), plan.workspace.root

    def moved(found: re.Match[str]) -> str:
        path = place(found[2])
        return found[1] + (os.path.relpath(root / path, cwd) if path else found[2])

    return _POINTER.sub(moved, text)


def _bases(plan: BuildPlan) -> Iterator[str]:
    """Yield the directories that rustc's paths can be relative to: each workspace and its context."""
    for service in plan.services:
        if service.remote:
            continue
        context = Path(os.path.relpath(service.context, plan.workspace.root))
        for folder in (context / service.args.get("SOURCE", "."), context):
            yield folder.as_posix()
