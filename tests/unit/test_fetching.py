"""A stalled registry is detected from BuildKit's status objects; slow registries and unpacking are not stalls."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit_tasks.builds.fetching import Fetching

IMAGE = "registry.example/team/cache@sha256:ab"
RESOLVE = {"digest": "d1", "name": f"[context pack] load metadata for {IMAGE}", "started": "1"}
FETCH = {"digest": "d2", "name": f"[context pack] {IMAGE}", "started": "2"}
STEP = {"digest": "d3", "name": "[toolchain 2/9] RUN sleep 900", "started": "2"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def layer(current: int, name: str = "sha256:cd", step: str = "d2") -> dict[str, Any]:
    return {"statuses": [{"vertex": step, "id": name, "current": current, "total": 1 << 30, "started": "2"}]}


def vertexes(*items: dict[str, Any]) -> dict[str, Any]:
    return {"vertexes": list(items)}


def stalls(*stream: dict[str, Any], every: float = 1.0, then: float = 0.0) -> bool:
    """Return whether a stall is detected, with a status at this interval and then this many seconds of silence."""
    clock = Clock()
    fetching = Fetching(IMAGE, clock, 60)
    for status in stream:
        clock.now += every
        fetching.update(status)
        if fetching.left() <= 0:
            return True
    clock.now += then
    fetching.left()
    return fetching.stalled


@pytest.mark.parametrize(
    "stream",
    [
        [vertexes(RESOLVE)],  # the first query gets no answer
        [vertexes(FETCH)],
        [vertexes(FETCH), layer(0)],
        [vertexes(FETCH), layer(1 << 20)],  # in the middle of a layer
    ],
)
def test_silence_is_a_stall(stream: list[dict[str, Any]]) -> None:
    assert not stalls(*stream, then=50)
    assert stalls(*stream, then=61)


def test_buildkit_repeats_itself_while_it_waits() -> None:
    assert stalls(vertexes(FETCH), *[layer(4096)] * 200)


@pytest.mark.parametrize(("rate", "stalled"), [(1, True), (9, True), (11, False), (100_000, False)])
def test_a_rate_below_ten_bytes_per_second_is_a_stall(rate: int, stalled: bool) -> None:
    assert stalls(vertexes(FETCH), *[layer(n * rate) for n in range(600)]) == stalled


def test_progress_in_another_layer_counts() -> None:
    both = [status for n in range(300) for status in (layer(0), layer(n * 1000, "sha256:ef"))]
    assert not stalls(vertexes(FETCH), *both)


def test_unpacking_and_other_steps_take_any_time() -> None:
    unpacking = {"statuses": [{"vertex": "d2", "id": "extracting sha256:cd", "started": "2"}]}
    assert not stalls(vertexes(FETCH), unpacking, then=900)
    assert not stalls(vertexes(STEP), layer(0, step="d3"), then=900)
    assert not stalls(vertexes(FETCH), vertexes({**FETCH, "completed": "3"}, STEP), then=900)


def test_a_stall_stays_known_after_the_command_was_stopped() -> None:
    clock = Clock()
    fetching = Fetching(IMAGE, clock, 60)
    fetching.update(vertexes(FETCH))
    clock.now += 61
    assert fetching.left() <= 0
    fetching.update(vertexes({**FETCH, "completed": "3", "error": "context canceled"}))
    assert fetching.stalled
    assert fetching.problem().code == "registry-unreachable"
