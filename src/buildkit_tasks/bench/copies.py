"""Scratch copies of the repository: which files they contain, and their size."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.core.errors import Problem

#: Never copied: histories, environments and build artifacts.
LEFT_OUT = (".git", ".venv", ".nox", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".env")
#: Files in or next to a directory `target` that cargo writes; any other directory of this name contains sources.
_TARGET = ("target/CACHEDIR.TAG", "Cargo.toml")


def ignored(folder: str, names: Sequence[str]) -> set[str]:
    """Return which names of a directory are not copied: also sockets, FIFOs and devices, which cannot be copied."""
    return {name for name in names if name in LEFT_OUT or _is_target(Path(folder), name) or _is_special(folder, name)}


def copy(source: Path, to: Path, *, whole: bool = False) -> None:
    """Copy a tree with new modification times, as in a clone. `whole`: without leaving anything out.

    Problems: bench-failed.
    """
    try:
        ignore = None if whole else ignored
        shutil.copytree(source, to, symlinks=True, ignore=ignore, copy_function=shutil.copy)
    except OSError as error:
        listed = error.args[0] if isinstance(error, shutil.Error) and isinstance(error.args[0], list) else []
        why = listed[0][2] if listed else error
        raise Problem(
            "bench-failed",
            f"Cannot copy the repository to {to}: {why}.",
            hint="fix the permissions of this file, or free some space; then run `invoke bench` again",
        ) from None


def size(root: Path) -> int:
    """Return the bytes of a copy."""
    total = 0
    for folder, directories, files in os.walk(root):
        left_out = ignored(folder, [*directories, *files])
        directories[:] = [name for name in directories if name not in left_out]
        total += sum(_size(Path(folder, name)) for name in files if name not in left_out)
    return total


def _is_target(folder: Path, name: str) -> bool:
    return name == "target" and any((folder / path).is_file() for path in _TARGET)


def _is_special(folder: str, name: str) -> bool:
    try:
        mode = Path(folder, name).lstat().st_mode
    except OSError:
        return False  # the copy reports it
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
