"""Cost of images for arm64 compared with amd64: cold, after an edit, and with emulation. Prints tables.

All figures come from one run on one machine. `--only cold|edit|emulated` runs one part; `--service api` builds fewer
services.

`nox -s bench_platforms`, about 20 minutes on two idle cores; needs root for the emulator. No timing is asserted.
Images, mounts and the kernel's registration are removed afterwards; the engine's garbage collection removes the layers.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from buildkit_tasks.bench import source_text
from buildkit_tasks.builds.prepare import plan_build
from buildkit_tasks.config import root as project_root
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.project.discover import discover
from tests.bench import emulated
from tests.bench.leftovers import clear
from tests.bench.sample import LONGEST, copied, invoke, machine, timed
from tests.support import process

PARTS = ("cold", "edit", "emulated")
AMD, ARM, BOTH = "amd64", "arm64", "amd64,arm64"


@dataclass
class Sample:
    """The sample's tree with separate images and mounts. `images`: the images that were built, to be removed."""

    tree: Path
    env: Mapping[str, str | None]
    services: tuple[str, ...]
    name: str
    images: set[str] = field(default_factory=set)

    def build(self, platforms: str, *more: str) -> tuple[float, dict[str, Any]]:
        """Return the wall-clock seconds and the JSON output of one `invoke build`."""
        chosen = [word for name in self.services for word in ("--service", name)]
        call = partial(invoke, self.tree, self.env, "build", "--platform", platforms, *chosen, *more)
        seconds, built = timed(call)
        self.images |= {t["image"] for t in built["targets"]}
        print(f"    {seconds:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
        return seconds, built

    def remove(self) -> None:
        """Remove images and mounts."""
        if self.images:
            process.run(["docker", "image", "rm", "--force", *sorted(self.images)], self.tree)
        clear(f"{self.name}/")


def main() -> None:
    """Run the benchmark."""
    asked = _asked()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up here, too
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-bench-") as folder:
        place, name = Path(folder), f"bench-platforms-{secrets.token_hex(3)}"
        env = machine(place / "home", BUILDKIT_TASKS_CACHES_NAMESPACE=name, IMAGE_TAG=name)
        sample = Sample(copied(place / "tree"), env, tuple(asked.service), name)
        session = _session(sample)
        try:
            if asked.only in ("", "cold"):
                cold(sample, session)
            if asked.only in ("", "edit"):
                edit(sample, asked.rounds)
        finally:
            sample.remove()
        if asked.only in ("", "emulated"):
            emulated.measure(place, session)


def cold(sample: Sample, session: Session) -> None:
    """Fetch and compile every crate, for each platform from empty mounts, with the toolchain's layers cached."""
    decided = plan_build(
        session, discover(session), BuildRequest(platforms=(f"linux/{AMD}", f"linux/{ARM}"), services=sample.services)
    )  # build base images before the timer starts
    target = next(iter(decided.definition["target"].values()))
    stage = {platform: _toolchain(sample, target, platform) for platform in (AMD, ARM)}
    seconds, steps = {}, {}
    for platform in (AMD, ARM):
        # each platform has its own target mounts; in the shared registry mounts, the second would find the first one's
        # crates
        clear(f"{sample.name}/{decided.workspace.scope}-cargo-")
        seconds[platform], built = sample.build(platform, "--no-cache")
        steps[platform] = max(s["seconds"] or 0 for s in built["steps"] if "/compile build" in s["name"])
    print()
    print(f"Cold, {_what(sample)}: `invoke build --platform P --no-cache` from empty mounts, toolchain stage cached")
    print("| | amd64, s | arm64, cross, s | arm64 / amd64 |")
    print("|---|---|---|---|")
    print(_compared("the whole command", seconds))
    print(_compared("its compile step", steps))
    print(_compared("building the toolchain stage once (arm64: cross gcc, libraries)", stage))
    print(flush=True)


def edit(sample: Sample, rounds: int) -> None:
    """Edit one line of one service: both platforms compared with one, a new text every time, in alternating order."""
    table = project_root.bench_table(sample.tree)
    code, service = table["code"], table["service"]
    sample.build(BOTH)  # warm up
    seconds: dict[str, list[float]] = {AMD: [], BOTH: []}
    crates: set[str] = set()
    modes: set[bool] = set()
    seen: list[bool] = []
    for number in range(rounds):
        for platforms in ((AMD, BOTH), (BOTH, AMD))[number % 2]:
            marker = f"bench-{secrets.token_hex(6)}"
            path = sample.tree / code["file"]
            path.write_text(source_text.edit_literal(path.read_text("utf-8"), code["text"], marker), "utf-8")
            taken, built = sample.build(platforms)
            seconds[platforms].append(taken)
            crates |= {*built["cargo"]["compiled"]}
            modes.add(built["incremental"])
            image = next(t["image"] for t in built["targets"] if t["service"] == service)
            seen += [_contains(sample, image, platform, marker) for platform in platforms.split(",")]
    ratios = [both / one for both, one in zip(seconds[BOTH], seconds[AMD], strict=True)]
    print()
    print(f"One line of {service}, {rounds} rounds: `invoke build --platform P`, {_what(sample)}")
    print("| | amd64, s | amd64,arm64, s | both / amd64, within the round |")
    print("|---|---|---|---|")
    cells = [f"{statistics.median(seconds[p]):.1f} ({_spread(seconds[p])})" for p in (AMD, BOTH)]
    print(f"| one line | {cells[0]} | {cells[1]} | **{statistics.median(ratios):.2f}** ({_spread(ratios, 2)}) |")
    print(
        f"crates compiled: {', '.join(sorted(crates))}; incremental: {', '.join(map(str, sorted(modes)))}; "
        f"edit in the program built: {sum(seen)} of {len(seen)}\n",
        flush=True,
    )


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.platforms", description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=PARTS, default="", help="only run this part")
    parser.add_argument("--rounds", type=int, default=3, help="number of edits of each kind (3)")
    parser.add_argument("--service", action="append", default=[], help="only build this service (repeatable)")
    return parser.parse_args()


def _session(sample: Sample) -> Session:
    """Return a session with the environment that `invoke` gets in this tree."""
    world = replace(World.real(), env=process.environment(sample.env), cwd=sample.tree)
    return Session(world, Report(world, yes=True))


def _toolchain(sample: Sample, target: Mapping[str, Any], platform: str) -> float:
    """Return the seconds to rebuild the toolchain stage. It has no cache mounts that this could delete."""
    named = [f"--build-context={k}={v}" for k, v in target.get("contexts", {}).items() if "::" not in k]
    secret = [f"--secret={s}" for s in target.get("secret", [])]
    what = ["--target=toolchain", "--no-cache-filter=toolchain", "--output=type=cacheonly", "--provenance=false"]
    dockerfile = sample.tree / "docker/Dockerfile"
    where: list[str | Path] = [f"--platform=linux/{platform}", f"--file={dockerfile}", sample.tree]
    argv: list[str | Path] = ["docker", "buildx", "build", "--progress=plain", *what, *named, *secret, *where]
    make: Callable[[], dict[str, Any]] = lambda: {"": process.ok(argv, sample.tree, timeout=LONGEST)}  # noqa: E731
    print(f"  toolchain stage, {platform} ...", flush=True)
    seconds, _ = timed(make)
    print(f"    {seconds:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
    return seconds


def _contains(sample: Sample, image: str, platform: str, text: str) -> bool:
    """Return whether the program in an image contains a text. Copies it out, because arm64 images do not run here."""
    argv = ["docker", "create", "--platform", f"linux/{platform}", image]
    container = process.ok(argv, sample.tree).out.strip()
    program = sample.tree.parent / "program"
    try:
        process.ok(["docker", "cp", f"{container}:/usr/local/bin/service", program], sample.tree)
        return text.encode() in program.read_bytes()
    finally:
        process.run(["docker", "rm", "--force", container], sample.tree)


def _what(sample: Sample) -> str:
    return " and ".join(sample.services) or "all services"


def _compared(name: str, seconds: Mapping[str, float]) -> str:
    one, other = seconds[AMD], seconds[ARM]
    return f"| {name} | {one:.1f} | {other:.1f} | {f'**{other / one:.2f}**' if one else '-'} |"


def _spread(values: list[float], digits: int = 1) -> str:
    return f"{min(values):.{digits}f}-{max(values):.{digits}f}"


if __name__ == "__main__":
    main()
