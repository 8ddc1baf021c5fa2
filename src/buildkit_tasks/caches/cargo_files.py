"""Parses cargo files from a mount: the packages of a lock file, the members of a workspace."""

from __future__ import annotations

from collections.abc import Mapping


def workspace_members(texts: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the workspace's packages: those without a source in the synced lock files."""
    return frozenset(
        name
        for path, text in texts.items()
        if path.endswith("Cargo.lock")
        for name, _, source in packages(text)
        if not source
    )


def packages(lock: str) -> list[tuple[str, str, str]]:
    """Return (name, version, source) of each package in a lock file. The source of a workspace package is empty."""
    found: list[tuple[str, str, str]] = []
    for line in lock.splitlines():
        key, _, value = line.partition(" = ")
        value = value.strip().strip('"')
        if key == "name":
            found.append((value, "", ""))
        elif key == "version" and found and not found[-1][1]:
            found[-1] = (found[-1][0], value, "")
        elif key == "source" and found:
            found[-1] = (*found[-1][:2], value)
    return found
