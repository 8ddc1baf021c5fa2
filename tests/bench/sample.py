"""Shared by the benchmarks of the sample: a copy of its tree, a machine's environment, `invoke`, a timer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support import process

REPOSITORY = Path(__file__).parents[2]
RUST = "localhost/buildkit-tasks/rust:1-bookworm"

#: Seconds that one call may take: a cold build on a machine with other work.
LONGEST = 3600.0


def copied(tree: Path) -> Path:
    """Copy the files that git tracks to `tree`."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    for name in filter(None, done.stdout.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, tree / name)
    return tree


def machine(home: Path, **more: str | None) -> dict[str, str | None]:
    """Return the environment of a machine with a separate state directory, as in CI."""
    home.mkdir()
    return {
        "CI": "1",
        "XDG_STATE_HOME": str(home / "state"),
        "DOCKER_CONFIG": str(home / "docker"),
        "POSTGRES_PASSWORD": "unused",
        "RABBITMQ_PASSWORD": "unused",
        **more,
    }


def invoke(tree: Path, env: Mapping[str, str | None], *args: str) -> dict[str, Any]:
    """Return the JSON output of a task; if the task fails, exit with its complete output."""
    print(f"  {' '.join(args)} ...", flush=True)
    done = process.run([process.BIN / "invoke", *args, "--json"], tree, env, timeout=LONGEST)
    if done.code != 0:
        raise SystemExit(done.all)
    return dict(json.loads(done.out))


def timed(work: Callable[[], dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    """Return the wall-clock seconds and the result of the work. Earlier writes are flushed first and do not count."""
    os.sync()
    began = time.monotonic()
    answer = work()
    return time.monotonic() - began, answer
