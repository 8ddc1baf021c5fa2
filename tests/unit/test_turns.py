"""Which slow sessions a CI run includes: changed ones, due ones, those that fit; and what a machine records."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import process, turns
from tests.support.turns import SESSIONS, TURNS, Choice, Past, Slow

NAMES = [session.name for session in SESSIONS]


def past(number: int = 0, changed: Mapping[str, tuple[str, ...]] | None = None, **rest: int) -> Past:
    return Past(number, {n: (changed or {}).get(n, ()) for n in NAMES}, {n: rest.get(n, 1) for n in NAMES})


def due(found: list[Choice]) -> list[str]:
    return [choice.session.name for choice in found if choice.due]


def test_each_has_its_turn_once_in_a_round_and_all_are_listed_in_every_run() -> None:
    for first in (0, 7, 100):
        played = [due(turns.choose(past(number))) for number in range(first, first + TURNS)]
        assert sorted(name for names in played for name in names) == sorted(NAMES)
    assert sorted(choice.session.name for choice in turns.choose(past(4))) == sorted(NAMES)


def test_those_that_are_not_due_come_last_and_the_next_turn_first() -> None:
    found = turns.choose(past(0))
    assert [choice.session.name for choice in found] == [name for first in range(TURNS) for name in NAMES[first::TURNS]]
    assert found[-1].why == f"not due for {TURNS - 1} more runs"


@pytest.mark.parametrize(
    ("session", "file", "is_due"),
    [
        ("stale", "docker/Dockerfile", True),
        ("stale", "docker-compose.yaml", False),
        ("stale", "README.md", False),
        ("builders", "tests/support/buildkit_nodes.py", True),
        ("builders", "tests/support/old_engine.py", False),
        ("degraded", "tests/support/process.py", True),
    ],
)
def test_a_change_of_what_it_covers_makes_a_session_due_first(session: str, file: str, is_due: bool) -> None:
    number = next(n for n in range(TURNS) if session not in due(turns.choose(past(n))))
    found = turns.choose(past(number, {session: (file, "README.md")}))
    assert (session in due(found)) is is_due
    if is_due:
        assert (found[0].session.name, found[0].why) == (session, f"{file} changed")


def test_one_that_a_kept_machine_has_not_played_for_a_round_is_due() -> None:
    for rest, is_due in ((TURNS - 1, False), (TURNS, True)):
        number = next(n for n in range(TURNS) if "travel" not in due(turns.choose(past(n))))
        assert ("travel" in due(turns.choose(past(number, travel=rest)))) is is_due


@pytest.mark.parametrize(
    ("is_due", "used", "room"), [(False, 39, True), (False, 41, False), (True, 39, True), (True, 41, False)]
)
def test_a_session_starts_only_where_its_time_is_left(is_due: bool, used: float, room: bool) -> None:
    assert turns.fits(Choice(Slow("ten", 10, ()), is_due, ""), used) is room


def test_all_that_can_be_due_at_once_fits_beside_the_longest_promised_run() -> None:
    """CONTRIBUTING promises `./dev nox` in 35 minutes on a bare machine."""
    largest = max(sum(c.session.minutes for c in turns.choose(past(n)) if c.due) for n in range(TURNS))
    assert 35 + largest <= turns.AT_MOST < turns.LATEST < 90


def test_what_sessions_cover_exists_and_so_do_they() -> None:
    for session in SESSIONS:
        for path in (*turns.EVERYBODY, *session.covers):
            assert (turns.REPOSITORY / path).exists(), f"{session.name} covers {path}"
    listed = process.ok([process.BIN / "nox", "--list"], turns.REPOSITORY).out
    for name in (n for session in SESSIONS for n in session.sessions or (session.name,)):
        assert re.search(rf"^[*-] {re.escape(name)}\b", listed, re.MULTILINE), name


class Repository:
    """A repository with commits that change one file each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q", "-b", "main")
        self.commit("first")

    def git(self, *argv: str) -> str:
        me = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return process.ok(["git", *me, *argv], self.root).out.strip()

    def commit(self, name: str) -> str:
        (self.root / name).write_text(name)
        self.git("add", name)
        self.git("commit", "-q", "-m", name)
        return self.git("rev-parse", "HEAD")

    def past(self) -> Past:
        return turns.look(self.root, self.root / ".git/turns.json", [Slow("a", 1, ()), Slow("b", 1, ())])


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_the_turn_is_the_number_of_landings(repository: Repository) -> None:
    assert repository.past().number == 1
    repository.git("checkout", "-q", "-b", "side")
    for name in ("x", "y", "z"):
        repository.commit(name)
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "land", "side")
    found = repository.past()
    assert found.number == 2
    assert found.changed["a"] == ["x", "y", "z"]


