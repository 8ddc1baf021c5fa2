"""Cost of our own code as a repository grows: `build --plan`, the view and record of a build, `explain`. Prints tables.

Crates from 10 to 1,000, services from 1 to 50, files from 1,000 to 50,000; wall-clock seconds and the most memory of
the `invoke` process. docker is the fake of tests/cli, which answers at once, so the engine's own time is not included.
Its build reports every crate as compiled. The cost of comparing sources inside the build is measured by `bench_sync`.

`nox -s bench_curves`, about six minutes on an idle machine; `-- --small` measures only the smallest of each. No timing
is asserted.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.sample import REPOSITORY
from tests.cli.conftest import FAKE, Bench, log, service, solve
from tests.support import process
from tests.support.situations import INFO

CRATES, SERVICES, FILES = (10, 100, 1_000), (1, 10, 50), (1_000, 10_000, 50_000)
ROUNDS = 3
COMMANDS = {
    "plan": ("build", "--plan", "--json"),
    "view and record of a build": ("build", "--progress", "plain"),
    "explain": ("explain", "--json"),
    "explain --next": ("explain", "--next", "--json"),
}


@dataclass(frozen=True)
class Size:
    """A point of a curve. `crates` includes one program per service."""

    crates: int = 60
    services: int = 5
    files: int = 0


def main() -> None:
    """Run the benchmark and print a table per curve."""
    most = 1 if "--small" in sys.argv[1:] else len(CRATES)
    curves = {
        "crates": [Size(crates=n) for n in CRATES[:most]],
        "services": [Size(services=n, crates=max(60, n + 10)) for n in SERVICES[:most]],
        "files": [Size(files=n) for n in FILES[:most]],
    }
    print(f"load {os.getloadavg()[0]:.1f}, {ROUNDS} rounds: median seconds, MB at most")
    for axis, sizes in curves.items():
        print(f"\n| {axis} | {' | '.join(COMMANDS)} |\n|{'---|' * (1 + len(COMMANDS))}")
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="buildkit-tasks-bench-") as folder:
                cells = measure(project(Path(folder), size), size)
            print(f"| {getattr(size, axis):,} | {' | '.join(cells)} |", flush=True)


def measure(bench: Bench, size: Size) -> list[str]:
    """Return a cell per command: median seconds and the most memory. Every round begins with an edit."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    memory: dict[str, float] = dict.fromkeys(COMMANDS, 0.0)
    timed(bench, COMMANDS["view and record of a build"])  # the first one also records everything
    for number in range(ROUNDS):
        edit(bench, size, number)
        for name, words in COMMANDS.items():
            taken, most = timed(bench, words)
            seconds[name].append(taken)
            memory[name] = max(memory[name], most)
    return [f"{statistics.median(seconds[name]):.2f} s, {memory[name]:.0f} MB" for name in COMMANDS]


def timed(bench: Bench, words: Sequence[str]) -> tuple[float, float]:
    """Return the wall-clock seconds and the most memory in MB of one `invoke`, which must succeed."""
    env = process.environment(bench.environment())
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen(
            [str(process.BIN / "invoke"), *words], cwd=bench.root, env=env, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(words)}: {said.read().decode(errors='replace')[-2000:]}")
    return time.perf_counter() - began, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def project(folder: Path, size: Size) -> Bench:
    """Generate a repository with our Dockerfile and a fake docker that builds it."""
    root, place = folder / "grown", folder / "fake"
    for made in (root, place / "bin", place / "home"):
        made.mkdir(parents=True)
    shutil.copy(FAKE, place / "bin" / "docker")
    shutil.copytree(REPOSITORY / "docker", root / "docker")
    names = [f"crate{n}" for n in range(size.crates)]
    programs = names[: size.services]
    write(root, "tasks.py", "from buildkit_tasks import namespace\n")
    write(root, "compose.yaml", "name: shop\nservices: {}\n")
    write(root, "services/Cargo.toml", '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n')
    packages = [f'[[package]]\nname = "{name}"\nversion = "0.1.0"\n' for name in sorted(names)]
    write(root, "services/Cargo.lock", "\n".join(["version = 4\n", *packages]))
    for name in names:
        program = name in programs
        write(root, f"services/crates/{name}/Cargo.toml", f'[package]\nname = "{name}"\nversion = "0.1.0"\n')
        write(root, f"services/crates/{name}/src/{'main' if program else 'lib'}.rs", "fn main() {}\n" * program)
    for number in range(size.files):
        write(root, f"services/assets/{number // 100:04}/{number}.txt", f"{number}\n" * 20)
    bench = Bench(root, place)
    bench.reply("info", stdout=json.dumps(INFO))
    bench.reply("context inspect", stdout="unix:///var/run/docker.sock\n")
    config = {"name": "shop", "services": {name: service(root, name) for name in programs}}
    bench.reply("config --format json", stdout=json.dumps(config))
    references = ("rust:1-bookworm", "debian:bookworm-slim")
    found = "".join(f'["{ref}"] sha256:{n * 64}\n' for n, ref in zip("12", references, strict=True))
    bench.reply("image inspect", stdout=found)
    bench.reply("buildx bake", stderr=built(root, names), metadata={n: {"containerimage.digest": n} for n in programs})
    return bench


def built(root: Path, names: Sequence[str]) -> str:
    """Return the progress of a build that compiles every crate."""
    name = f"[{names[0]} compile 2/2] RUN /compile build"
    began = {"digest": "sha256:run", "name": name, "started": "2026-01-01T00:00:00Z"}
    lines = [log("sha256:run", f"   Compiling {crate} v0.1.0 (/src/services/crates/{crate})\n") for crate in names]
    return solve(
        {"vertexes": [began]},
        log("sha256:run", f"buildkit-tasks: total {len(names)}\n"),
        *lines,
        {"vertexes": [{**began, "completed": "2026-01-01T00:01:00Z"}]},
    )


def edit(bench: Bench, size: Size, number: int) -> None:
    """Change one source file."""
    write(bench.root, "services/crates/crate0/src/main.rs", f"fn main() {{}} // {number}\n")
    if size.files:
        write(bench.root, "services/assets/0000/0.txt", f"round {number}\n")


def write(root: Path, name: str, text: str) -> None:
    """Write a file."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
