"""The guard uses a new name exactly when BuildKit could confuse a changed file with the one it has."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from buildkit_tasks.builds import transfer

OLD = 1_000_000_000_000_000_000  # ns: 2001, certainly not the present


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A small context with files of the same size and time."""
    root = tmp_path / "one" / "app"
    for name in ("services/a.rs", "services/b.rs", "docs/read.md"):
        _write(root / name, "aaaa")
    (root / ".dockerignore").write_text("*\n!services\n")
    (root / "Dockerfile").write_text("FROM scratch\n")
    return root


def _write(path: Path, text: str, mtime_ns: int = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def _record(state: Path) -> Path:
    (record,) = (state / "transfer").glob("*.json")
    return record


def test_unchanged_tree_keeps_its_name(context: Path, tmp_path: Path) -> None:
    first = transfer.guard(context, tmp_path / "state")
    assert transfer.guard(context, tmp_path / "state") == first
    assert first.is_symlink()
    assert first.resolve() == context
    assert (first / ".dockerignore").is_file()


def _plain_edit(root: Path) -> None:
    (root / "services/a.rs").write_text("bbbbb")


def _touch(root: Path) -> None:
    (root / "services/a.rs").touch()


def _mode(root: Path) -> None:
    (root / "services/a.rs").chmod(0o755)


def _add_and_delete(root: Path) -> None:
    _write(root / "services/c.rs", "cccc")
    (root / "services/b.rs").unlink()


def _nothing_seen_before(root: Path) -> None:
    _write(root / "services/a.rs", "bbbb", OLD + 1)


@pytest.mark.parametrize("change", [_plain_edit, _touch, _mode, _add_and_delete, _nothing_seen_before])
def test_changes_that_buildkit_sees_keep_the_name(
    change: Callable[[Path], None], context: Path, tmp_path: Path
) -> None:
    first = transfer.guard(context, tmp_path / "state")
    change(context)
    assert transfer.guard(context, tmp_path / "state") == first


def _same_size_and_time(root: Path) -> None:
    _write(root / "services/a.rs", "bbbb")


def _replaced(root: Path) -> None:
    _write(root / "services/new", "bbbb")
    (root / "services/new").replace(root / "services/a.rs")


def _exchanged(root: Path) -> None:
    (root / "services/a.rs").rename(root / "services/x")
    (root / "services/b.rs").rename(root / "services/a.rs")
    (root / "services/x").rename(root / "services/b.rs")


@pytest.mark.parametrize("change", [_same_size_and_time, _replaced, _exchanged])
def test_changes_that_buildkit_misses_take_a_new_name(
    change: Callable[[Path], None], context: Path, tmp_path: Path
) -> None:
    first = transfer.guard(context, tmp_path / "state")
    change(context)
    second = transfer.guard(context, tmp_path / "state")
    assert second != first
    assert second.resolve() == context
    assert transfer.guard(context, tmp_path / "state") == second


def test_an_old_look_comes_back_with_another_content(context: Path, tmp_path: Path) -> None:
    """A transfer does not always follow a guard: the daemon may still have a state from long ago."""
    file = context / "services/a.rs"
    first = transfer.guard(context, tmp_path / "state")
    _write(file, "bbbbb", OLD + 1)
    assert transfer.guard(context, tmp_path / "state") == first
    _write(file, "cccc", OLD)
    assert transfer.guard(context, tmp_path / "state") != first


def test_a_deleted_file_comes_back_with_another_content(context: Path, tmp_path: Path) -> None:
    file = context / "services/a.rs"
    first = transfer.guard(context, tmp_path / "state")
    file.unlink()
    assert transfer.guard(context, tmp_path / "state") == first
    _write(file, "cccc", OLD)
    assert transfer.guard(context, tmp_path / "state") != first


def test_two_checkouts_of_one_name_share_nothing(context: Path, tmp_path: Path) -> None:
    other = tmp_path / "two" / "app"
    _write(other / "services/a.rs", "bbbb")
    names = {transfer.guard(root, tmp_path / "state").name for root in (context, other)}
    assert len(names) == 2


def test_the_users_files_are_not_touched(context: Path, tmp_path: Path) -> None:
    def facts() -> list[tuple[str, os.stat_result]]:
        return [(str(p), p.lstat()) for p in sorted(context.rglob("*"))]

    before = facts()
    transfer.guard(context, tmp_path / "state")
    _same_size_and_time(context)
    changed = facts()
    transfer.guard(context, tmp_path / "state")
    assert changed == facts()
    assert [p for p, _ in before] == [p for p, _ in changed]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 99}', '{"version": 1, "surprise": 1}'])
