"""The conversion of progress messages, and its decoder."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.core.model import Step
from buildkit_tasks.core.progress import Decoder, Progress, Vertex

OBJECTS = [
    {"vertexes": [{"digest": "a", "name": "[api 1/2] RUN x", "started": "2026-01-01T00:00:00.123456789Z"}]},
    {"logs": [{"vertex": "a", "data": base64.b64encode("   Compiling sérde v1.0.0\n".encode()).decode()}]},
    {"vertexes": [{"digest": "a", "name": "[api 1/2] RUN x", "completed": "2026-01-01T00:00:01.623456789Z"}]},
]


@given(st.lists(st.integers(1, 400), max_size=30), st.sampled_from([None, 2]))
def test_objects_come_out_whole_however_the_chunks_fall(cuts: list[int], indent: int | None) -> None:
    data = "\n".join(json.dumps(o, indent=indent) for o in OBJECTS).encode() + b"\nERROR: no json\n"
    decoder, found, at = Decoder(), [], 0
    for cut in [*cuts, len(data)]:
        found += list(decoder.feed(data[at : at + cut]))
        at += cut
    assert found == OBJECTS
    assert decoder.close() == "ERROR: no json"


def fold(*objects: dict[str, Any]) -> Progress:
    progress = Progress()
    for item in objects:
        progress.update(item)
    return progress


def test_steps_have_seconds_and_crates_have_names() -> None:
    progress = fold(*OBJECTS)
    assert progress.compiled == ["sérde"]
    assert [(s.name, s.cached, s.seconds) for s in progress.steps()] == [("[api 1/2] RUN x", False, 1.5)]


def test_a_canceled_neighbor_is_not_the_culprit() -> None:
    progress = fold(
        {"vertexes": [{"digest": "n", "name": "[b] RUN", "error": "process did not complete: context canceled"}]},
        {"vertexes": [{"digest": "c", "name": "[a] RUN", "error": "exit code: 101"}]},
    )
    failed = progress.failed()
    assert failed is not None
    assert failed.name == "[a] RUN"


def test_lines_of_the_compile_program_are_understood() -> None:
    text = "buildkit-tasks: total 393\nbuildkit-tasks: marked api (src/gen.rs)\nbuildkit-tasks: fresh 12\n"
    progress = fold({"logs": [{"vertex": "a", "data": base64.b64encode(text.encode()).decode()}]})
    assert (progress.total, progress.fresh, progress.marked) == (393, 12, ["api (src/gen.rs)"])


def log(step: str, *lines: str) -> dict[str, Any]:
    return {"logs": [{"vertex": step, "data": base64.b64encode("".join(f"{n}\n" for n in lines).encode()).decode()}]}


def test_the_crates_of_several_compile_steps_add_up() -> None:
    """One step per workspace: the second total does not replace the first, and a warm step has none."""
    progress = fold(
        log("a", "buildkit-tasks: total 2", "   Compiling x v1.0.0"),
        log("b", "buildkit-tasks: total 3", "   Compiling y v1.0.0", "   Compiling z v1.0.0"),
        log("warm", "   Compiling w v1.0.0", "buildkit-tasks: fresh 40"),
    )
    assert (progress.done, progress.total) == (3, 5)
    progress.update(log("a", "   Compiling v v1.0.0", "buildkit-tasks: fresh 2"))
    assert (progress.done, progress.total, progress.fresh, len(progress.compiled)) == (4, 5, 42, 5)


def test_without_a_total_every_crate_counts() -> None:
    progress = fold(log("a", "   Compiling x v1.0.0"), log("b", "   Compiling y v1.0.0"))
    assert (progress.done, progress.total, progress.fresh) == (2, None, None)


@pytest.mark.parametrize(
    ("name", "internal"),
    [
        ("[internal] load local bake definitions", True),
        ("[api internal] load build context", True),
        ("[api context rust:1] load metadata for rust:1", True),
        ("[worker] exporting to image", True),
        ("[api compile 2/2] RUN cargo build", False),
        ("[compile  2/12] RUN cargo build", False),
    ],
)
def test_only_steps_of_the_dockerfile_are_told(name: str, internal: bool) -> None:
    assert Vertex(name).internal is internal


def test_a_step_that_ran_for_one_target_and_is_cached_for_the_next_one_ran() -> None:
    progress = Progress()
    ran = {"digest": "a", "name": "[one build 1/1] RUN x", "started": "2026-01-01T00:00:00Z"}
    progress.update({"vertexes": [ran]})
    progress.update({"vertexes": [{**ran, "completed": "2026-01-01T00:00:02Z"}]})
    progress.update({"vertexes": [{**ran, "started": ran["started"], "completed": ran["started"], "cached": True}]})
    assert progress.steps() == (Step("[one build 1/1] RUN x", cached=False, seconds=2.0),)
