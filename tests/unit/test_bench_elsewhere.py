"""The benchmark's cases for another processor: a first build is never measured as one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from buildkit_tasks.bench import elsewhere, timed
from buildkit_tasks.bench.timed import Built
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.samples.catalogue import CASE_BY_KEY, OURS
from buildkit_tasks.samples.figures import Sample
from tests.unit.test_bench_play import CODE, Instant, arranged

OTHER, LINE = CASE_BY_KEY["other"].title, CASE_BY_KEY["other-line"].title


def played(place: Path, monkeypatch: pytest.MonkeyPatch, cases: list[str], *stored: str, fails: bool = False) -> Any:
    """Play these cases, with samples of the cases in `stored`. Each build takes a second longer than the one before."""
    play: Instant = arranged(place, ["ours"], cases)
    play.arena.project = SimpleNamespace(engine=SimpleNamespace(arch="amd64"))  # type: ignore[assignment]
    play.code = CODE
    for case in stored:
        play.store.add(Sample(OURS, case, 0, 99.0))
    built: list[str] = []

    def build(*_: Any, platform: str = "", **__: Any) -> Built:
        built.append(platform)
        if fails:
            raise Problem("bench-failed", "no", details="error: no linker")
        return Built(float(len(built)))

    monkeypatch.setattr(timed, "build", build)
    monkeypatch.setattr(type(play.arena), "right", lambda *_, **__: True)
    elsewhere.other_processor(play)
    return play.store, built


def seconds(store: Any, case: str) -> list[float]:
    return [s.seconds for s in store.samples if s.case == case]


def test_without_a_first_build_one_is_made_that_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, built = played(tmp_path, monkeypatch, ["other-line"])
    assert seconds(store, LINE) == [2.0, 3.0]
    assert built == ["linux/arm64"] * 3


def test_a_resumed_run_builds_again_before_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = played(tmp_path, monkeypatch, ["other", "other-line"], OTHER)
    assert seconds(store, LINE) == [2.0, 3.0]


def test_the_measured_first_build_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = played(tmp_path, monkeypatch, ["other", "other-line"])
    assert (seconds(store, OTHER), seconds(store, LINE)) == ([1.0], [2.0, 3.0])


@pytest.mark.parametrize("cases", [["other-line"], ["other", "other-line"]])
def test_what_cannot_be_built_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: list[str]) -> None:
    store, built = played(tmp_path, monkeypatch, cases, fails=True)
    assert store.left_out == {CASE_BY_KEY[key].title: "error: no linker" for key in cases}
    assert len(built) == 1
