"""What the benchmarks of the sample share: a copy of its tree, a machine's environment, `invoke`, a stopwatch."""

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

#: Seconds that one call may take: a cold build on a machine that has other work as well.
LONGEST = 3600.0


def copied(tree: Path) -> Path:
    """What git tracks, copied to `tree`."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    for name in filter(None, done.stdout.split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, tree / name)
    return tree


def machine(home: Path, **more: str | None) -> dict[str, str | None]:
    """The environment of a machine with a state directory of its own, as in CI."""
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
    """The JSON answer of a task; where it fails, the benchmark ends with all that it said."""
    print(f"  {' '.join(args)} ...", flush=True)
    done = process.run([process.BIN / "invoke", *args, "--json"], tree, env, timeout=LONGEST)
    if done.code != 0:
        raise SystemExit(done.all)
    return dict(json.loads(done.out))


def timed(work: Callable[[], dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    """Wall seconds, and what the work gave. What was written before is not paid for by who comes next."""
    os.sync()
    began = time.monotonic()
    answer = work()
    return time.monotonic() - began, answer
