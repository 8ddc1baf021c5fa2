"""The benchmark's scratch trees and clean-up: what is copied, what is removed, and whether a program is right."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from buildkit_tasks.bench import arena as arenas
from buildkit_tasks.bench import copies, inside
from buildkit_tasks.bench.arena import Arena
from buildkit_tasks.bench.contenders import Contenders
from buildkit_tasks.bench.edits import Edit
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Result
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.images import container as image_container
from buildkit_tasks.samples.catalogue import BY_NAME, CLASSIC

NAME = "bench-00000001"


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    root = tmp_path / "shop"
    root.mkdir()
    world = World({}, root, tmp_path)
    session = Session(world, Report(world, json_only=True))
    session.__dict__["root"] = root
    return Arena(session, None, tmp_path / "run", NAME, "api", {})  # type: ignore[arg-type]


def answering(monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> list[str]:
    """Answer docker's commands by a part of their text; return all that are run."""
    calls: list[str] = []

    def capture(_: World, command: Command, **__: object) -> Result:
        calls.append(" ".join(command.argv))
        return Result(command, 0, next((out for part, out in answers.items() if part in calls[-1]), ""), "", 0.0)

    monkeypatch.setattr(run, "capture", capture)
    return calls


@pytest.mark.parametrize("name", ["", "bench-", "bench-1", "bench-00000001-x", "x", "*", "bench-0000000g"])
def test_only_a_runs_own_name_is_removed(arena: Arena, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    calls = answering(monkeypatch, {})
    with pytest.raises(ValueError, match="is not the name"):
        arenas.remove(arena.session, name)
    assert calls == []


def test_containers_of_a_killed_run_are_removed_first(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = answering(monkeypatch, {"ps --all": f"{NAME}-cargo-0\n{NAME}-look-ab\n"})
    arenas.remove(arena.session, NAME)
    removed = next(i for i, call in enumerate(calls) if f"rm --force --volumes {NAME}-cargo-0 {NAME}-look-ab" in call)
    assert removed < next(i for i, call in enumerate(calls) if "volume rm" in call)


# ---- whether a program is right

CODE, SHARED, WAY = Edit("a.rs", "said by a"), Edit("b.rs", "said by b"), BY_NAME[CLASSIC]


def showing(arena: Arena, monkeypatch: pytest.MonkeyPatch, *texts: str | None) -> None:
    """Let programs contain these texts; None: they cannot be read."""
    arena.found = Contenders({CLASSIC: {}}, {}, {})
    arena.project = SimpleNamespace(engine=SimpleNamespace(os="linux", arch="amd64"))  # type: ignore[assignment]

    def containing(*words: object) -> set[str] | None:
        wanted = words[-1]
        assert isinstance(wanted, (set, frozenset))
        return None if None in texts else {text for text in texts if text and text in wanted}

    monkeypatch.setattr(inside, "containing", containing)


def test_an_edit_whose_text_a_packed_program_hides_is_not_checked(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    showing(arena, monkeypatch)
    arena.look(WAY, [CODE, SHARED])
    arena.markers["classic"] = {CODE: "bench-1", SHARED: "bench-2"}
    assert arena.right(WAY) is None
    assert arena.right(WAY, ["bench-0"]) is None


def test_other_edits_are_still_checked(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    showing(arena, monkeypatch, CODE.text)
    arena.look(WAY, [CODE, SHARED])
    arena.markers["classic"] = {CODE: "bench-1", SHARED: "bench-2"}
    assert arena.right(WAY) is False
    showing(arena, monkeypatch, "bench-1")
    assert arena.right(WAY) is True


def test_a_program_that_cannot_be_read_is_not_wrong(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    showing(arena, monkeypatch, None)
    arena.look(WAY, [CODE])
    arena.markers["classic"] = {CODE: "bench-1"}
    assert arena.right(WAY) is None
    assert arena.hidden[CLASSIC] == ()


@pytest.mark.parametrize(("created", "exported", "found"), [(1, 0, None), (0, 1, None), (0, 0, set())])
def test_an_image_that_cannot_be_read_contains_nothing_known(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, created: int, exported: int, found: set[str] | None
) -> None:
    calls = answering(monkeypatch, {})
    names: list[str] = []

    def create(_: Session, name: str, *__: str) -> Result:
        names.append(name)
        return Result(Command((), arena.folder), created, "", "", 0.0)

    monkeypatch.setattr(image_container, "create", create)
    monkeypatch.setattr(run, "follow", lambda *_, **__: exported)
    assert inside.containing(arena.session, NAME, "image", "linux/amd64", {"text"}) == found
    assert names[0].startswith(f"{NAME}-look-")  # so that it is removed after a kill
    assert len(calls) == (0 if created else 1)


def test_the_way_back_is_checked_without_edits(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    showing(arena, monkeypatch, "bench-1")
    assert arena.right(WAY, ["bench-1"]) is None  # nothing was edited
    arena.markers["classic"] = {CODE: ""}
    assert arena.right(WAY, ["bench-1"]) is False
    assert arena.right(WAY, ["bench-2"]) is True
    assert arena.right(WAY) is None


# ---- scratch trees


def test_a_copy_has_all_sources_and_nothing_that_was_built(arena: Arena) -> None:
    root = arena.session.root
    kept = ("src/target/mod.rs", "Cargo.toml", "api/Cargo.toml")
    for name in (*kept, "target/x.o", "api/target/x.o", "built/target/x.o", "built/target/CACHEDIR.TAG", ".git/HEAD"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text")
    os.mkfifo(root / "fifo")
    (root / "gone").symlink_to("nowhere")
    short = Path(f"/tmp/bench-{os.getpid()}")  # a socket's path must be short
    short.symlink_to(root)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(short / "socket"))
    finally:
        short.unlink()
    arena.copy("ours")
    tree = arena.trees["ours"]
    assert {str(p.relative_to(tree)) for p in tree.rglob("*") if not p.is_dir()} == {*kept, "gone"}
    assert copies.size(root) == 4 * len(kept) + len("nowhere")
    arena.copy("ours")
    assert (arena.trees["ours"] / "src/target/mod.rs").is_file()


def test_what_cannot_be_copied_is_an_error_with_its_cause(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    (arena.session.root / "a").write_text("text")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "copy", refuse)
    with pytest.raises(Problem) as caught:
        arena.copy("ours")
    assert caught.value.code == "bench-failed"
    assert "Permission denied" in caught.value.message
