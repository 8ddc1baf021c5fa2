"""Atomic replacement of files, and locks, with real processes and real files."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from buildkit_tasks.core import files
from tests.support import process

HOLD = """
import sys, time
from pathlib import Path
from buildkit_tasks.core import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_new_file_gets_what_the_umask_leaves_or_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        files.replace(tmp_path / "a", "text")
        files.replace(tmp_path / "b", b"\xff", mode=0o600)
    finally:
        os.umask(mask)
    assert (_mode(tmp_path / "a"), _mode(tmp_path / "b")) == (0o640, 0o600)
    assert (tmp_path / "b").read_bytes() == b"\xff"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_link_stays_a_link_and_the_mode_of_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o751)
    (tmp_path / "link").symlink_to("real")
    files.replace(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert _mode(tmp_path / "real") == 0o751


def test_text_that_is_not_utf8_comes_back_byte_by_byte(tmp_path: Path) -> None:
    files.replace(tmp_path / "a", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert (tmp_path / "a").read_bytes() == b"caf\xe9"


def test_nothing_is_written_if_the_last_check_fails(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        files.replace(tmp_path / "a", "new", last_check=fail)
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f".a{files.UNFINISHED}x").write_text("half")
    (tmp_path / ".a.backup").write_text("the user's")
    files.remove_unfinished(tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == [".a.backup"]


@pytest.mark.parametrize("place", ["lock", "."])
def test_a_held_lock_is_reported_and_waited_for_only_so_long(tmp_path: Path, place: str) -> None:
    said: list[str] = []
    argv = [sys.executable, "-c", HOLD, str(tmp_path / place), "60"]
    with process.start(argv, tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            with (
                pytest.raises(TimeoutError),
                files.locked(tmp_path / place, lambda: said.append("waiting"), patience=files.REPORT_AFTER + 0.2),
            ):
                pytest.fail("the lock is held by another process")
        finally:
            other.kill()
    assert said == ["waiting"]
    began = time.monotonic()
    with files.locked(tmp_path / place, patience=30.0):  # the kernel released it
        assert time.monotonic() - began < 20


def test_a_wait_without_a_limit_is_reported_once_and_ends_with_the_other_process(tmp_path: Path) -> None:
    said: list[str] = []
    argv = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), str(files.REPORT_AFTER + 1)]
    with process.start(argv, tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with files.locked(tmp_path / "lock", lambda: said.append("waiting")):
            assert said == ["waiting"]
            other.wait(10)


def test_a_file_that_is_written_piece_by_piece_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "dump"
    with files.written(place, mode=0o600) as file:
        file.write(b"a")
        assert not place.exists()
    assert place.read_bytes() == b"a"
    assert place.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TypeError), files.written(place, mode=0o600) as file:
        file.writelines([b"b", "not bytes"])  # type: ignore[list-item]
    assert [p.name for p in tmp_path.iterdir()] == ["dump"]
    assert place.read_bytes() == b"a"


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, linked: bool) -> None:
    """Otherwise, root could replace /dev/zero for every program on the machine."""
    device, path = tmp_path / "device", tmp_path / "path"
    os.mkfifo(device)
    if linked:
        path.symlink_to(device.name)
    target = path if linked else device
    with pytest.raises(OSError, match="it is a FIFO"):
        files.replace(target, "x")
    with pytest.raises(OSError, match="it is a FIFO"), files.written(target, mode=0o600):
        raise AssertionError("not reached")
    assert device.is_fifo()
    assert [p for p in tmp_path.iterdir() if "buildkit-tasks" in p.name] == []
