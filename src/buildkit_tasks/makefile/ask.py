"""Ask make or just for the target names, but only if that would not run any commands."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

from .model import Source

#: Timeout in seconds for make or just.
_PATIENCE = 10.0
#: A nonexistent goal: make reads all files but builds nothing.
_NO_GOAL = ".buildkit-tasks-no-goal"


def unsafe(sources: Sequence[Source]) -> str:
    """Return why make must not read these files, because it would run commands; empty if it would not."""
    for source in sources:
        if source.runs:
            return (
                f"{source.path}:{source.runs[0]} runs a command while make reads the file ($(shell …), != or $(eval …))"
            )
        for include in source.includes:
            if not include.path:
                return (
                    f"{source.path}:{include.line} includes files whose names cannot be determined without running make"
                )
    files = {source.path for source in sources} | {i.path for source in sources for i in source.includes}
    for source in sources:
        if source.makes_rules:
            return f"{source.path} generates rules while make reads it"
        for rule in source.rules:
            for name in rule.names:
                old_style = re.fullmatch(r"\.\w+(\.\w+)?", name)  # a suffix rule, or .DEFAULT
                if old_style or any(fnmatch.fnmatchcase(f, name.replace("%", "*")) for f in files):
                    return (
                        f"{source.path}:{rule.first + 1} may remake a Makefile, which is the first thing that make does"
                    )
    return ""


def make(world: World, folder: Path, path: str) -> frozenset[str] | None:
    """Return the targets that make finds in a file that is safe to read; None if make is not installed."""
    quiet = ("MAKEFLAGS", "MAKEFILES", "GNUMAKEFLAGS", "MAKELEVEL")
    command = Command(
        ("make", "-pRrq", "--no-print-directory", "-f", path, _NO_GOAL),
        folder,
        env=tuple((name, "") for name in (*quiet, "LC_ALL")),
    )
    try:
        result = run.capture(world, command, timeout=_PATIENCE)
    except Problem:
        return None
    return targets(result.stdout) if "# Files" in result.stdout else None


def targets(database: str) -> frozenset[str]:
    """Return the targets with a rule in the output of `make -p`."""
    found, before = set(), ""
    inside = False
    for line in database.split("\n"):
        if line.startswith(("# Files", "# Implicit Rules")):
            inside = line.startswith("# Files")
        elif inside and before != "# Not a target:" and (name := re.match(r"([^#\t].*?)::?(?:\s|$)", line)):
            found.add(name[1])  # make prints names without their backslashes
        before = line
    return frozenset(n for n in found if not re.fullmatch(r"\.[A-Z_]+|\.buildkit-tasks.*", n))


def just(world: World, folder: Path, path: str) -> frozenset[str] | None:
    """Return the recipes that just finds; None if just is not installed or rejects the file. Evaluates nothing."""
    command = Command(("just", "--justfile", path, "--dump", "--dump-format", "json"), folder)
    try:
        result = run.capture(world, command, timeout=_PATIENCE)
        recipes = shapes.loads(result.stdout, dict)["recipes"] if result.code == 0 else None
    except (Problem, ValueError, KeyError, TypeError):
        return None
    return frozenset(map(str, recipes)) if isinstance(recipes, dict) else None
