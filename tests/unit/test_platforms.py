"""Routes to other platforms: what is compiled locally, what would be emulated, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Engine
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.dockerfiles.platforms import Route
from buildkit_tasks.platforms import check, names

AMD = Engine("id", (26, 1, 5), (0, 13, 1), (2, 26, 1), "linux", "amd64", containerd_store=True)
ARM = dataclasses.replace(AMD, arch="arm64")
STORELESS = dataclasses.replace(AMD, containerd_store=False)
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


def request(*wanted: str, **more: Any) -> BuildRequest:
    """Return a request for these platforms."""
    return BuildRequest(platforms=wanted, **more)


@pytest.mark.parametrize(("engine", "platform"), [(AMD, "linux/arm64"), (ARM, "linux/amd64")])
def test_our_dockerfile_cross_compiles_in_both_directions_and_runs_nothing(engine: Engine, platform: str) -> None:
    route = platforms.route(OURS, {}, "", platform, engine)
    assert route.how == "cross"
    assert "no emulation needed" in route.why
    assert platforms.route(OURS, {}, "", platforms.own(engine), engine).how == "native"
    assert platforms.foreign_bases(OURS, {}, "", engine) == ("debian:bookworm-slim",)


def test_a_compile_stage_of_the_targets_platform_is_emulated_and_refused() -> None:
    route = platforms.route(CLASSIC, {}, "", "linux/arm64", AMD)
    assert (route.how, "stage build" in route.why) == ("emulated", True)
    with pytest.raises(Problem) as caught:
        check.check(AMD, "full", "docker", request("linux/arm64"), [route])
    assert caught.value.code == "emulation-refused"
    assert "--allow-emulation" in caught.value.hint
    check.check(AMD, "full", "docker", request("linux/arm64", allow_emulation=True), [route])
    # a here-document's body counts; a platform that is written out but is the engine's own is not foreign
    inside = CLASSIC.replace("RUN cargo build --release\n", "RUN <<END\ncargo build\nEND\n")
    assert platforms.route(inside, {}, "", "linux/arm64", AMD).how == "emulated"
    spelt = CLASSIC.replace("FROM rust:1", "FROM --platform=linux/amd64 rust:1")
    assert platforms.route(spelt, {}, "", "linux/arm64", AMD).how == "cross"
    assert platforms.route(spelt, {}, "", "linux/amd64", ARM).how == "emulated"


def test_other_steps_that_run_there_are_told_and_stages_nobody_needs_are_not() -> None:
    text = CLASSIC.replace("FROM rust:1", "FROM --platform=$BUILDPLATFORM rust:1")
    route = platforms.route(text, {}, "", "linux/arm64", AMD)
    assert route.how == "cross"
    assert "the RUN steps of 2 are emulated" in route.why  # the last stage has no name, and "unused" is not needed
    # a stage based on a builder-platform stage has the builder's platform, so nothing is foreign
    derived = text.replace("FROM debian:bookworm-slim\n", "FROM build\n")
    assert "no emulation needed" in platforms.route(derived, {}, "", "linux/arm64", AMD).why
    assert platforms.foreign_bases(text, {}, "build", AMD) == ()
    assert platforms.foreign_bases(text, {}, "", AMD) == ("debian:bookworm-slim",)
    clean = platforms.route(OURS, {}, "", "linux/arm64", AMD)
    assert platforms.worst([clean, route]) == platforms.worst([route, clean]) == route


@pytest.mark.parametrize(
    ("engine", "tier", "driver", "wanted", "words"),
    [
        (AMD, "legacy", "docker", request("linux/arm64"), "build only for its own platform"),
        (AMD, "each", "docker", request(push="registry.example/team"), "only into its own image store"),
        (STORELESS, "full", "docker", request("linux/amd64", "linux/arm64"), "linux/amd64 and linux/arm64"),
        (STORELESS, "full", "docker", request(oci="/out"), "OCI archives"),
        (AMD, "full", "docker-container", request("linux/amd64", "linux/arm64"), "cannot load"),
    ],
)
def test_what_cannot_be_held_is_told_before_the_build(
    engine: Engine, tier: str, driver: str, wanted: BuildRequest, words: str
) -> None:
    with pytest.raises(Problem, match=words) as caught:
        check.check(engine, tier, driver, wanted, [])
    assert caught.value.code == "platform-unsupported"


@pytest.mark.parametrize(
    ("engine", "driver", "wanted"),
    [
        (STORELESS, "docker", request("linux/arm64")),
        (STORELESS, "docker-container", request("linux/amd64", "linux/arm64", push="registry.example/team")),
        (AMD, "docker", request("linux/amd64", "linux/arm64")),
        (AMD, "docker", request(oci="/out")),
    ],
)
def test_what_can_be_held_is_let_through(engine: Engine, driver: str, wanted: BuildRequest) -> None:
    check.check(engine, "full", driver, wanted, [Route("linux/arm64", "cross", "")])


def test_platforms_are_named_as_users_do() -> None:
    assert names.named(["arm64,linux/amd64", " arm64 "]) == ("linux/arm64", "linux/amd64")
    assert names.named(["aarch64,linux/arm64/v8", "x86_64", "arm/v7"]) == (
        "linux/arm64",
        "linux/amd64",
        "linux/arm/v7",
    )
    assert names.named([]) == ()
    with pytest.raises(Problem, match="not a platform"):
        names.named(["linux/arm 64"])


def test_a_mistyped_architecture_is_told_with_its_neighbour() -> None:
    with pytest.raises(Problem, match="arm46") as caught:
        names.named(["linux/arm46"])
    assert caught.value.hint == "use --platform linux/arm64"


def test_one_platform_is_checked_and_named_like_several() -> None:
    assert [names.long_form(given) for given in ("", "arm64", "x86_64", "linux/arm64/v8")] == [
        "",
        "linux/arm64",
        "linux/amd64",
        "linux/arm64",
    ]
    for given in ("arm64,amd64", "linux/arm 64", "bogus", ","):
        with pytest.raises(Problem) as raised:
            names.long_form(given)
        assert raised.value.code == "bad-argument"
