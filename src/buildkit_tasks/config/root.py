"""Where the project is: its directory, its pyproject section, its state directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


#: Variables that say which compose files there are.
_NAMES_FILES = ("COMPOSE_FILE", "BUILDKIT_TASKS_PROJECT_COMPOSE_FILE", "BUILDKIT_TASKS_COMPOSE_FILE")


def find_root(world: World) -> Path:
    """The nearest directory at or above the working directory that holds a compose file or a pyproject section of ours.

    Raises `Problem` no-project if there is none.
    """
    for folder in (world.cwd, *world.cwd.parents):
        if compose_files(folder) or "buildkit-tasks" in pyproject(folder) or _names_files(folder / ".env"):
            return folder
    if any(world.env.get(name) for name in _NAMES_FILES):
        return world.cwd  # where compose looks for the files that it names
    raise Problem(
        "no-project",
        f"No compose file at or above {world.cwd}.",
        causes=["buildkit-tasks works inside a repository with a docker-compose.yaml or compose.yaml"],
        hint="cd into the repository, or create a compose.yaml",
    )


def _names_files(dotenv: Path) -> bool:
    """Whether a .env may say where the compose files are; compose reads it, here it only makes a folder a project."""
    try:
        if not dotenv.is_file():
            return False
        with dotenv.open("rb") as file:
            return b"COMPOSE_FILE" in file.read(1_000_000)
    except OSError:
        return False


def compose_files(folder: Path) -> tuple[Path, ...]:
    """The compose file compose itself would pick in this folder, and its override where there is one."""
    names = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
    found = [folder / name for name in names if (folder / name).is_file()][:1]
    stems = ("compose.override", "docker-compose.override")
    over = [folder / f"{stem}.{end}" for stem in stems for end in ("yml", "yaml")]
    return (*found, *[path for path in over if path.is_file()][:1]) if found else ()


def pyproject(folder: Path) -> dict[str, Any]:
    """The `tool` table of a directory's pyproject.toml, `{}` without one. Raises `Problem` settings-invalid."""
    path = folder / "pyproject.toml"
    try:
        return dict(tomllib.loads(path.read_text("utf-8")).get("tool", {}))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Problem("settings-invalid", f"{path} cannot be read: {error}.", hint="correct the file") from error


def bench_table(root: Path) -> dict[str, Any]:
    """The table `[tool.buildkit-tasks.bench]`: what a benchmark edits. `{}` without one."""
    return dict(pyproject(root).get("buildkit-tasks", {}).get("bench", {}))


def state_dir(world: World, root: Path) -> Path:
    """This checkout's state directory: outside the tree, because a build context may be the whole tree."""
    from hashlib import sha256

    return world.state_home / f"{root.name}-{sha256(str(root).encode()).hexdigest()[:10]}"
