"""Decides what to delete to shrink the caches to a given size. Pure: takes a cache and its contents.

Cheapest first: leftovers that no build of the current sources needs, then data that takes seconds to recreate, then
data that takes minutes. In detail: trees of other toolchains, other profiles, incremental objects, layers, whole target
mounts (least recently used first), git, and finally the registry, because all others depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from buildkit_tasks.caches import leftovers
from buildkit_tasks.caches.mount_listing import Content
from buildkit_tasks.core import units
from buildkit_tasks.engine import cache_records
from buildkit_tasks.engine.cache_records import Mount, Record

from . import cargo_tree
from .cargo_tree import Inside

_LAST = ("target", "cargo-git", "cargo-registry")


@dataclass(frozen=True)
class Item:
    """One deletion: where, why, and how many bytes; `paths` inside a mount, or whole `records`."""

    where: str
    why: str
    size: int
    paths: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What to delete, cheapest first, and why the rest is kept. All sizes in bytes."""

    before: int
    items: tuple[Item, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def freed(self) -> int:
        """Bytes to delete."""
        return sum(i.size for i in self.items)

    @property
    def after(self) -> int:
        """Bytes that will remain."""
        return self.before - self.freed

    def paths(self, mount: str) -> tuple[str, ...]:
        """Return paths to delete inside a mount; empty if the whole mount is deleted."""
        whole = {r.id for r in self.records}
        if any(i.where == mount and i.records and {r.id for r in i.records} <= whole for i in self.items):
            return ()
        return tuple(p for i in self.items if i.where == mount for p in i.paths)

    @property
    def records(self) -> tuple[Record, ...]:
        """Records to delete as a whole."""
        return tuple(r for i in self.items for r in i.records)


@dataclass
class _Budget:
    """Counts the bytes that remain as items are marked for deletion. Leftovers are marked regardless of the limit."""

    limit: int
    left: int
    items: list[Item] = field(default_factory=list)
    gone: dict[str, int] = field(default_factory=dict)

    def take(self, where: str, why: str, paths: Mapping[str, int]) -> None:
        """Mark paths inside a mount for deletion."""
        size = sum(paths.values())
        if paths:
            self.items.append(Item(where, why, size, tuple(paths)))
            self.left -= size
            self.gone[where] = self.gone.get(where, 0) + size

    def drop(self, where: str, why: str, records: Sequence[Record]) -> None:
        """Mark whole records for deletion. Paths inside them that are already marked are not counted twice."""
        size = max(0, sum(r.size for r in records) - self.gone.get(where, 0))
        self.items.append(Item(where, why, size, records=tuple(records)))
        self.left -= size

    @property
    def over(self) -> bool:
        """Whether more remains than the limit allows."""
        return self.left > self.limit


def decide(
    ours: Sequence[Record], contents: Mapping[str, Content], locks: Iterable[str], limit: int | None
) -> Decision:
    """Decide what to delete to keep at most `limit` bytes of the project's records; None: leftovers only.

    `contents`: the opened mounts by name. `locks`: the texts of the project's lock files; the lock files in the synced
    sources also count.
    """
    before = sum(r.size for r in ours)
    budget = _Budget(before if limit is None else limit, before)
    mounts = cache_records.mounts(ours)
    targets = {
        m.name: cargo_tree.take_apart(contents[m.name]) for m in mounts if m.kind == "target" and m.name in contents
    }
    notes = _leftovers(budget, targets)
    _downloads(budget, mounts, contents, locks)
    if limit is not None:
        for step in (_old_bases, _old_profiles, _incremental):
            step(budget, targets)
        _whole(budget, ours, mounts)
        notes += _staying(budget, ours, limit)
    return Decision(before, tuple(budget.items), tuple(notes))


def _leftovers(budget: _Budget, targets: Mapping[str, Inside]) -> list[str]:
    notes = []
    for name, inside in targets.items():
        for tree in inside.trees:
            budget.take(name, f"leftovers in {tree.path}", tree.stale)
            if tree.why_not:
                notes.append(f"{name}: cannot identify leftovers in {tree.path}: {tree.why_not}")
    return notes


def _downloads(budget: _Budget, mounts: Sequence[Mount], contents: Mapping[str, Content], locks: Iterable[str]) -> None:
    synced = [t for c in contents.values() for p, t in c.texts.items() if p.endswith("Cargo.lock")]
    crates, revisions = leftovers.wanted_crates([*locks, *synced])
    if not crates and not revisions:
        return  # without a lock file, we cannot know what is needed
    for mount in mounts:
        content = contents.get(mount.name)
        if content and mount.kind == "cargo-registry":
            unused = leftovers.registry_leftovers(content, crates)
            budget.take(mount.name, "crates not in any lock file", unused)
        elif content and mount.kind == "cargo-git":
            budget.take(mount.name, "checkouts not in any lock file", leftovers.git_leftovers(content, revisions))


def _old_bases(budget: _Budget, targets: Mapping[str, Inside]) -> None:
    """Mark the trees of all toolchains except the last one used."""
    found = [
        (used, name, base)
        for name, inside in targets.items()
        for base, used in sorted(inside.bases.items(), key=lambda b: b[1])[:-1]
    ]
    for _, name, base in sorted(found):
        if budget.over:
            sizes = {t.path: t.size for t in targets[name].trees if t.base == base}
            rest = _rest(budget, name, base, sum(sizes.values()))
            budget.take(name, "files from an older toolchain", {base: rest, f"{base}.used": 0})


def _old_profiles(budget: _Budget, targets: Mapping[str, Inside]) -> None:
    """Mark the profile directories of a tree, except the last one used."""
    for name, inside in targets.items():
        for base in {t.base for t in inside.trees}:
            trees = sorted((t for t in inside.trees if t.base == base), key=lambda t: t.used)
            for tree in trees[:-1]:
                if budget.over and not _going(budget, name, tree.path):
                    size = _rest(budget, name, tree.path, tree.size)
                    budget.take(name, f"files from an earlier profile: {tree.profile}", {tree.path: size})


def _incremental(budget: _Budget, targets: Mapping[str, Inside]) -> None:
    """Mark as many incremental objects as needed, largest first: each costs one slower compilation of its crate."""
    found = [(size, name, path) for name, i in targets.items() for t in i.trees for path, size in t.incremental.items()]
    for size, name, path in sorted(found, reverse=True):
        if budget.over and not _going(budget, name, path):
            budget.take(name, "incremental objects", {path: size})


def _whole(budget: _Budget, ours: Sequence[Record], mounts: Sequence[Mount]) -> None:
    """Mark whole records: layers (those shared with images last, since deleting them may free nothing), then mounts."""
    for record in sorted((r for r in ours if not r.is_mount and r.reclaimable), key=lambda r: (r.shared, -r.idle)):
        if budget.over and record.size:
            budget.drop(f"layer {record.id}", "a layer from this project", [record])
    for mount in sorted(mounts, key=lambda m: (_LAST.index(m.kind) if m.kind in _LAST else 0, -m.idle)):
        if budget.over and not mount.in_use:
            budget.drop(mount.name, "the whole mount", mount.records)


def _staying(budget: _Budget, ours: Sequence[Record], limit: int) -> list[str]:
    going = {r.id for i in budget.items for r in i.records}
    notes = []
    if budget.over:
        used = sum(r.size for r in ours if not r.reclaimable and r.id not in going)
        if used:
            notes.append(f"kept {units.human(used)} in use by a running build")
    elif budget.left < 0.95 * limit and going:
        notes.append("more will be deleted than needed, because a mount can be deleted only as a whole")
    return notes


def _going(budget: _Budget, name: str, path: str) -> bool:
    """Return whether a path or a directory above it is already marked."""
    return any(path == p or path.startswith(f"{p}/") for i in budget.items if i.where == name for p in i.paths)


def _rest(budget: _Budget, name: str, path: str, size: int) -> int:
    """Return the bytes of a tree without the leftovers that are already marked."""
    prefix = f"{path}/"
    gone = sum(i.size for i in budget.items if i.where == name and i.paths and i.paths[0].startswith(prefix))
    return max(0, size - gone)
