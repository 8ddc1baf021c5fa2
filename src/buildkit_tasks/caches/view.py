"""The output of `invoke cache`: the JSON document and the table, built from records. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from buildkit_tasks.caches import cargo_tasks
from buildkit_tasks.caches import selection as cache_selection
from buildkit_tasks.caches.cargo_tasks import Volume
from buildkit_tasks.core import units
from buildkit_tasks.engine import cache_records
from buildkit_tasks.engine.cache_records import Mount, Record

#: Placeholder in a declared mount id for values known only at build time, such as TARGETARCH.
ANY = "*"

HEADINGS = ("mount", "kind", "project", "platform", "size", "", "last used", "used", "records", "flags")


@dataclass(frozen=True)
class Cache:
    """All the data of a view.

    `declared`: mount ids in the project's Dockerfiles, with `*` for values known only at build time. `now`: wall clock
    time, with zone. `images`, `disk_free`: bytes, None if the builder's engine does not report them. `unseen`: seconds.
    `volumes`: the volumes of cargo tasks, if the builder is the engine's own.
    """

    records: tuple[Record, ...]
    scope: str
    declared: tuple[str, ...]
    now: datetime
    builder: str = ""
    images: int | None = None
    disk_free: int | None = None
    unseen: float = 14 * 86400
    inside: Mapping[str, Any] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The cache mounts: this project's first, each group by size."""
        found = cache_records.mounts(self.records)
        return tuple(sorted(found, key=lambda m: (m.project != self.scope, -m.size)))

    @property
    def ours(self) -> tuple[Record, ...]:
        """Records that provably belong to the project."""
        return cache_selection.belonging(self.records, self.scope)

    def flags(self, mount: Mount) -> tuple[str, ...]:
        """Return the flags of a mount."""
        return cache_selection.flags(mount, self.scope, self.is_declared, self.unseen)

    def is_declared(self, identity: str) -> bool:
        """Return whether a Dockerfile of the project declares a mount with this id."""
        return any(fnmatchcase(identity, pattern) for pattern in self.declared)


def document(cache: Cache) -> dict[str, Any]:
    """Return the JSON document. Sizes are bytes; `last_used` is as precise as buildx reports it (`6 minutes ago`)."""
    ours = cache.ours
    return {
        "builder": cache.builder or None,
        "project": cache.scope,
        "mounts": [_mount(cache, m) for m in cache.mounts],
        "layers": _sum([r for r in cache.records if not r.is_mount]),
        "ours": {
            "bytes": sum(r.size for r in ours),
            "mounts": sum(r.size for r in ours if r.is_mount),
            "layers": sum(r.size for r in ours if not r.is_mount),
        },
        "images": {"bytes": cache.images},
        "volumes": [{"name": v.name, "bytes": v.size, "in_use": v.used} for v in cache.volumes],
        "engine": _sum(cache.records),
        "disk": {"free": cache.disk_free},
    }


def _mount(cache: Cache, mount: Mount) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": mount.id,
        "namespace": mount.namespace or None,
        "kind": mount.kind,
        "project": mount.project or None,
        "platform": mount.platform or None,
        "target": mount.target,
        "bytes": mount.size if mount.measured else None,
        "last_used": (cache.now - timedelta(seconds=mount.idle)).isoformat(timespec="seconds"),
        "idle_seconds": mount.idle,
        "used": mount.usage,
        "records": [r.id for r in mount.records],
        "in_use": mount.in_use,
        "flags": list(cache.flags(mount)),
    }
    if mount.name in cache.inside:
        fields["inside"] = cache.inside[mount.name]
    return fields


def _sum(records: Sequence[Record]) -> dict[str, int]:
    return {
        "bytes": sum(r.size for r in records),
        "reclaimable": sum(r.size for r in records if r.reclaimable),
        "records": len(records),
    }


def rows(cache: Cache, *, bars: bool) -> list[tuple[str, ...]]:
    """Return the table's rows: one per mount, then layers, then the volumes of cargo tasks."""
    largest = max((m.size for m in cache.mounts), default=0) or 1
    found: list[tuple[str, ...]] = [
        (
            m.name,
            m.kind,
            m.project or "-",
            m.platform or "-",
            units.human(m.size) if m.measured else "?",
            units.bar(m.size / largest, 12) if bars else "",
            f"{units.days(m.idle)} ago",
            str(m.usage),
            str(len(m.records)),
            ", ".join(cache.flags(m)),
        )
        for m in cache.mounts
    ]
    layers = [r for r in cache.records if not r.is_mount]
    if layers:
        total = units.human(sum(r.size for r in layers))
        idle = f"{units.days(min(r.idle for r in layers))} ago"
        found.append(("(layers)", "layers", "-", "-", total, "", idle, "-", str(len(layers)), ""))
    for volume in cache.volumes:
        size = "?" if volume.size is None else units.human(volume.size)
        flags = "in use" if volume.used else ""
        found.append((volume.name, cargo_tasks.VOLUMES, cache.scope, "-", size, "", "-", "-", "-", flags))
    return found


def summary(cache: Cache) -> str:
    """Return one line of totals."""
    human = units.human
    ours, engine = cache.ours, _sum(cache.records)
    parts = [
        f"{cache.scope}: {human(sum(r.size for r in ours))}",
        f"total build cache: {human(engine['bytes'])}, {human(engine['reclaimable'])} reclaimable",
    ]
    if total := cargo_tasks.total(cache.volumes):
        parts.append(f"cargo task volumes: {total}")
    if cache.images is not None:
        parts.append(f"images: {human(cache.images)}")
    if cache.disk_free is not None:
        parts.append(f"disk free: {human(cache.disk_free)}")
    return "; ".join(parts)


def inside_lines(cache: Cache) -> list[str]:
    """Return the contents of the opened mounts, as lines of text."""
    lines = []
    for name, content in cache.inside.items():
        lines += ["", f"{name}:"]
        for tree in content.get("trees", ()):
            parts = ", ".join(f"{what} {units.human(bytes_)}" for what, bytes_ in tree["bytes"].items() if bytes_)
            lines.append(f"  {tree['name']}: {parts or 'empty'}")
        if content.get("largest"):
            crates = ", ".join(f"{c['crate']} {units.human(c['bytes'])}" for c in content["largest"])
            lines.append(f"  largest: {crates}")
    return [*lines, ""] if lines else []


def unknown_arguments() -> dict[str, str]:
    """Map build arguments whose values are known only at build time to `*`."""
    return dict.fromkeys(("TARGETARCH", "TARGETOS", "TARGETVARIANT", "TARGETPLATFORM", "BUILDARCH"), ANY)
