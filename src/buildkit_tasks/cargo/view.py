"""The part of the build context that a cargo container sees, as mounts.

The container sees what an image build sees, plus everything in the packages' directories: a `.dockerignore` that keeps
tests, benches or fixtures out of images must not hide them from `cargo test`. Files that git also ignores stay hidden.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import readfile
from buildkit_tasks.dockercli.docker_run import Mount
from buildkit_tasks.dockerfiles.ignore import Ignore

_PACKAGE = re.compile(rb"^\s*\[\s*package\s*\]", re.MULTILINE)

#: Maximum size of a manifest in bytes.
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Shown:
    """A directory to mount, and the paths below it to hide, each with whether it is a directory."""

    path: str
    hidden: tuple[tuple[str, bool], ...] = ()


@dataclass
class _Folder:
    path: str
    kept: list[_Folder | str]
    hidden: list[tuple[str, bool]]
    links: bool = False

    @property
    def whole(self) -> bool:
        return not self.hidden and all(isinstance(k, str) or k.whole for k in self.kept)


def shown(
    context: Path, ignore: Ignore, source: str, ignored_by_git: Collection[str] | None
) -> tuple[Shown | str, ...]:
    """Return the directories and single files to mount, as paths below the context. An empty path is the whole context.

    `ignored_by_git`: the topmost paths that git ignores; None if the tree is not in a git repository. `source`: the
    workspace's directory; the sync never reads its `target`. Reads the tree, but runs nothing.
    """
    top = _read(context, "", ignore, source, ignored_by_git, (), False)
    return tuple(_mounts(top))


def _read(
    context: Path,
    path: str,
    ignore: Ignore,
    source: str,
    by_git: Collection[str] | None,
    matched: Sequence[bool],
    in_package: bool,
) -> _Folder:
    folder = _Folder(path, [], [])
    try:
        with os.scandir(context / path) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return folder
    in_package = in_package or any(e.name == "Cargo.toml" and _is_package(Path(e.path)) for e in entries)
    for entry in entries:
        name = posixpath.join(path, entry.name)
        directory = entry.is_dir(follow_symlinks=False)
        if name == posixpath.join(source, "target"):
            continue  # the sync skips it, so it does not matter whether it is hidden
        kept_out, more = ignore.matches(name, matched)
        folder.links |= entry.is_symlink()
        regular = directory or entry.is_symlink() or entry.is_file(follow_symlinks=False)
        if not regular or (kept_out and in_package and _git_ignores(name, entry.name, by_git)):
            folder.hidden.append((name, directory))
        elif directory and kept_out and not in_package and ignore.skips(name):
            folder.hidden.append((name, True))
        elif directory:
            inner = _read(context, name, ignore, source, by_git, more, in_package)
            if kept_out and not in_package and not inner.kept:
                folder.hidden.append((name, True))
            else:
                folder.kept.append(inner)
        elif kept_out and not in_package:
            folder.hidden.append((name, False))
        else:
            folder.kept.append(name)
    return folder


def _is_package(manifest: Path) -> bool:
    try:
        if manifest.stat().st_size > _LARGEST:
            return False
        return _PACKAGE.search(readfile.content(manifest)) is not None
    except OSError:
        return False


def _git_ignores(path: str, name: str, by_git: Collection[str] | None) -> bool:
    if by_git is None:
        return name in ("target", "node_modules", ".git", ".venv", ".env")
    return path in by_git or name == ".git"


def _mounts(folder: _Folder) -> Iterator[Shown | str]:
    """Yield as few mounts as possible: either the folder with its hidden entries covered, or each visible entry."""
    if folder.whole:
        yield Shown(folder.path)
    elif folder.links or len(folder.hidden) <= len(folder.kept):  # a mount would follow a link
        yield Shown(folder.path, tuple(_hidden(folder)))
    else:
        for kept in folder.kept:
            if isinstance(kept, str):
                yield kept
            else:
                yield from _mounts(kept)


def _hidden(folder: _Folder) -> Iterator[tuple[str, bool]]:
    yield from folder.hidden
    for kept in folder.kept:
        if isinstance(kept, _Folder):
            yield from _hidden(kept)


def mounts(context: Path, found: tuple[Shown | str, ...], nothing: Path) -> tuple[Mount, ...]:
    """Return the read-only mounts at /context. `nothing` contains an empty `directory` and `file` as covers."""
    made = []
    for one in found:
        path = one if isinstance(one, str) else one.path
        made.append(Mount(str(context / path), posixpath.join("/context", path).rstrip("/"), readonly=True))
        for name, directory in () if isinstance(one, str) else one.hidden:
            cover = nothing / ("directory" if directory else "file")
            made.append(Mount(str(cover), f"/context/{name}", readonly=True))
    return tuple(made)
