"""Selects the cache records for a command: those of a project, unused ones, or those that match a filter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from buildkit_tasks.core.units import days
from buildkit_tasks.dockerfiles.mount_ids import KINDS
from buildkit_tasks.engine.cache_records import LAYERS, Mount, Record, mounts


def flags(mount: Mount, scope: str, declared: Callable[[str], bool], unseen: float) -> tuple[str, ...]:
    """Return the flags of a mount: orphan, duplicate, other project, namespace, in use, not used for `unseen` seconds.

    An orphan has this project's name, but no Dockerfile of the project declares it any longer.
    """
    found = []
    if mount.in_use:
        found.append("in use")
    if not mount.measured:
        found.append("size unknown")
    if mount.project and mount.project != scope:
        found.append("other project")
    elif mount.project == scope and not declared(mount.id):
        found.append("orphan")
    if len(mount.records) > 1:
        found.append("duplicate")
    if mount.namespace:
        found.append(f"namespace {mount.namespace}")
    if mount.idle >= unseen:
        found.append(f"not used for {days(mount.idle)}")
    return tuple(found)


def belonging(records: Iterable[Record], scope: str) -> tuple[Record, ...]:
    """Return the records that provably belong to this project.

    A mount is identified by its id. A layer is identified by a path that contains the scope (the Dockerfile's
    `/out/SCOPE/…`), or by a parent layer whose path does. Any other layer may belong to another project.
    """
    everything = list(records)
    # Compare the whole scope, not a prefix: `shop-admin-target-amd64` belongs to the project shop-admin.
    mount = re.compile(rf"{re.escape(scope)}-(?:cargo-registry|cargo-git|target-[a-z0-9_.]+)")
    path = re.compile(rf"/(?:build|out)/{re.escape(scope)}(?![\w.-])")
    children: dict[str, list[str]] = {}
    for record in everything:
        for parent in record.parents:
            children.setdefault(parent, []).append(record.id)
    todo = [r.id for r in everything if (mount.fullmatch(r.mount_id) if r.is_mount else path.search(r.description))]
    ours: set[str] = set()
    while todo:
        identity = todo.pop()
        if identity not in ours:
            ours.add(identity)
            todo += children.get(identity, ())
    return tuple(r for r in everything if r.id in ours)


def prunable(records: Sequence[Record], *, older: float, keep: int) -> tuple[Record, ...]:
    """Return the records to delete: those idle for `older` seconds, and the least recently used beyond `keep` bytes.

    Never includes a record in use. Mounts come last, because recreating them takes minutes, and a layer only seconds.
    Records that BuildKit calls shared come just before: the image keeps its copy, and only the cached step is lost.
    """
    free = [r for r in records if r.reclaimable]
    going = {r.id for r in free if r.idle >= older}
    if keep:
        left = sum(r.size for r in records if r.id not in going)
        for record in sorted(free, key=lambda r: (r.is_mount, r.shared, -r.idle)):
            if left <= keep:
                break
            if record.id not in going:
                going.add(record.id)
                left -= record.size
    return tuple(r for r in records if r.id in going)


@dataclass(frozen=True)
class Selection:
    """What `cache.clear` should clear; empty values select nothing.

    `wanted`: mount ids, kinds or "layers". `ids`: restrict to the ids that a service uses, with `*` for values known
    only at build time. `project`: the scope of the project. `older`: seconds without use. `everything`: every record
    of every project.
    """

    wanted: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None
    platform: str = ""
    project: str = ""
    older: float = 0
    everything: bool = False


@dataclass(frozen=True)
class Chosen:
    """The current result of a selection: the records to delete, and those kept because a running build uses them."""

    records: tuple[Record, ...] = ()
    held: tuple[Record, ...] = ()
    unknown: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """The number of bytes that the deletion frees."""
        return sum(r.size for r in self.records)


def choose(records: Sequence[Record], selection: Selection) -> Chosen:
    """Apply a selection. A mount id matches exactly, in any project; kinds and all other words match only in the given
    project. Never selects a record in use or a layer that an image shares.
    """
    if selection.everything:
        taken = [r for r in records if r.idle >= selection.older]
        return Chosen(tuple(r for r in taken if r.reclaimable), tuple(r for r in taken if not r.reclaimable))
    found = mounts(records)
    known = {m.id for m in found} | {m.name for m in found}
    exact = {w for w in selection.wanted if w in known}
    kinds = {w for w in selection.wanted if w not in known}
    picked: list[Record] = []
    for mount in found:
        if {mount.id, mount.name} & exact:
            picked += mount.records
            continue
        if mount.project != selection.project or (selection.wanted and mount.kind not in kinds):
            continue
        if selection.ids is not None and not any(fnmatchcase(mount.id, i) for i in selection.ids):
            continue
        if selection.platform and mount.platform != selection.platform:
            continue
        picked += mount.records
    if LAYERS in kinds:
        picked += [r for r in belonging(records, selection.project) if not r.is_mount]
    picked = [r for r in picked if r.idle >= selection.older]
    return Chosen(
        tuple(r for r in picked if r.reclaimable),
        tuple(r for r in picked if not r.reclaimable),
        tuple(sorted(kinds - set(KINDS) - {LAYERS})),
    )
