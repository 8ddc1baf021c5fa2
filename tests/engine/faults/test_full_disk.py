"""Full disks in the directories that we write to: one error that mentions it, and no data loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.faults.conftest import ENDINGS, Findings, Range
from tests.engine.faults.trees import adoptable, changes, tree
from tests.support import process

pytestmark = [pytest.mark.engine, pytest.mark.slow]

#: Free bytes: none, one page, or enough for some of the files.
SPACE = (0, 4096, 20_000, 60_000)


@contextmanager
def small(place: Path, size: int = 400_000) -> Iterator[Path]:
    """Mount a file system of this size; needs root."""
    place.mkdir(parents=True)
    process.ok(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], place.parent)
    try:
        yield place
    finally:
        process.ok(["umount", "-l", str(place)], place.parent)


def fill(place: Path, left: int) -> None:
    """Leave this many bytes free."""
    with (place / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, (place / "filler").stat().st_size - left))


def _ending(done: process.Done) -> Findings:
    bad = done.code not in ENDINGS or "Traceback" in done.all
    return [("rough", f"code {done.code}: {done.all[-1200:]}")] if bad else []


@pytest.mark.parametrize("space", SPACE)
def test_state(place: Range, tmp_path: Path, space: int) -> None:
    """The disk with state and history: the build is correct, or prints an error and is correct once there is space."""
    fault = "the disk with state is full"
    with small(tmp_path / "disk") as disk:
        fill(disk, space)
        place.edit()
        env = {"XDG_STATE_HOME": str(disk / "state")}
        first = place.invoke("build", **env)
        found = _ending(first)
        if first.code == 0:
            found += place.built(**env)
        elif "No space left" not in first.err:
            found.append(("rough", first.err[-800:]))
        (disk / "filler").unlink()
        found += place.built(**env)
        place.tally.count(fault, hit=True, findings=found)
    place.agreed(fault)


@pytest.mark.parametrize("space", SPACE)
def test_temporary_files(place: Range, tmp_path: Path, space: int) -> None:
    fault = "the disk with temporary files is full"
    with small(tmp_path / "disk") as disk:
        fill(disk, space)
        place.edit()
        first = place.invoke("build", TMPDIR=str(disk))
        found = _ending(first)
        (disk / "filler").unlink()
        found += place.built(TMPDIR=str(disk))
        place.tally.count(fault, hit=first.code != 0, findings=found)
    place.agreed(fault)


@pytest.mark.parametrize("space", SPACE)
def test_a_repository(place: Range, tmp_path: Path, space: int) -> None:
    """`init` and `dotenv` if the disk with the repository is full: `--undo` restores the repository."""
    fault = "the disk with the repository is full"
    program = process.BIN / "buildkit-tasks"
    with small(tmp_path / "disk") as disk:
        root = adoptable(disk)
        before = tree(root)
        fill(disk, space)
        found: Findings = []
        for words in (["init", "--yes"], ["init", "--undo", "--yes"], ["dotenv"]):
            found += _ending(process.run([program, *words], root, place.env))
        if tree(root) != before:
            found.append(("lost", f"it changes {changes(root, before)}"))
        (disk / "filler").unlink()
        for words in (["init", "--yes"], ["init", "--undo", "--yes"]):
            done = process.run([program, *words], root, place.env)
            if done.code != 0:
                found.append(("lost", f"{words} then ends with {done.code}: {done.err[-600:]}"))
        if tree(root) != before:
            found.append(("lost", f"--undo leaves {changes(root, before)}"))
        place.tally.count(fault, hit=True, findings=found)
    place.agreed(fault)
