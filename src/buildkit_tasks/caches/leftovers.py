"""Finds downloads and git checkouts in cargo's home that no lock file of the project needs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from buildkit_tasks.caches.cargo_files import packages
from buildkit_tasks.caches.mount_listing import Content

from .cargo_tree import _CRATE_VERSION


def registry_leftovers(content: Content, wanted: frozenset[tuple[str, str]]) -> dict[str, int]:
    """Return the downloads and unpacked sources in a registry mount that are in no lock file, with their sizes."""
    found: dict[str, int] = {}
    for entry in content.entries:
        parts = entry.path.split("/")
        if len(parts) < 3 or parts[0] not in ("cache", "src"):
            continue
        crate = _CRATE_VERSION.fullmatch(parts[2].removesuffix(".crate") if parts[0] == "cache" else parts[2])
        if crate and (crate["name"], crate["version"]) not in wanted:
            path = "/".join(parts[:3])
            found[path] = found.get(path, 0) + entry.size
    return found


def git_leftovers(content: Content, revisions: frozenset[str]) -> dict[str, int]:
    """Return the checkouts in a git mount whose revisions are in no lock file, with their sizes. Excludes databases."""
    found: dict[str, int] = {}
    for entry in content.entries:
        parts = entry.path.split("/")
        if len(parts) < 3 or parts[0] != "checkouts" or not re.fullmatch(r"[0-9a-f]{7,40}", parts[2]):
            continue
        if not any(full.startswith(parts[2]) for full in revisions):
            path = "/".join(parts[:3])
            found[path] = found.get(path, 0) + entry.size
    return found


def wanted_crates(locks: Iterable[str]) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Return (name, version) of the registry crates, and the full revisions of the git sources, in the lock files."""
    crates, revisions = set(), set()
    for lock in locks:
        for name, version, source in packages(lock):
            if source.startswith("git+"):
                revisions.add(source.rpartition("#")[2])
            elif source:
                crates.add((name, version))
    return frozenset(crates), frozenset(revisions)
