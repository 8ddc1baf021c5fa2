"""Routes to other platforms: what is compiled here, what would be emulated, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from buildkit_tasks import platforms
from buildkit_tasks.errors import Problem
from buildkit_tasks.model import Engine
from buildkit_tasks.platforms import Route

AMD = Engine("id", (26, 1, 5), (0, 13, 1), (2, 26, 1), "linux", "amd64", containerd_store=True)
ARM = dataclasses.replace(AMD, arch="arm64")
OURS = (Path(__file__).parents[2] / "docker/Dockerfile").read_text()
CLASSIC = """\
FROM rust:1 AS build
RUN cargo build --release
FROM debian:bookworm-slim AS unused
RUN apt-get update
FROM debian:bookworm-slim
RUN useradd app
COPY --from=build /app /app
"""


@pytest.mark.parametrize(("engine", "platform"), [(AMD, "linux/arm64"), (ARM, "linux/amd64")])
def test_our_dockerfile_cross_compiles_in_both_directions_and_runs_nothing(engine: Engine, platform: str) -> None:
    route = platforms.route(OURS, {}, "", platform, engine)
    assert route.how == "cross"
    assert "nothing of it runs" in route.why
    assert platforms.route(OURS, {}, "", platforms.own(engine), engine).how == "native"
    assert platforms.foreign_bases(OURS, {}, "") == ("debian:bookworm-slim",)


def test_a_compile_stage_of_the_targets_platform_is_emulated_and_refused() -> None:
    route = platforms.route(CLASSIC, {}, "", "linux/arm64", AMD)
    assert (route.how, "stage build" in route.why) == ("emulated", True)
    with pytest.raises(Problem) as caught:
        platforms.check(AMD, "full", ("linux/arm64",), [route], False)
    assert caught.value.code == "emulation-refused"
    assert "--allow-emulation" in caught.value.hint
    platforms.check(AMD, "full", ("linux/arm64",), [route], True)


def test_other_steps_that_run_there_are_told_and_stages_nobody_needs_are_not() -> None:
    text = CLASSIC.replace("FROM rust:1", "FROM --platform=$BUILDPLATFORM rust:1")
    route = platforms.route(text, {}, "", "linux/arm64", AMD)
    assert route.how == "cross"
    assert "the RUN steps of 2 are emulated" in route.why  # the last stage has no name, and "unused" is not needed
    # a stage that starts from the builder's own is of its platform; up to there nothing is foreign
    derived = text.replace("FROM debian:bookworm-slim\n", "FROM build\n")
    assert "nothing of it runs" in platforms.route(derived, {}, "", "linux/arm64", AMD).why
    assert platforms.foreign_bases(text, {}, "build") == ()
    assert platforms.foreign_bases(text, {}, "") == ("debian:bookworm-slim",)


@pytest.mark.parametrize(
    ("engine", "tier", "wanted", "words"),
    [
        (AMD, "legacy", ("linux/arm64",), "its own platform only"),
        (dataclasses.replace(AMD, containerd_store=False), "full", ("linux/amd64", "linux/arm64"), "linux/amd64 and"),
    ],
)
def test_what_an_engine_cannot_do_is_told_before_the_build(
    engine: Engine, tier: str, wanted: tuple[str, ...], words: str
) -> None:
    with pytest.raises(Problem, match=words) as caught:
        platforms.check(engine, tier, wanted, [], False)
    assert caught.value.code == "platform-unsupported"


def test_one_platform_needs_no_containerd_store() -> None:
    store = dataclasses.replace(AMD, containerd_store=False)
    platforms.check(store, "full", ("linux/arm64",), [Route("linux/arm64", "cross", "")], False)


def test_platforms_are_named_as_users_do() -> None:
    assert platforms.named(["arm64,linux/amd64", " arm64 "]) == ("linux/arm64", "linux/amd64")
    assert platforms.named([]) == ()
