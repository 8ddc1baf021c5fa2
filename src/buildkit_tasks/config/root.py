"""Finds the project: its root directory, its pyproject.toml section and its state directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomli

from buildkit_tasks.core import readfile, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World

#: Variables that select the compose files.
_NAMES_FILES = ("COMPOSE_FILE", "BUILDKIT_TASKS_PROJECT_COMPOSE_FILE", "BUILDKIT_TASKS_COMPOSE_FILE")


def find_root(world: World) -> Path:
    """Return the nearest directory, searching upwards, with a compose file or a [tool.buildkit-tasks] section.

    Raises `Problem` no-project if there is none.
    """
    for folder in (world.cwd, *world.cwd.parents):
        if compose_files(folder) or "buildkit-tasks" in pyproject(folder) or _names_files(folder / ".env"):
            return folder
    if any(world.env.get(name) for name in _NAMES_FILES):
        return world.cwd  # compose resolves the named files from here
    raise Problem(
        "no-project",
        f"No compose file found in {world.cwd} or any parent directory.",
        causes=["buildkit-tasks needs a compose.yaml or docker-compose.yaml"],
        hint="cd to the repository, or create a compose.yaml",
    )


def _names_files(dotenv: Path) -> bool:
    """Return whether a .env may select the compose files. compose reads it; here, it only marks a project."""
    try:
        if not dotenv.is_file():
            return False
        with dotenv.open("rb") as file:
            return b"COMPOSE_FILE" in file.read(1_000_000)
    except OSError:
        return False


def compose_files(folder: Path) -> tuple[Path, ...]:
    """Return the compose file that compose itself would pick in this directory, and its override file, if any."""
    names = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
    found = [folder / name for name in names if (folder / name).is_file()][:1]
    stems = ("compose.override", "docker-compose.override")
    over = [folder / f"{stem}.{end}" for stem in stems for end in ("yml", "yaml")]
    return (*found, *[path for path in over if path.is_file()][:1]) if found else ()


def pyproject(folder: Path) -> dict[str, Any]:
    """Return the `tool` table of a directory's pyproject.toml, or `{}`. Raises `Problem` settings-invalid."""
    path = folder / "pyproject.toml"
    try:
        found = shapes.guarded(tomli.loads, readfile.text(path))
        shapes.check(found, {"tool": {"buildkit-tasks": {"bench": dict}}})
        return dict(found.get("tool", {}))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # also UnicodeDecodeError and TOMLDecodeError
        raise Problem("settings-invalid", f"Cannot parse {path}: {error}.", hint="fix the file") from error


def bench_table(root: Path) -> dict[str, Any]:
    """Return the table `[tool.buildkit-tasks.bench]`, which defines a benchmark's edits; `{}` if there is none."""
    return dict(pyproject(root).get("buildkit-tasks", {}).get("bench", {}))


def state_dir(world: World, root: Path) -> Path:
    """Return this checkout's state directory. It is outside the tree, because the whole tree may be a build context."""
    from hashlib import sha256

    return world.state_home / f"{root.name[:60]}-{sha256(os.fsencode(root)).hexdigest()[:10]}"
