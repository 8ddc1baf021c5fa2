"""What the build of one target needs from a Dockerfile, as BuildKit requests it."""

from __future__ import annotations

import pytest

from buildkit_tasks.dockerfiles.document import Dockerfile, lookup_name

STAGED = """\
# syntax=docker/dockerfile:1.7
ARG VARIANT=slim
ARG IMAGE="debian:bookworm-${VARIANT}"
FROM --platform=$BUILDPLATFORM "rust:1" AS Build
ARG BINS
ARG CACHE_SCOPE
RUN --mount=type=cache,id=${CACHE_SCOPE}-t,target=/t \\
    --mount=type=bind,from=tools:2,target=/tools cargo build
FROM docker.io/library/golang:1.22 AS unused
RUN false
FROM ${IMAGE} AS runtime
COPY --from=build /a /a
COPY --from=docker.io/library/busybox:latest /bin/sh /bin/sh
FROM runtime AS debug
COPY --from=0 /b /b
FROM base-$TARGETARCH AS last
FROM scratch
"""


@pytest.mark.parametrize(
    ("target", "args", "contexts", "images"),
    [
        ("runtime", {}, (), ["debian:bookworm-slim", "docker.io/library/busybox:latest", "rust:1", "tools:2"]),
        (
            "RUNTIME",
            {"VARIANT": "x"},
            (),
            ["debian:bookworm-x", "docker.io/library/busybox:latest", "rust:1", "tools:2"],
        ),
        ("runtime", {"IMAGE": "mine"}, (), ["docker.io/library/busybox:latest", "mine", "rust:1", "tools:2"]),
        ("build", {}, (), ["rust:1", "tools:2"]),
        ("0", {}, (), ["rust:1", "tools:2"]),
        ("debug", {}, ("busybox", "tools:2"), ["debian:bookworm-slim", "rust:1"]),
        ("runtime", {}, ("build",), ["debian:bookworm-slim", "docker.io/library/busybox:latest"]),
        ("build", {}, ("docker.io/library/rust:1",), ["tools:2"]),
        ("last", {"TARGETARCH": "arm64"}, (), ["base-arm64"]),
        ("", {}, (), []),
        ("nowhere", {}, (), []),
    ],
)
def test_the_images_that_a_target_takes(
    target: str, args: dict[str, str], contexts: tuple[str, ...], images: list[str]
) -> None:
    assert sorted(Dockerfile.read(STAGED).needs(args, target, contexts).images) == images


def test_an_argument_counts_in_from_only_where_it_is_declared_before_the_first() -> None:
    text = "FROM debian:${TAG} AS a\nARG TAG=late\nFROM b:x${TAG}\n"
    assert Dockerfile.read(text).needs({"TAG": "1"}).images == ("b:x",)
    assert Dockerfile.read(f"ARG TAG\n{text}").needs({"TAG": "1"}).images == ("b:x1",)


@pytest.mark.parametrize(
    "line",
    ["debian:${TAG}", "a b c d", "${TAG:?set it}", "x:y:z", "UPPER", "a//b", "x@sha256:abc", '"x y"', "-x", "é"],
)
def test_what_is_no_reference_names_no_image(line: str) -> None:
    assert Dockerfile.read(f"ARG TAG\nFROM {line}\n").needs({}).images == ()
    assert Dockerfile.read(f"FROM scratch\nCOPY --from={line.partition(' ')[0]}: a b\n").needs({}).images == ()


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (b"# syntax=docker/dockerfile:1\nFROM a", "docker/dockerfile:1"),
        (b"\xef\xbb\xbf#syntax = x/y extra words\r\nFROM a\r\n", "x/y"),
        (b"# escape=`\n# syntax=z\nFROM a", "z"),
        (b"#!/usr/bin/env docker\n# syntax=z\nFROM a", "z"),
        (b"// syntax=z\nFROM a", "z"),
        (b'{"syntax": "z"}', "z"),
        (b"# a comment\n# syntax=z\nFROM a", ""),
        (b"# other=x\n# syntax=z\nFROM a", ""),
        (b"# check=skip=all; error=true\n# syntax=z\nFROM a", "z"),
        (b"\n# syntax=z\nFROM a", ""),
        (b"FROM a\n# syntax=z", ""),
        (b"\xff\xfe\x00", ""),
    ],
)
def test_the_frontend_that_a_directive_names(data: bytes, syntax: str) -> None:
    assert Dockerfile.read(data).syntax == syntax


def test_bytes_that_are_no_text_come_back_as_they_were() -> None:
    data = b"# caf\xe9\r\nFROM scratch\r\nLABEL a=\xff\r\n"
    file = Dockerfile.read(data)
    assert file.text.encode("utf-8", "surrogateescape") == data
    assert [item.keyword for item in file.items] == ["FROM", "LABEL"]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("docker.io/library/debian:bookworm-slim", "debian:bookworm-slim"),
        ("index.docker.io/library/debian:1", "debian:1"),
        ("library/rust:latest", "rust"),
        ("rust:latest", "rust"),
        ("docker.io/moby/buildkit", "moby/buildkit"),
        ("ghcr.io/a/b:latest", "ghcr.io/a/b"),
        ("localhost:5000/a", "localhost:5000/a"),
        ("a@sha256:00", "a@sha256:00"),
    ],
)
def test_the_name_that_buildkit_looks_up_in_place_of_an_image(reference: str, name: str) -> None:
    assert lookup_name(reference) == name


def test_a_compile_step_of_ours_is_one_that_the_target_reaches() -> None:
    file = Dockerfile.read(STAGED)

    def read(target: str) -> frozenset[str] | None:
        return file.compile_arguments(file.needs({}, target))

    assert set(read("runtime") or ()) == {"VARIANT", "IMAGE", "BINS", "CACHE_SCOPE"}
    assert read("unused") is None
    classic = Dockerfile.read("FROM rust\nARG PROFILE\nRUN --mount=type=cache,target=/t cargo build\n")
    assert classic.compile_arguments(classic.needs({})) is None
