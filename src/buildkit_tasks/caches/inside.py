"""Opens the project's mounts and shows what takes up space in them."""

from __future__ import annotations

from dataclasses import replace

from buildkit_tasks.caches.mount_listing import Content
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.engine.cache_records import Mount
from buildkit_tasks.project.discover import Project

from . import cargo_tree, mount_open
from .view import Cache


def opened(session: Session, project: Project, found: Cache, *, largest: int = 5) -> Cache:
    """Return the same view, with the contents of the project's own mounts. Skips mounts that a build is using."""
    ours = own(session, found)
    for mount in ours:
        if mount.in_use:
            session.report.warn(f"skipping {mount.name}: a running build is using it")
    free = [m for m in ours if not m.in_use]
    contents = mount_open.listing(session, project, free, found.builder)
    return replace(found, inside={m.name: _json(m, contents[m.name], largest) for m in free})


def own(session: Session, found: Cache) -> list[Mount]:
    """Return the mounts that the project's builds use: those in the current namespace that the Dockerfiles declare."""
    workspace = session.settings.caches.namespace
    return [
        m for m in found.mounts if m.project == found.scope and m.namespace == workspace and found.is_declared(m.id)
    ]


def _json(mount: Mount, content: Content, largest: int) -> dict[str, object]:
    if mount.kind == "target":
        return cargo_tree.summary(cargo_tree.take_apart(content), largest)
    parts: dict[str, int] = {}
    for entry in content.entries:
        part = entry.path.partition("/")[0]
        parts[part] = parts.get(part, 0) + entry.size
    parts = {k: v for k, v in sorted(parts.items(), key=lambda item: -item[1]) if v >= 4096 and k != "."}
    crates = sorted(_crates(content).items(), key=lambda item: -item[1])[:largest]
    tree = {"name": mount.kind, "profile": None, "bytes": parts, "note": ""}
    return {
        "trees": [tree],
        "largest": [{"crate": c, "bytes": b} for c, b in crates],
        "disk": units.human(mount.size),
    }


def _crates(content: Content) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in content.entries:
        parts = entry.path.split("/")
        if len(parts) >= 3 and parts[0] in ("src", "checkouts"):
            found[parts[2]] = found.get(parts[2], 0) + entry.size
    return found
