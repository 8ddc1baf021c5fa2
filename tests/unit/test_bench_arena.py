"""The benchmark's scratch trees and clean-up: what is copied, what is removed, and whether a program is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.bench import arena as arenas
from buildkit_tasks.bench.arena import Arena
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.model import Command, Result
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World

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
