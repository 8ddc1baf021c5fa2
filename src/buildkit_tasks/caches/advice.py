"""Recommends which caches to clear, and at what cost. Pure: takes a view and the opened mounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from buildkit_tasks.caches.mount_listing import Content
from buildkit_tasks.core import units

from . import cargo_tree
from .view import Cache

#: A target mount is worth trimming if it is this many times the size that its programs need.
USEFUL = 1.5

#: Seconds after which a registry index is stale: cargo will download most of it again at the next update.
INDEX_AGE = 90 * 86400

#: Do not recommend anything that frees fewer bytes than this.
SMALL = 50 * 10**6


@dataclass(frozen=True)
class Advice:
    """One recommendation: the reason, the exact command, the bytes it frees, and what it costs the next build."""

    why: str
    command: str
    frees: int
    price: str


def advise(cache: Cache, contents: Mapping[str, Content], min_disk: int) -> tuple[Advice, ...]:
    """Return the worthwhile recommendations, largest first. `min_disk` in bytes."""
    found: list[Advice] = []
    for mount in cache.mounts:
        if mount.project != cache.scope:
            continue
        flags = cache.flags(mount)
        clear = f"invoke cache.clear --mount {mount.id}"
        if "orphan" in flags:
            found.append(Advice(f"no Dockerfile declares {mount.name} anymore", clear, mount.size, "nothing"))
        elif "duplicate" in flags:
            extra = mount.size - max(r.size for r in mount.records)
            found.append(Advice(f"{mount.name} exists more than once", clear, extra, "the next build refills it"))
        if mount.name in contents and mount.kind == "target":
            found += _target(mount.name, contents[mount.name])
        if mount.name in contents and mount.kind == "cargo-registry":
            found += _registry(mount.name, contents[mount.name], cache)
    total = sum(r.size for r in cache.ours)
    if cache.disk_free is not None and cache.disk_free < min_disk and total > SMALL:
        want = max(10**9, total // 2)
        found.append(
            Advice(
                f"only {units.human(cache.disk_free)} of disk space left",
                f"invoke cache.trim --keep {want // 10**6}MB",
                total - want,
                "pass --dry-run to see what would be deleted",
            )
        )
    return tuple(sorted(found, key=lambda a: -a.frees))


def _target(name: str, content: Content) -> list[Advice]:
    inside = cargo_tree.take_apart(content)
    stale = sum(t.bytes["stale"] for t in inside.trees)
    live = sum(t.size for t in inside.trees) - stale
    found = []
    if stale > SMALL and stale + live > USEFUL * live:
        why = f"{name} is {(stale + live) / max(live, 1):.1f} times the size that its programs need"
        found.append(Advice(why, "invoke cache.trim", stale, "nothing: only leftovers are deleted"))
    if len(inside.bases) > 1:
        old = sorted(inside.bases.items(), key=lambda b: b[1])[:-1]
        size = sum(t.size for t in inside.trees if t.base in {b for b, _ in old})
        crates = sum(len(t.crates) for t in inside.trees if t.base in {b for b, _ in old})
        if size > SMALL:
            found.append(
                Advice(
                    f"{name} contains files from {units.counted(len(old), 'older toolchain')}",
                    f"invoke cache.trim --keep {max(1, (live + stale - size) // 10**6)}MB",
                    size,
                    f"{units.counted(crates, 'crate')} to recompile if you switch back to an older toolchain",
                )
            )
    return found


def _registry(name: str, content: Content, cache: Cache) -> list[Advice]:
    newest = max((e.mtime for e in content.entries if e.path.startswith("index/")), default=0)
    size = sum(e.size for e in content.entries)
    age = cache.now.timestamp() - newest
    if newest and age > INDEX_AGE and size > SMALL:
        why = f"the registry index in {name} was last updated {units.days(age)} ago"
        return [Advice(why, "invoke cache.clear --mount cargo-registry", size, "all crates must be downloaded again")]
    return []
