"""`invoke bench` on a real engine in its smallest form: a stale Dockerfile, an identical build, and a killed run.

Slow, because a benchmark waits for a quiet machine, and its figures mean nothing beside other tests.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.bench import arena as arenas
from buildkit_tasks.bench import contenders
from buildkit_tasks.bench.arena import Arena
from buildkit_tasks.bench.edits import Edit, Edits
from buildkit_tasks.bench.play import Play
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.project.discover import discover
from buildkit_tasks.samples import figures, store
from buildkit_tasks.samples.catalogue import BEFORE, BY_NAME, CASE_BY_KEY, COLD, OURS
from buildkit_tasks.samples.store import Store
from tests.support import process, repositories
from tests.support.repositories import manifest

pytestmark = [pytest.mark.engine, pytest.mark.slow]

#: Sets all modification times to the same moment, as for reproducible images, next to a cache mount: cargo never
#: compiles an edit.
STALE = """\
FROM rust:1-bookworm AS build
WORKDIR /app
COPY . .
RUN find . -name '*.rs' -exec touch -d '2020-01-01' {} +
RUN --mount=type=cache,target=/app/target cargo build --release --locked && cp target/release/stall /usr/local/bin/stall
FROM debian:bookworm-slim
COPY --from=build /usr/local/bin/stall /usr/local/bin/stall
CMD ["stall"]
"""


class Stall:
    """A repository with one program and a stale Dockerfile, adopted."""

    def __init__(self, place: Path) -> None:
        self.project = f"bt-stall-{secrets.token_hex(3)}"
        files = {
            "Cargo.toml": manifest("stall", "\n[dependencies]\n", "[profile.release]\nopt-level = 0\n"),
            "Cargo.lock": repositories.locked("stall"),
            "src/main.rs": 'fn main() { println!("the stall sells {} things", 3); }\n',
            "Dockerfile": STALE,
            "compose.yaml": f"name: {self.project}\nservices:\n  stall:\n    build: .\n",
        }
        self.root = repositories.write(place / self.project, files)
        self.state = place / "state"
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(self.state)}
        done = process.run([process.BIN / "buildkit-tasks", "init", "--yes"], self.root, self.env)
        assert done.code == 0, done.all

    def bench(self, *words: str) -> process.Done:
        return process.run([process.BIN / "invoke", "bench", *words], self.root, self.env, timeout=1800)

    def left(self) -> str:
        """Return what the engine still has of this repository's benchmarks."""
        images = process.ok(["docker", "image", "ls", "--format", "{{.Repository}}"], self.root).out
        trees = [str(path) for path in self.state.glob("buildkit-tasks/*/bench/run-*")]
        names = {path.read_text().split('"')[3] for path in self.state.glob(f"buildkit-tasks/*/bench/{store.FILE}")}
        return " ".join([*trees, *(name for name in names if name in images)])


@pytest.fixture(scope="module")
def stall(tmp_path_factory: pytest.TempPathFactory, base_images: object) -> Stall:
    return Stall(tmp_path_factory.mktemp("bench"))


def rows(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["contender"]: row for row in document["rows"] if row["case"] == CASE_BY_KEY["line"].title}


def test_a_stale_dockerfile_is_wrong_and_a_killed_run_is_resumed(stall: Stall) -> None:
    argv: list[str | Path] = [
        process.BIN / "invoke",
        "bench",
        "--yes",
        "--case=line",
        "--contender=before",
        "--rounds=2",
    ]
    running = process.start(argv, stall.root, stall.env)
    until = time.monotonic() + 600
    while not (first := samples(stall)) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    said = "".join(running.communicate())
    assert first, said
    name = json.loads(record(stall).read_text().splitlines()[0])["name"]
    done = stall.bench("--resume", "--json")
    assert done.code == 0, done.all
    document = json.loads(done.out)["bench"]
    assert document["samples"][: len(first)] == first
    found = rows(document)
    assert (found[OURS]["samples"], found[OURS]["correct"]) == (2, "yes")
    assert found[BEFORE]["correct"] == "2 of 2 WRONG"
    assert "WRONG" in stall.bench("--load", "last", "--markdown").out
    # everything is removed, also what the killed part left behind
    assert not record(stall).exists()
    assert stall.left() == ""
    assert name not in process.ok(["docker", "image", "ls"], stall.root).out
    mounts = process.ok(["docker", "buildx", "du", "--verbose"], stall.root).out
    assert name not in mounts


def test_a_first_build_compiles_even_if_the_same_sources_were_built_before(stall: Stall) -> None:
    assert process.run([process.BIN / "invoke", "build"], stall.root, stall.env).code == 0
    for _ in range(2):
        done = stall.bench("--yes", "--case=cold", "--contender=before", "--json")
        assert done.code == 0, done.all
        assert [row["crates"] for row in json.loads(done.out)["bench"]["rows"]] == ["1", "1"]


def record(stall: Stall) -> Path:
    (folder,) = stall.state.glob("buildkit-tasks/*/bench")
    return folder / store.FILE


def samples(stall: Stall) -> list[dict[str, Any]]:
    found = list(stall.state.glob(f"buildkit-tasks/*/bench/{store.FILE}"))
    lines = [json.loads(line) for line in found[0].read_text().splitlines()] if found else []
    return [line["sample"] for line in lines if "sample" in line]


def test_the_same_build_twice_is_no_difference(stall: Stall) -> None:
    world = replace(World.real(), env=process.environment(stall.env), cwd=stall.root)
    session = Session(world, Report(world, yes=True))
    project = discover(session)
    folder = stall.state / "same"
    folder.mkdir(parents=True)
    arena = Arena(session, project, folder / "run", f"bench-{secrets.token_hex(4)}", "stall", {})
    arena.folder.mkdir()
    ours = BY_NAME[OURS]
    again = replace(ours, name=COLD)
    edit = Edit("src/main.rs", "the stall sells")
    try:
        arena.copy("ours")
        arena.found = contenders.find(session, project, arena.folder, arena.trees, arena.name, ["ours"])
        arena.write()
        kept = Store.start(folder, arena.name, {})
        play = Play(arena, kept, Edits("stall", (edit,)), 6, ("line",), quick=True, taking=[ours], code=edit)
        play.build(ours)
        for number in range(6):
            for way in (ours, again)[:: 1 if number % 2 else -1]:
                play.measure(CASE_BY_KEY["line"], way, number, lambda _: play.line(ours))
    finally:
        arena.clean()
    row = next(row for row in figures.rows(kept.samples, OURS) if row.contender == COLD)
    assert row.correct == "yes"
    assert figures.verdict(row).startswith("no difference"), row
    assert not arenas.records(session, arena.name)
