"""The history file: limited in size, safe for two builds at once, and never a reason for a build to fail."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.core.model import Past, Service
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.history import store as stores
from buildkit_tasks.history import trees
from buildkit_tasks.history.cases import case_of
from buildkit_tasks.history.model import Build, Cargo, Crate, Sizes, dump, load
from buildkit_tasks.history.places import Places
from buildkit_tasks.history.store import Store
from tests.support import process
from tests.support.recorded import History, Project


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return History(tmp_path / "made").build(Project(), "/compile")


def test_a_build_is_read_as_it_was_written(build: Build) -> None:
    assert load(dump(build), build.id) == build


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 99}', "[" * 100_000])
def test_what_was_not_written_by_us_is_no_build(text: str, build: Build) -> None:
    assert load(text, 1) is None
    cut = dump(build)
    assert load(cut.replace('"steps":[{', '"steps":[{"more":1,'), 1) is None
    assert load(cut[: len(cut) // 2], 1) is None


def test_trees_texts_and_known_files(build: Build, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "d").mkdir(parents=True)
    (context / "d" / os.fsdecode(b"a\xff")).write_text("1")
    os.utime(context / "d", (1, 1))
    store = Store(tmp_path / "history.db")
    tree = trees.read(context, Ignore.parse(""), {}, store.key)
    known = trees.Known(1, 2, 3, 4, "x")
    tree = replace(tree, fresh={os.fsdecode(b"a\xff"): known, "b": known})
    assert store.add(build, {".": tree}, {"text": "some text"}) == 1
    assert store.listing(tree.root) == tree.listings[tree.root]
    assert store.text("text") == "some text"
    assert store.files(".") == tree.fresh
    store.add(build, {".": replace(tree, fresh={}, gone=("b",))}, {})
    assert list(store.files(".")) == [os.fsdecode(b"a\xff")]
    assert [b.id for b in store.builds()] == [2, 1]
    assert store.build(1) == replace(build, id=1)
    assert store.build(7) is None


def test_the_oldest_builds_go_with_all_that_only_they_need(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "KEPT", 10)
    store = Store(tmp_path / "history.db")
    context = tmp_path / "context"
    context.mkdir()
    for number in range(12):
        (context / "a").write_text(str(number))
        tree = trees.read(context, Ignore.parse(""), {}, store.key)
        record = replace(next(iter(build.inputs.trees.values())), root=tree.root, ignore="")
        made = replace(build, inputs=replace(build.inputs, trees={".": record}))
        store.add(made, {".": tree}, {tree.listings[tree.root]["a"][3]: str(number)})
    kept = [b.id for b in store.builds()]
    assert kept == list(range(12, 2, -1))
    roots = [b.inputs.trees["."].root for b in store.builds()]
    assert all(store.text(store.listing(root)["a"][3]) for root in roots)  # type: ignore[index]
    db = sqlite3.connect(tmp_path / "history.db")
    assert db.execute("select count(*) from blobs").fetchone() == (20,)


def test_the_file_stays_below_its_limit(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LARGEST", 400_000)
    store = Store(tmp_path / "history.db")
    for number in range(40):
        store.add(build, {}, {str(number): os.urandom(20_000).hex()})
    assert (tmp_path / "history.db").stat().st_size < 800_000
    assert store.builds(1)[0].id == 40


def test_durations_are_those_of_successful_builds_of_a_kind(build: Build, tmp_path: Path) -> None:
    store = Store(tmp_path / "history.db")
    assert store.past("a") == ()  # the table does not exist yet, as in files of earlier versions
    compiled = Cargo((Crate("api", "1", None, 0.0), Crate("api", "1", None, 1.0), Crate("web", "1", None, 2.0)))
    for made, kind in (
        (replace(build, seconds=3.0, cargo=compiled), "a"),
        (replace(build, seconds=250.0, cargo=replace(compiled, total=2)), "a"),
        (replace(build, outcome="failed"), "a"),
        (build, "b"),
        (build, ""),
    ):
        store.add(made, {}, {}, kind)
    assert store.past("a") == (Past(250.0, (), True), Past(3.0, ("api", "web"), False))
    assert len(store.past("b")) == 1
    assert Store(tmp_path / "history.db", write=False).past("a") == store.past("a")


def test_durations_go_with_their_builds(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "KEPT", 10)
    store = Store(tmp_path / "history.db")
    for _ in range(30):
        store.add(build, {}, {}, "a")
    with sqlite3.connect(tmp_path / "history.db") as db:
        (count,) = db.execute("select count(*) from past").fetchone()
    assert count <= 11


@pytest.mark.parametrize("table", ["past (id)", "past (seconds, crates, empty, kind, id)"])
def test_durations_that_we_did_not_write_are_none(build: Build, tmp_path: Path, table: str) -> None:
    store = Store(tmp_path / "history.db")
    with sqlite3.connect(tmp_path / "history.db") as db:
        db.execute(f"create table {table}")
        if "kind" in table:
            db.execute("insert into past values ('x', null, null, 'a', 1)")
    assert store.past("a") == ()


SIZES = Sizes(1000.0, "engine-1", "", {"target": 7, "layers": 2}, 100)


def test_sizes_are_kept_the_last_ones_of_each_minute(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.db")
    assert store.sizes() == ()  # the table does not exist yet, as in files of earlier versions
    later = replace(SIZES, taken=1019.0, total=200)
    others = [replace(later, builder="farm"), replace(SIZES, taken=1020.0), replace(SIZES, taken=900.0)]
    for sizes in (SIZES, later, *others):
        store.add_sizes(sizes)
    assert store.sizes() == (later, *others)
    assert Store(tmp_path / "history.db", write=False).sizes() == store.sizes()
    for number in range(100, 110):  # each one is less than a minute after the previous one
        store.add_sizes(replace(SIZES, taken=number * 50.0))
    assert len(store.sizes()) == 4 + 8


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "SIZES_KEPT", 10)
    store = Store(tmp_path / "history.db")
    for number in range(30):
        store.add_sizes(replace(SIZES, taken=number * 100.0))
    assert [sizes.taken for sizes in store.sizes()] == [number * 100.0 for number in range(20, 30)]


@pytest.mark.parametrize("parts", ["[]", "{", '{"a": null}', '{"a": "x"}', "7"])
def test_sizes_that_we_did_not_write_are_none(tmp_path: Path, parts: str) -> None:
    store = Store(tmp_path / "history.db")
    store.add_sizes(SIZES)
    with sqlite3.connect(tmp_path / "history.db") as db:
        db.execute("update sizes set parts = ?", (parts,))
    assert store.sizes() == ()


def test_recording_sizes_neither_creates_nor_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with pytest.raises(sqlite3.OperationalError):
        Store(path, create=False)
    assert not path.exists()
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 99")
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError):
        Store(path, create=False)
    assert path.read_bytes() == before


def test_builds_are_of_one_kind_if_they_take_equally_long(build: Build) -> None:
    other = replace(build, command="build --push ghcr.io/x --service api")
    kinds = [case_of(one) for one in (build, other, replace(build, command="build --service api"))]
    assert kinds[0] == kinds[2] != kinds[1]
    assert case_of(replace(build, inputs=replace(build.inputs, profile="dev"))) != kinds[0]


WRITER = """
import sys, time
from pathlib import Path
from buildkit_tasks.history.store import Store
from buildkit_tasks.history.model import load
text = Path(sys.argv[2]).read_text()
while not Path(sys.argv[3]).exists(): time.sleep(0.001)
for _ in range(25):
    store = Store(Path(sys.argv[1]))
    store.add(load(text, 0), {}, {"a": "b"})
    store.close()
