"""Describes the differences between two versions of a Cargo.toml or Cargo.lock. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli

#: Tables whose entries are dependencies.
_DEPENDENCIES = ("dependencies", "dev-dependencies", "build-dependencies")


def read(text: str | None) -> dict[str, Any]:
    """Parse a manifest or lock file. Return `{}` if there is none or it is not valid."""
    try:
        return dict(tomli.loads(text or ""))
    except (tomli.TOMLDecodeError, RecursionError):
        return {}


def differences(old: str | None, new: str | None) -> list[str]:
    """Return the changes in a Cargo.toml: features, dependencies, profiles; other tables by name."""
    before, now = read(old), read(new)
    found: list[str] = []
    for table in sorted({*before, *now}):
        one, other = before.get(table), now.get(table)
        if one == other:
            continue
        if table == "features":
            found += [f"the feature `{name}` {how}" for name, how in _entries(one, other)]
        elif table in _DEPENDENCIES:
            found += [f"the dependency `{name}` {how}" for name, how in _entries(one, other)]
        elif table == "workspace" and isinstance(one, dict) and isinstance(other, dict):
            shared = [{"dependencies": t.get("dependencies", {})} for t in (one, other)]
            found += [f"the dependency `{name}` {how}" for name, how in _entries(*(t["dependencies"] for t in shared))]
            rest = [{k: v for k, v in t.items() if k != "dependencies"} for t in (one, other)]
            found += [f"`[workspace]` {name} {how}" for name, how in _entries(*rest)]
        elif table == "profile":
            found += [f"the profile `{name}` {how}" for name, how in _entries(one, other)]
        else:
            found.append(f"`[{table}]` changed")
    return found


def _entries(one: Any, other: Any) -> Iterator[tuple[str, str]]:
    before, now = (t if isinstance(t, dict) else {} for t in (one, other))
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield name, "was added" if name not in before else "was removed" if name not in now else "changed"


def packages(lock: str | None) -> dict[str, dict[str, frozenset[str]]]:
    """Map each package of a lock file, by name and version, to the names of its dependencies."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    entries = read(lock).get("package")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
            needs = entry.get("dependencies") or ()
            names = frozenset(str(need).partition(" ")[0] for need in needs)
            found.setdefault(entry["name"], {})[str(entry.get("version", ""))] = names
    return found
