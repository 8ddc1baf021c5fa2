"""The order of builds and edits of a benchmark, with builds that only copy the sources: who builds what, and when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.bench.arena import Arena
from buildkit_tasks.bench.contenders import Contenders
from buildkit_tasks.bench.edits import Dependency, Edit, Edits
from buildkit_tasks.bench.play import Play
from buildkit_tasks.bench.timed import Built
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.samples.catalogue import BY_KEY, CASE_BY_KEY, CLASSIC, LOCKED, OURS, WAYS, Way
from buildkit_tasks.samples.store import Store

CODE, SHARED = Edit("api/main.rs", "said by the api"), Edit("common/lib.rs", "said by all")
CRATE = {"name": "fnv", "version": "1.0.6", "checksum": "aa"}
DEPENDENCY = Dependency("api/Cargo.toml", "api", CRATE, {**CRATE, "version": "1.0.7", "checksum": "bb"})
FILES = {
    "api/main.rs": 'println!("said by the api");\n',
    "common/lib.rs": 'println!("said by all");\n',
    "api/Cargo.toml": "[dependencies]\n",
    "Cargo.lock": 'version = 4\n\n[[package]]\nname = "api"\nversion = "0.1.0"\n',
}


@dataclass
class Instant(Play):
    """Builds that copy the sources of a family into its program. `stale`: never copy again; `broken`: always fail.

    `no_crate`: the added dependency is not available.
    """

    stale: Collection[str] = ()
    broken: Collection[str] = ()
    no_crate: bool = False
    programs: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def build(self, way: Way, *, every: bool = False) -> Built:
        self.log.append(f"{way.key}{' all' if every else ''}")
        added = "fnv" in (self.arena.trees[way.family] / "Cargo.lock").read_text()
        if way.key in self.broken or (self.no_crate and added):
            raise Problem("bench-failed", "no", details="error: no such crate")
        if way.key not in self.stale or way.family not in self.programs:
            tree = self.arena.trees[way.family]
            self.programs[way.family] = "".join((tree / name).read_text() for name in FILES)
        self.current.pop(way.family, None)
        if every:
            self.current[way.family] = way.name
        return Built(1.0 if way.key == "ours" else 40.0)

    def prepare(self, contender: str) -> None:
        self.log.append(f"tool {contender}")

    def look(self, what: str) -> None:
        self.log.append(what)


@dataclass
class Place(Arena):
    """An arena that looks into those programs."""

    play: Instant | None = None

    def contained(self, candidates: Any) -> Edit | None:
        assert self.play
        return next((edit for edit in candidates if edit.text in self.play.programs["ours"]), None)

    def look(self, way: Way, edits: Any) -> None:
        assert self.play
        self.hidden[way.name] = tuple(e for e in edits if e.text not in self.play.programs[way.family])

    def right(self, way: Way, lacking: Collection[str] = (), *, platform: str = "") -> bool | None:
        assert self.play
        assert not platform
        program = self.play.programs[way.family]
        wanted = [marker for marker in self.markers.get(way.family, {}).values() if marker]
        ok = all(m in program for m in wanted) and not any(m in program for m in lacking)
        return ok if wanted else None


def arranged(place: Path, keys: list[str], cases: list[str], *, rounds: int = 2, **more: Any) -> Instant:
    """Return a play of these contenders and cases."""
    root = place / "shop"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    world = World({}, root, place)
    session = Session(world, Report(world, json_only=True))
    session.__dict__["root"] = root
    session.masked = lambda words: words  # type: ignore[method-assign]
    arena = Place(session, None, place / "run", "bench-00000001", "api", {})  # type: ignore[arg-type]
    for family in {BY_KEY[key].family for key in keys}:
        arena.copy(family)
    arena.found = Contenders({way.name: {} for way in WAYS if way.key in keys}, {}, {})
    arena.write = lambda *_: None  # type: ignore[method-assign]
    record = more.pop("record", None) or Store.start(place / "state", "bench-00000001", {})
    play = Instant(arena, record, Edits("api", (CODE,), (SHARED,), DEPENDENCY), rounds, cases, quick=False, **more)
    arena.play = play
    return play


def test_contenders_take_turns_and_start_in_another_order_each_round(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours", "classic", "cargo"], ["line"])
    play.play()
    measured = play.log[play.log.index("round 1 of 2") :]
    assert measured == [
        *("round 1 of 2", "ours", "classic", "cargo"),
        *("round 2 of 2", "classic", "cargo", "ours"),
    ]
    assert [s.visible for s in play.store.samples] == [True] * 6


def test_sources_differ_from_everything_built_before(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours", "compose", "classic"], ["line"], rounds=1)
    play.play()
    texts = [(play.arena.trees[family] / CODE.file).read_text() for family in ("ours", "classic")]
    assert all("// bench-" in text for text in texts)
    assert texts[0].rpartition("// ")[2] != texts[1].rpartition("// ")[2]


def test_every_case_leaves_right_programs(tmp_path: Path) -> None:
    cases = [key for key in CASE_BY_KEY if key not in ("pack", "other", "other-line")]
    play = arranged(tmp_path, ["ours", "compose", "classic", "incremental", "cargo"], cases, rounds=1)
    play.play()
    titles = {s.case for s in play.store.samples}
    assert titles == {CASE_BY_KEY[key].title for key in cases}
    assert {s.visible for s in play.store.samples if s.case != CASE_BY_KEY["cold"].title} <= {True, None}
    for family in ("ours", "classic", "cargo"):
        assert 'fnv = "=1.0.7"' in (play.arena.trees[family] / "api/Cargo.toml").read_text()
        assert '"bb"' in (play.arena.trees[family] / "Cargo.lock").read_text()


def test_a_stale_contender_is_wrong(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours", "classic"], ["line", "branch"], stale=["classic"])
    play.play()
    seen = {(s.contender, s.visible) for s in play.store.samples}
    assert seen == {(OURS, True), (CLASSIC, False)}


def test_a_contender_that_fails_is_dropped_with_cargos_reason(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours", "classic", "locked"], ["line", "shared"], broken=["classic"])
    play.play()
    assert play.store.left_out == {CLASSIC: "error: no such crate"}
    assert {s.contender for s in play.store.samples} == {OURS, LOCKED}


def test_our_own_failure_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(Problem):
        arranged(tmp_path, ["ours"], ["line"], broken=["ours"]).play()


def test_a_crate_that_is_not_available_ends_only_its_cases(tmp_path: Path) -> None:
    cases = ["line", "dependency", "bump"]
    play = arranged(tmp_path, ["ours", "compose", "classic"], cases, rounds=1, no_crate=True)
    play.play()
    titles = [CASE_BY_KEY[key].title for key in ("dependency", "bump")]
    assert play.store.left_out == dict.fromkeys(titles, "error: no such crate")
    assert {s.case for s in play.store.samples} == {CASE_BY_KEY["line"].title}
    # later cases build without it
    assert "fnv" not in (play.arena.trees["ours"] / "Cargo.lock").read_text()
    again = arranged(tmp_path / "b", ["ours", "compose", "classic"], cases, rounds=1, record=play.store, resumed=True)
    again.play()
    assert len(again.store.samples) == 3


class Switched(Place):
    """An arena that looks as the real one does."""

    right = Arena.right
    look = Arena.look
    platform = "linux/amd64"

    def _inside(self, way: Way, texts: Collection[str], platform: str) -> set[str] | None:  # noqa: ARG002
        assert self.play
        return {text for text in texts if text in self.play.programs[way.family]}


def test_the_way_back_from_a_branch_is_checked_without_earlier_edits(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours", "classic"], ["branch"], rounds=1)
    play.arena.__class__ = Switched
    real = play.build
    builds: list[str] = []

    def build(way: Way, *, every: bool = False) -> Built:
        """Build as usual, but leave the classic program as it is when the branch has been left."""
        builds.append(way.key)
        kept = play.programs.get(way.family, "")
        done = real(way, every=every)
        if way.key == "classic" and builds.count("classic") == 3:
            play.programs[way.family] = kept
        return done

    play.build = build  # type: ignore[method-assign]
    play.play()
    assert {s.contender: s.visible for s in play.store.samples} == {OURS: True, CLASSIC: False}


def test_a_resumed_run_measures_only_what_is_missing(tmp_path: Path) -> None:
    first = arranged(tmp_path / "a", ["ours", "classic"], ["cold", "line"])
    first.play()
    kept = Store.start(tmp_path / "kept", "bench-00000001", {})
    for sample in first.store.samples[:3]:
        kept.add(sample)
    again = arranged(tmp_path / "b", ["ours", "classic"], ["cold", "line"], record=kept, resumed=True)
    again.play()
    assert len(kept.samples) == len(first.store.samples)
    assert len({(s.contender, s.case, s.round) for s in kept.samples}) == len(kept.samples)
    assert kept.samples[:3] == first.store.samples[:3]


def test_long_builds_are_not_repeated_forever(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours", "classic"], ["line"], rounds=5)
    play.play()
    assert [s.contender for s in play.store.samples].count(CLASSIC) == 2
    assert [s.contender for s in play.store.samples].count(OURS) == 5


def test_nothing_changed_comes_after_a_build_of_the_same_contender(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours", "compose"], ["nothing"], rounds=1)
    play.play()
    measured = play.log[play.log.index("round 1 of 1") + 1 :]
    assert measured == ["ours all", "ours all", "compose all", "compose all"]


def test_a_fresh_clone_is_at_another_path(tmp_path: Path) -> None:
    play = arranged(tmp_path, ["ours"], ["clone"], rounds=1)
    before = play.arena.trees["ours"]
    play.play()
    assert play.arena.trees["ours"] != before
    assert not before.exists()
    assert [s.visible for s in play.store.samples] == [True]
