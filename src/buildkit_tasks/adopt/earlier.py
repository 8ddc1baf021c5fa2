"""Reconstruct the repository as it was before `init` from the record."""

from __future__ import annotations

from pathlib import Path

from buildkit_tasks.core.world import World
from buildkit_tasks.survey import model
from buildkit_tasks.workspaces import tree

from . import disk, record
from .record import Record


def read_record(root: Path) -> Record:
    """Return the record of a repository, empty if `init` has not changed it. Problems: adopt-conflict."""
    content = disk.read(root, record.PATH)
    return Record() if content is None else record.load(content.decode("utf-8", errors="replace"))


def before_init(world: World, root: Path, old: Record) -> tuple[tree.Tree, model.Model | None]:
    """Return the files without those that we added, and their compose model (None without a compose file).

    Problems: those of reading files and of running compose.
    """
    texts = {
        p: e.before.decode("utf-8", errors="surrogateescape") for p, e in old.files.items() if e.before is not None
    }
    added = {path for path, e in old.files.items() if e.before is None}
    now = tree.read(root)
    files = tree.make(root, tuple(p for p in now.files if p not in added), {**old.sources, **texts})
    if not old.compose:
        return files, None
    return files, model.resolve(world, files, old.compose, {p: files.text(p) for p in old.compose})
