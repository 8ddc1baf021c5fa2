"""A repository as a list of paths and a bounded reader of texts: `init` reads files only through this module."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.core.errors import Problem

#: Directories with the output of builds and tools, which are never sources.
SKIPPED = frozenset({".git", ".hg", ".jj", "target", "node_modules", ".venv", "venv", "__pycache__", ".nox", ".tox"})
#: Maximum number of files; a larger tree is not a source repository.
MOST_FILES = 200_000
#: Maximum number of bytes read from a file.
MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Tree:
    """Files of a directory as sorted POSIX paths; lists links without following them."""

    root: Path
    files: tuple[str, ...]
    _set: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    _dirs: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    overlay: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def has(self, path: str) -> bool:
        """Return True for a file."""
        return path in self._set

    def is_dir(self, path: str) -> bool:
        """Return True for the root and for a directory that contains a file."""
        return path in ("", ".") or path in self._dirs

    def is_dir_in(self, directory: str, path: str) -> bool:
        """Like `is_dir`, for a path relative to a directory."""
        return self.is_dir(posixpath.normpath(posixpath.join(directory, path)))

    def exists(self, path: str) -> bool:
        """Return True for a file or directory."""
        return self.has(path) or self.is_dir(path)

    def below(self, directory: str) -> Iterator[str]:
        """Return files at any depth below a directory."""
        prefix = "" if directory in ("", ".") else f"{directory}/"
        return (path for path in self.files if path.startswith(prefix))

    def named(self, name: str) -> Iterator[str]:
        """Return files of this name, anywhere."""
        return (path for path in self.files if posixpath.basename(path) == name)

    def text(self, path: str) -> str:
        """Return a file's text, at most `MOST_BYTES` of it; empty if it cannot be read or is not in the tree."""
        if path in self.overlay:
            return self.overlay[path]
        if path not in self._set:
            return ""
        place = self.root / path
        try:
            if not place.is_file():  # a pipe or device would block, a link may be broken
                return ""
            with place.open("rb") as file:
                return file.read(MOST_BYTES).decode("utf-8", errors="replace").removeprefix("\ufeff")
        except OSError:
            return ""


def make(root: Path, files: tuple[str, ...], overlay: Mapping[str, str] | None = None) -> Tree:
    """Return a tree of these paths; texts in `overlay` are added, or replace those on disk."""
    files = tuple(sorted({*files, *(overlay or {})}))
    directories: set[str] = set()
    for path in files:
        parent = posixpath.dirname(path)
        while parent and parent not in directories:
            directories.add(parent)
            parent = posixpath.dirname(parent)
    return Tree(root, files, frozenset(files), frozenset(directories), overlay or {})


def read(root: Path) -> Tree:
    """List a repository. Raises `Problem` tree-unreadable if it cannot be listed or is too large."""
    found: list[str] = []

    def refuse(error: OSError) -> None:
        if error.filename == str(root):
            raise Problem(
                "tree-unreadable", f"{root} cannot be listed: {error.strerror}.", hint=f"ls -ld {root}"
            ) from error

    for directory, names, files in os.walk(root, onerror=refuse):
        below = os.path.relpath(directory, root)
        names[:] = sorted(n for n in names if n not in SKIPPED)
        links = [n for n in names if (Path(directory) / n).is_symlink()]
        found += [posixpath.normpath(posixpath.join(below, name)) for name in (*files, *links)]
        if len(found) > MOST_FILES:
            raise Problem(
                "tree-unreadable",
                f"{root} contains more than {MOST_FILES} files.",
                hint="run `buildkit-tasks init` in the repository's root directory",
            )
    return make(root, tuple(sorted(found)))


def join(directory: str, path: str) -> str:
    """Return a normalized path below the root; a path outside it starts with `..`."""
    return posixpath.normpath(posixpath.join(directory or ".", path))
