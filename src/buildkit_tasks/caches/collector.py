"""Describes how garbage collection affects cache mounts, and generates a policy that keeps them. Pure.

The rules come from `docker buildx inspect`, not from a table of versions. One known pitfall: a record must match all
comma-separated terms of a filter. A record has only one type, so `type==a,type==b` matches nothing. Default policies
had such a filter until mid-2026 (moby/buildkit#6856, moby/moby#52814).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from buildkit_tasks.core import shapes, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Version

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")

#: The first versions that support reservedSpace (minimum) and maxUsedSpace (maximum) in policies.
SPACE_ENGINE: Version = (28,)
SPACE_BUILDKIT: Version = (0, 17)


@dataclass(frozen=True)
class Rule:
    """One rule of a policy. `filters`: at least one must match. Sizes in bytes, `keep` in seconds; 0 if not set."""

    filters: tuple[str, ...]
    keep: int
    reserved: int
    most: int
    free: int

    @property
    def takes_mounts(self) -> bool:
        """Whether the rule can match a cache mount."""
        return not self.filters or any(f == "type==exec.cachemount" for f in self.filters)

    @property
    def impossible(self) -> bool:
        """Whether no record can match, because the rule requires a record to have multiple types."""
        return bool(self.filters) and all(f.count("type==") > 1 for f in self.filters)


@dataclass(frozen=True)
class Collector:
    """A builder, as printed by `docker buildx inspect`."""

    name: str
    driver: str
    buildkit: str
    rules: tuple[Rule, ...]


def parse(text: str) -> Collector:
    """Parse the first node of `docker buildx inspect`."""
    head: dict[str, str] = {}
    rules: list[dict[str, str]] = []
    for line in text.splitlines():
        key, colon, value = line.strip().partition(":")
        if re.match(r"GC Policy rule#0", line.strip()) and rules:
            break  # the next node starts here, and one policy is enough
        if key.startswith("GC Policy rule"):
            rules.append({})
        elif colon and rules and line.startswith((" ", "\t")):
            rules[-1][key] = value.strip()
        elif colon and key not in head:
            head[key] = value.strip()
    return Collector(
        head.get("Name", ""), head.get("Driver", ""), head.get("BuildKit version", ""), tuple(_rule(r) for r in rules)
    )


def _rule(values: dict[str, str]) -> Rule:
    sizes = {k: units.size(v) for k, v in values.items() if re.search(r"Bytes|Space", k)}
    found = _DURATION.match(values.get("Keep Duration", ""))
    hours, minutes, seconds = (int(p or 0) for p in found.groups()) if found else (0, 0, 0)
    return Rule(
        filters=tuple(values.get("Filters", "").split()),
        keep=hours * 3600 + minutes * 60 + seconds,
        reserved=sizes.get("Reserved Space", 0) or sizes.get("Keep Bytes", 0),
        most=sizes.get("Max Used Space", 0),
        free=sizes.get("Min Free Space", 0),
    )


def verdict(collector: Collector) -> tuple[str, ...]:
    """Describe what happens to cache mounts, in sentences. The first sentence is the summary."""
    if not collector.rules:
        return (
            "off: this builder never deletes anything, so its caches grow until the disk is full",
            "use `invoke cache.trim --keep 10GB` or the caches.budget setting to limit this project's caches",
        )
    details = []
    for number, rule in enumerate(collector.rules):
        if rule.impossible:
            types = " and ".join(re.findall(r"type==([\w.]+)", " ".join(rule.filters)))
            details.append(f"rule {number} has no effect: its filter requires a record to have both types {types}")
        elif rule.takes_mounts:
            details.append(f"rule {number} deletes mounts {_when(rule)}")
        else:
            details.append(f"rule {number} keeps mounts (the rule deletes only {' or '.join(rule.filters)})")
    effective = [r for r in collector.rules if r.takes_mounts and not r.impossible]
    if not effective:
        return ("on, and keeps cache mounts", *details)
    first = min(effective, key=lambda r: (r.most or r.reserved or 0, r.keep))
    return (f"on: cache mounts are deleted {_when(first)}, least recently used first", *details)


def _when(rule: Rule) -> str:
    limit = rule.most or rule.reserved
    parts = [f"if unused for {units.days(rule.keep)}"] if rule.keep else []
    if limit:
        parts.append(f"while the total build cache exceeds {units.human(limit)}")
    if rule.free:
        parts.append(f"or less than {units.human(rule.free)} of disk space is free")
    if rule.reserved and rule.most:
        parts.append(f"(never below {units.human(rule.reserved)})")
    return " ".join(parts) or "always"


def daemon_policy(limit: int, engine: Version) -> dict[str, Any]:
    """Return the `builder.gc` section of daemon.json. Its rules collect layers and context copies, but not mounts.

    `limit`, in bytes, applies to the whole build cache as the engine counts it, including mounts.
    """
    key = "maxUsedSpace" if engine >= SPACE_ENGINE else "keepStorage"
    size = _decimal(limit)
    # one filter per rule, because the daemon rejects a list (moby/moby#52814)
    return {
        "enabled": True,
        "policy": [
            {"filter": ["type=source.local"], key: size},
            {"filter": ["type=source.git.checkout"], key: size},
            {"filter": ["type=regular"], key: size},
        ],
    }


def daemon_text(existing: str, limit: int, engine: Version) -> str:
    """Add the `builder.gc` section to daemon.json and keep everything else. Raises `Problem` settings-invalid."""
    try:
        content = shapes.loads(existing, dict) if existing.strip() else {}
        if not isinstance(content.get("builder", {}), dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise Problem("settings-invalid", f"Cannot parse daemon.json: {error}.", hint="fix the file") from None
    content["builder"] = {**content.get("builder", {}), "gc": daemon_policy(limit, engine)}
    return json.dumps(content, indent=2) + "\n"


def buildkitd_text(limit: int, buildkit: Version) -> str:
    """Return the same policy as a buildkitd.toml, for docker-container and remote builders."""
    key = "maxUsedSpace" if buildkit >= SPACE_BUILDKIT else "keepBytes"
    value = f'"{_decimal(limit)}"' if buildkit >= SPACE_BUILDKIT else str(limit)
    rules = "".join(
        f'\n[[worker.{worker}.gcpolicy]]\n  filters = ["type=={kind}"]\n  {key} = {value}\n'
        for worker in ("oci", "containerd")
        for kind in ("source.local", "source.git.checkout", "regular")
    )
    return f"# collects layers and context copies, but not cache mounts\n[worker.oci]\n  gc = true\n{rules}"


def diff(before: str, after: str, name: str) -> str:
    """Return a unified diff to show before writing; empty if nothing changes."""
    lines: Sequence[str] = list(
        difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, f"{name} (proposed)")
    )
    return "".join(lines)


def _decimal(size: int) -> str:
    return f"{max(1, round(size / 1e9))}GB"