def test_what_landed_without_a_merge_is_the_last_commits_and_all_where_the_history_is_short(
    repository: Repository,
) -> None:
    repository.commit("second")
    assert repository.past().changed["a"] == ["first", "second"]
    for number in range(turns.LANDING):
        repository.commit(f"file{number}")
    assert repository.past().changed["a"] == [f"file{number}" for number in range(turns.LANDING)]


def test_a_kept_machine_knows_what_changed_since_a_session_passed(repository: Repository) -> None:
    memory = repository.root / ".git/turns.json"
    repository.commit("old")
    turns.remember(memory, repository.root, ["a"])
    repository.commit("new")
    turns.remember(memory, repository.root, [])
    found = repository.past()
    assert found.changed == {"a": ["new"], "b": ["first", "new", "old"]}
    assert found.rest == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", '{"runs": "x", "played": {}}', '{"runs": 1, "played": []}'),
        *('{"runs": 1, "played": {"a": 3}}', '{"runs": 1, "played": {"a": [1]}}', "\xff"),
        json.dumps({"runs": 0, "played": {"a": [0, "--output=/tmp/x"]}}),
        json.dumps({"runs": 0, "played": {"a": [0, "0" * 40]}}),
    ],
)
def test_a_bad_memory_is_no_memory(repository: Repository, text: str) -> None:
    (repository.root / ".git/turns.json").write_text(text, "latin-1")
    assert repository.past() == Past(1, {"a": ["first"], "b": ["first"]}, {"a": 1, "b": 1})


def test_outside_a_repository_everything_counts_as_its_first_turn(tmp_path: Path) -> None:
    assert turns.look(tmp_path, tmp_path / "turns.json", [Slow("a", 1, ())]).number == 0


def play(folder: Path, nox: str, minutes_ago: float, proven: str = "yes") -> process.Done:
    """Run all slow sessions of a run that began this long ago, with a script instead of nox."""
    (folder / "bin").mkdir()
    (folder / "bin/nox").write_text(f"#!/bin/sh\necho nox $*\n{nox}\n")
    (folder / "bin/nox").chmod(0o755)
    env: dict[str, str | None] = {"HOME": str(folder), "PATH": f"{folder}/bin:/usr/bin:/bin"}
    words = ["-m", "tests.support.turns", "--began", str(time.time() - minutes_ago * 60), "--proven", proven]
    return process.run([sys.executable, *words], turns.REPOSITORY, env)


def test_a_run_plays_all_that_fits_and_remembers_what_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BIN", tmp_path / "bin")
    done = play(tmp_path, "true", 0)
    assert done.code == 0, done.all
    for session in SESSIONS:
        assert " ".join(session.argv) in done.out
        assert f"turn: passed {session.name} (about" in done.out
    assert turns.remembered(tmp_path / ".cache/buildkit-tasks-tests/turns.json")[1].keys() == {*NAMES}


def test_a_run_that_plays_the_whole_never_stale_matrix_plays_no_other_slow_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "BIN", tmp_path / "bin")
    done = play(tmp_path, "exit 1", 0, proven="no")
    assert done.code == 0, done.all
    assert done.out.startswith("turn: no other slow session")
    assert "nox" not in done.out


def test_one_that_fails_fails_the_run_and_the_others_are_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "BIN", tmp_path / "bin")
    done = play(tmp_path, 'case "$*" in *builders*) exit 3; esac', 0)
    assert done.code == 1
    assert "turn: FAILED builders" in done.out
    assert "turn: passed degraded" in done.out
    assert "builders" not in turns.remembered(tmp_path / ".cache/buildkit-tasks-tests/turns.json")[1]


def test_where_no_time_is_left_nothing_is_played_and_what_was_due_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "BIN", tmp_path / "bin")
    done = play(tmp_path, "exit 1", 80)
    assert (done.code, "nox" in done.out.splitlines()[0]) == (0, False)
    assert done.out.count("turn: skip") == len(SESSIONS)
    assert done.out.count("but NO TIME IS LEFT") >= len(SESSIONS) // TURNS


def test_what_takes_too_long_is_interrupted_with_all_it_started(tmp_path: Path) -> None:
    script = f"trap 'echo over > {tmp_path}/said; exit 1' INT; sleep 50 & wait"
    assert turns.play(["sh", "-c", script], 0.1) == 124
    assert (tmp_path / "said").read_text() == "over\n"
