"""Which cache records a command means: those of a project, unused ones, those that a filter names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from buildkit_tasks.core.units import days
from buildkit_tasks.dockerfiles.mount_ids import KINDS
from buildkit_tasks.engine.cache_records import LAYERS, Mount, Record, mounts


def flags(mount: Mount, scope: str, declared: Callable[[str], bool], unseen: float) -> tuple[str, ...]:
    """What to check about a mount: orphan, duplicate, other project, namespace, in use, not seen for `unseen` seconds.

    An orphan has this project's name, but no Dockerfile of the project declares it (any more).
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
        found.append(f"not seen for {days(mount.idle)}")
    return tuple(found)


def belonging(records: Iterable[Record], scope: str) -> tuple[Record, ...]:
    """The records that are provably this project's.

    A mount is ours by its id; a layer by a path that carries the scope (the Dockerfile's `/out/SCOPE/…`), or
    because it stands on such a layer. A layer without either may be another project's and is never claimed.
    """
    everything = list(records)
    # The whole id, not a prefix: `shop-admin-target-amd64` belongs to the project shop-admin.
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
    """Which of our records to delete: idle for `older` seconds, or the least recently used beyond `keep` bytes.

    Never a record in use. Mounts go last: they take minutes to make again, a layer seconds. What BuildKit calls shared
    goes before them but after the rest: the image keeps its copy, only the cached step is lost.
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

    `wanted`: mount ids, kinds or "layers". `ids`: the only ids a service uses, with `*` for
    what only a build knows. `project`: scope of the project.
    `older`: seconds without use. `everything`: every record of every project.
    """

    wanted: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None
    platform: str = ""
    project: str = ""
    older: float = 0
    everything: bool = False


@dataclass(frozen=True)
class Chosen:
    """What a selection means now: the records to delete, and those that stay because a running build holds them."""

    records: tuple[Record, ...] = ()
    held: tuple[Record, ...] = ()
    unknown: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bytes that deleting frees."""
        return sum(r.size for r in self.records)


def choose(records: Sequence[Record], selection: Selection) -> Chosen:
    """The records that a selection takes. A mount id is always meant exactly, of whatever project; a kind and all other
    words mean the given project's only. Never a record in use; layers that an image shares are not ours to delete.
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
