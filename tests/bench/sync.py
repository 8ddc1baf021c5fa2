"""Cost of comparing sources by content: one edit in trees of 1,000, 10,000 and 50,000 files. Prints a table.

Compares our compile stage (docker/Dockerfile: content sync, then cargo) with BuildKit's own handling (sources copied
into a layer, the same cargo, the same kind of mounts), interleaved, with the same edits, through `docker buildx build`
without our Python code. The difference is the cost of the sync; it may be negative, because nothing is copied into a
layer.

`nox -s bench_sync`, about five minutes on an idle machine. No timing is asserted.
"""

from __future__ import annotations

import secrets
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.leftovers import clear
from tests.bench.sample import REPOSITORY, RUST

SIZES = (1_000, 10_000, 50_000)
ROUNDS = 5
SCOPE = "bench-sync"

COPIED = f"""\
FROM {RUST} AS compile
ARG SIZE
WORKDIR /src
COPY . .
RUN --mount=type=cache,id={SCOPE}-copied-${{SIZE}},target=/src/services/target \\
    cd services && cargo build --release --locked && cp target/release/app /app
"""


def main() -> None:
    """Run the benchmark."""
    print("| files | content sync and cargo, s | copied into a layer and cargo, s | difference, s |")
    print("|---|---|---|---|")
    try:
        for size in SIZES:
            with tempfile.TemporaryDirectory(prefix="buildkit-tasks-bench-") as folder:
                ours, copied = measure(Path(folder), size)
            difference = statistics.median(a - b for a, b in zip(ours, copied, strict=True))
            cells = [f"{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})" for times in (ours, copied)]
            print(f"| {size:,} | {cells[0]} | {cells[1]} | {difference:+.2f} |", flush=True)
    finally:
        clear(SCOPE)


def measure(place: Path, size: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each round, for ours and for the copy, without the first, cold round."""
    tree = place / f"tree-{size}-{secrets.token_hex(3)}"
    make(tree, size)
    ours: list[float] = []
    copied: list[float] = []
    for number in range(ROUNDS + 1):
        edit = f'fn main() {{ println!("{secrets.token_hex(4)}"); }}\n'
        (tree / "services/src/main.rs").write_text(edit)
        seconds = (build(tree, size, tree / "docker/Dockerfile"), build(tree, size, place / "copied"))
        if number:
            ours.append(seconds[0])
            copied.append(seconds[1])
    return ours, copied


def make(tree: Path, size: int) -> None:
    """Create a crate of one line next to this many files, two kilobytes each, a hundred per directory."""
    shutil.copytree(REPOSITORY / "docker", tree / "docker")
    (tree / "services/src").mkdir(parents=True)
    (tree / "services/Cargo.toml").write_text('[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n')
    (tree / "services/Cargo.lock").write_text('version = 3\n\n[[package]]\nname = "app"\nversion = "0.1.0"\n')
    for number in range(size):
        folder = tree / f"services/assets/{number // 100:04}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"{number}\n" * 300)
    (tree.parent / "copied").write_text(COPIED)


def build(tree: Path, size: int, dockerfile: Path) -> float:
    """Return the seconds of one build."""
    base = f"--build-context=rust:1-bookworm=docker-image://{RUST}"
    args = (f"--build-arg=CACHE_SCOPE={SCOPE}-{size}", f"--build-arg=SIZE={size}", "--target=compile")
    began = time.monotonic()
    argv = [
        "docker",
        "buildx",
        "build",
        "-q",
        base,
        *args,
        "--output=type=cacheonly",
        f"--file={dockerfile}",
        str(tree),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
