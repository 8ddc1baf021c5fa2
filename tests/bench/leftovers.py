"""Remove the cache mounts that benchmarks leave behind."""

from __future__ import annotations

import subprocess
import time

from buildkit_tasks.engine import cache_records

#: Number of tries, half a second apart: the engine releases a mount shortly after the build that used it.
TRIES = 20


def clear(start: str) -> None:
    """Remove this engine's mounts whose names (`NAMESPACE/ID`, or only the id) start with this text."""
    for _ in range(TRIES):
        found = _mounts(start)
        if not found:
            return
        for record in found:
            argv = ["docker", "buildx", "prune", "--force", "--all", "--filter", f"id=^{record.id}$"]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
    print(f"  still in use by the engine: {', '.join(_name(r) for r in _mounts(start))}")


def _mounts(start: str) -> list[cache_records.Record]:
    listed = subprocess.run(["docker", "buildx", "du", "--verbose"], capture_output=True, check=True, text=True).stdout
    return [r for r in cache_records.parse(listed) if r.is_mount and _name(r).startswith(start)]


def _name(record: cache_records.Record) -> str:
    return f"{record.mount_namespace}/{record.mount_id}" if record.mount_namespace else record.mount_id