def test_lost_or_damaged_state_means_a_new_name(damage: str, context: Path, tmp_path: Path) -> None:
    first = transfer.guard(context, tmp_path / "state")
    _record(tmp_path / "state").write_text(damage)
    second = transfer.guard(context, tmp_path / "state")
    assert second != first
    assert transfer.guard(context, tmp_path / "state") == second


def test_a_lost_link_is_made_again(context: Path, tmp_path: Path) -> None:
    first = transfer.guard(context, tmp_path / "state")
    first.unlink()
    assert transfer.guard(context, tmp_path / "state") == first
    assert first.resolve() == context


def test_old_links_go_after_an_hour(context: Path, tmp_path: Path) -> None:
    first = transfer.guard(context, tmp_path / "state")
    _same_size_and_time(context)
    second = transfer.guard(context, tmp_path / "state")
    assert first.is_symlink()  # a build that started earlier may still read through it
    content = json.loads(_record(tmp_path / "state").read_text())
    content["retired"] = dict.fromkeys(content["retired"], 1.0)
    _record(tmp_path / "state").write_text(json.dumps(content))
    assert transfer.guard(context, tmp_path / "state") == second
    assert not first.is_symlink()


def test_with_the_dockerfile_known_only_what_is_sent_counts(context: Path, tmp_path: Path) -> None:
    dockerfiles = (context / "Dockerfile",)
    first = transfer.guard(context, tmp_path / "state", dockerfiles)
    _write(context / "docs/read.md", "bbbb")
    assert transfer.guard(context, tmp_path / "state", dockerfiles) == first
    # another Dockerfile does not exclude the docs
    (context / "Docs.Dockerfile").write_text("FROM scratch\n")
    (context / "Docs.Dockerfile.dockerignore").write_text("services\n")
    both = (*dockerfiles, context / "Docs.Dockerfile")
    assert transfer.guard(context, tmp_path / "state", both) == first
    _write(context / "docs/read.md", "cccc")
    assert transfer.guard(context, tmp_path / "state", both) != first


def test_a_history_that_outgrows_the_tree_begins_anew(context: Path, tmp_path: Path) -> None:
    first = transfer.guard(context, tmp_path / "state")
    content = json.loads(_record(tmp_path / "state").read_text())
    content["files"]["services/a.rs"].update({f"{size} 1 33188": [1, 1] for size in range(2000)})
    _record(tmp_path / "state").write_text(json.dumps(content))
    assert transfer.guard(context, tmp_path / "state") != first
    assert len(_record(tmp_path / "state").read_bytes()) < 2000


def test_names_that_are_not_utf8(context: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"services/caf\xe9\n.rs")
    _write(context / name, "aaaa")
    first = transfer.guard(context, tmp_path / "state")
    assert transfer.guard(context, tmp_path / "state") == first
    _write(context / name, "bbbb")
    assert transfer.guard(context, tmp_path / "state") != first


def test_many_builds_at_once_agree(context: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ProcessPoolExecutor(8) as pool:
        first = set(pool.map(transfer.guard, [context] * 24, [state] * 24))
        _same_size_and_time(context)
        second = set(pool.map(transfer.guard, [context] * 24, [state] * 24))
    assert len(first) == len(second) == 1
    assert first != second
    assert {p.suffix for p in (state / "transfer").iterdir() if not p.is_symlink()} == {".json", ".lock"}
