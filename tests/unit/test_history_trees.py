"""The state of a build context: differences between two states are found, and nothing is read twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.history import trees
from buildkit_tasks.history.trees import Known

KEY = b"key"
NAMES = st.sampled_from(["a", "b", "d/a", "d/e/f", "d/e/g", "h"])
FILES = st.dictionaries(NAMES, st.sampled_from(["1", "2", "-> a", "-> b", "x1"]))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)
            path.chmod(0o755 if text.startswith("x") else 0o644)
    root.mkdir(exist_ok=True)
    return root


def read(root: Path, known: dict[str, Known] | None = None, ignore: str = "") -> trees.Tree:
    return trees.read(root, Ignore.parse(ignore), known or {}, KEY)


def differences(before: trees.Tree, now: trees.Tree) -> dict[str, str]:
    both = {**before.listings, **now.listings}
    found = trees.changes({"": ["d", 0, before.root]}, {"": ["d", 0, now.root]}, both.get)
    return {change.path: change.how for change in found}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=FILES, other=FILES)
def test_every_difference_is_found_and_no_other(one: dict[str, str], other: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / str(time.monotonic_ns())
    place.mkdir()
    before, now = (read(write(place / name, files)) for name, files in (("one", one), ("other", other)))
    found = differences(before, now)
    expected = {name for name in {*one, *other} if one.get(name) != other.get(name)}
    assert {name for name in found if name in {*one, *other}} == expected
    assert (before.root == now.root) == (not expected)
    for name, how in found.items():
        assert how == {(True, False): "added", (False, True): "removed"}.get((name not in one, name not in other), how)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda path: path.chmod(0o755), "mode"),
        (lambda path: path.write_text("2"), "changed"),
        (lambda path: (path.unlink(), path.symlink_to("b")), "kind"),
        (lambda path: os.utime(path, (1, 1)), None),
    ],
)
def test_what_happened_to_a_file(change: object, how: str | None, tmp_path: Path) -> None:
    root = write(tmp_path / "x", {"d/a": "1"})
    before = read(root)
    change(root / "d/a")  # type: ignore[operator]
    assert differences(before, read(root)) == ({"d/a": how} if how else {})


def test_files_are_read_once(tmp_path: Path) -> None:
    root = write(tmp_path / "x", {"a": "1", "b": "2"})
    time.sleep(2.1)  # the contents of newer files may change without a new time
    first = read(root)
    assert sorted(first.fresh) == ["a", "b"]
    (root / "b").unlink()
    (root / "a").chmod(0o600)
    second = read(root, dict(first.fresh))
    assert second.gone == ("b",)
    assert read(root, dict(first.fresh)).root == second.root
    forged = {"a": Known(**{**vars(first.fresh["a"]), "ctime": (root / "a").stat().st_ctime_ns, "digest": "forged"})}
    assert read(root, forged).root != second.root  # known files are not read again


def test_a_young_file_is_read_again(tmp_path: Path) -> None:
    assert read(write(tmp_path / "x", {"a": "1"})).fresh == {}


def test_too_large_a_context_is_recognized_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "x", {"a": "1" * 100})
    monkeypatch.setattr(trees, "READ_AT_MOST", 50)
    before = read(root)
    assert before.root == read(root).root
    (root / "a").write_text("2" * 100)
    assert differences(before, read(root)) == {"a": "changed"}


def test_ignored_files_and_directories_left_empty(tmp_path: Path) -> None:
    files = {"a.md": "1", "d/b.md": "1", "d/e/c.txt": "1"}
    root = write(tmp_path / "x", files)
    tree = read(root, ignore="**/*.md\n")
    assert differences(read(root), tree) == {"a.md": "removed", "d/b.md": "removed"}
    (root / "d/e/c.txt").unlink()
    assert differences(tree, read(root, ignore="**/*.md\n")) == {"d/e/c.txt": "removed"}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), {""}),
        (("a",), {"a"}),
        (("*",), {"a", "b", "d"}),
        (("d/e/*", "x*"), {"d/e/f", "d/e/g"}),
        (("?",), {"a", "b", "d"}),
        (("d/[e]/f",), {"d/e/f"}),
        (("nothing", "a/b"), set()),
    ],
)
def test_what_copy_selects(patterns: tuple[str, ...], expected: set[str], tmp_path: Path) -> None:
    tree = read(write(tmp_path / "x", {"a": "1", "b": "1", "d/e/f": "1", "d/e/g": "1"}))
    assert set(trees.select(tree.root, tree.listings.get, patterns)) == expected


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = tmp_path / "x"
    root.mkdir()
    (root / os.fsdecode(b"\xff")).write_text("1")
    before = read(root)
    (root / os.fsdecode(b"\xff")).write_text("2")
    assert differences(before, read(root)) == {os.fsdecode(b"\xff"): "changed"}