"""


def test_two_processes_write_at_once(build: Build, tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(dump(build))
    argv: list[str | Path] = [
        sys.executable,
        "-c",
        WRITER,
        tmp_path / "history.db",
        tmp_path / "build.json",
        tmp_path / "go",
    ]
    running = [process.start(argv, tmp_path) for _ in range(2)]
    time.sleep(0.3)
    (tmp_path / "go").touch()
    said = [one.communicate(timeout=60)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    assert [b.id for b in Store(tmp_path / "history.db", write=False).builds()] == list(range(50, 0, -1))


def test_a_file_of_another_version_starts_again(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    Store(path).add(build, {}, {})
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(sqlite3.DatabaseError):
        Store(path, write=False)
    assert Store(path).builds() == []


def test_the_file_is_private(tmp_path: Path) -> None:
    Store(tmp_path / "history.db")
    assert (tmp_path / "history.db").stat().st_mode & 0o777 == 0o600


def test_a_corrupt_blob_is_a_lost_one(build: Build, tmp_path: Path) -> None:
    store = Store(tmp_path / "history.db")
    store.add(build, {}, {"a": "text"})
    with sqlite3.connect(tmp_path / "history.db") as db:
        db.execute("update blobs set data = x'00'")
        db.execute("update builds set data = x'789c'")
    assert store.text("a") is None
    assert store.builds() == []


def test_the_text_of_a_manifest_that_was_just_saved_is_kept(tmp_path: Path) -> None:
    context = tmp_path / "app"
    context.mkdir()
    (context / "Cargo.toml").write_text("[features]\nloud = []\n")
    (context / ".dockerignore").write_text("target\n")
    store = Store(tmp_path / "history.db")
    places = Places(tmp_path, store)
    places.context(Service("api", "shop/api:dev", context, context / "Dockerfile", "api"))
    assert sorted(places.texts.values()) == ["[features]\nloud = []\n", "target\n"]
    store.close()
