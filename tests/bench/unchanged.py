"""Cost of `invoke build` if nothing changed, compared with `docker compose build` of the same services, interleaved.

Uses the services of this checkout: both sides build once (under separate names, so that neither moves the other's
tags), then each round times both processes. `nox -s bench_unchanged -- [ROUNDS] [DIRECTORY]`; the first run compiles
everything. The only assertion is that the builds are up to date; no timing is asserted.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.sample import REPOSITORY
from tests.support import process

SAID = "up to date"


def main() -> None:
    """Run the benchmark and print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    root = Path(sys.argv[2] if len(sys.argv) > 2 else REPOSITORY).resolve()
    env = {"POSTGRES_PASSWORD": "unused", "RABBITMQ_PASSWORD": "unused", **process.environment()}
    ours, theirs = {**env, "IMAGE_TAG": "bench"}, {**env, "IMAGE_TAG": "bench-compose"}
    _timed(["invoke", "build", "--plan"], root, ours)  # writes the file that provides base images for compose
    state = Path(env.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "buildkit-tasks"
    files = [root / "docker-compose.yaml", *state.glob(f"{root.name}-*/compose.offline.yaml")]
    build = ["docker", "compose", *(part for file in files for part in ("-f", str(file))), "build"]
    for _ in range(3):
        said = _timed(["invoke", "build"], root, ours)[2]
        time.sleep(0.2)
    if SAID not in said:
        sys.exit(f"the build is not up to date: {said[-500:]}")
    for _ in range(2):
        _timed(build, root, theirs)
    pairs = []
    for _ in range(rounds):
        pairs.append((_timed(["invoke", "build"], root, ours), _timed(build, root, theirs)))
        if SAID not in pairs[-1][0][2]:
            sys.exit(f"the build is not up to date: {pairs[-1][0][2][-500:]}")
    print(f"load {os.getloadavg()[0]:.1f}, {rounds} rounds, medians (lowest-highest)")
    for name, side in (("invoke build", 0), ("docker compose build", 1)):
        for what, part in (("s", 0), ("s of CPU, without the engine", 1)):
            found = [float(pair[side][part]) for pair in pairs]
            print(f"{name}: {statistics.median(found):.2f} {what} ({min(found):.2f}-{max(found):.2f})")
    print(f"ratio within a round: {statistics.median(a[0] / b[0] for a, b in pairs):.2f}")


def _timed(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[float, float, str]:
    """Return the wall-clock seconds, the CPU seconds and stderr of a program, which must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, env=dict(env), capture_output=True, text=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stderr


if __name__ == "__main__":
    main()
