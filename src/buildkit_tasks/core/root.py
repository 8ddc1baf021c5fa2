"""Where the project is: its directory, its pyproject section, its state directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .errors import Problem
from .world import World

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def find_root(world: World) -> Path:
    """The nearest directory at or above the working directory that holds a compose file or a pyproject section of ours.

    Raises `Problem` no-project if there is none.
    """
    for folder in (world.cwd, *world.cwd.parents):
        if compose_files(folder) or "buildkit-tasks" in pyproject(folder):
            return folder
    raise Problem(
        "no-project",
        f"No compose file at or above {world.cwd}.",
        causes=["buildkit-tasks works inside a repository with a docker-compose.yaml or compose.yaml"],
        hint="cd into the repository, or create a compose.yaml",
    )


def compose_files(folder: Path) -> tuple[Path, ...]:
    """The compose file that compose would pick in this folder, and its override if there is one."""
    for base in ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"):
        if (folder / base).is_file():
            stem, suffix = base.rsplit(".", 1)
            over = [folder / f"{stem}.override.{end}" for end in dict.fromkeys((suffix, "yml", "yaml"))]
            return (folder / base, *[p for p in over if p.is_file()][:1])
    return ()


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
