"""Benchmarks leave no cache mounts behind."""

from __future__ import annotations

import subprocess

from buildkit_tasks import caching


def clear(start: str) -> None:
    """Remove this engine's mounts whose ids, or whose namespaces, start so."""
    listed = subprocess.run(["docker", "buildx", "du", "--verbose"], capture_output=True, check=True, text=True).stdout
    for record in caching.parse(listed):
        if record.is_mount and start and (record.mount_namespace or record.mount_id).startswith(start):
            argv = ["docker", "buildx", "prune", "--force", "--all", "--filter", f"id=^{record.id}$"]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
