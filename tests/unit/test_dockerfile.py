"""What a plan reads out of a Dockerfile."""

from __future__ import annotations

from buildkit_tasks import dockerfile

TEXT = """\
# syntax=docker/dockerfile:1
ARG RUST_IMAGE=rust:1
ARG TAG="bookworm-slim"
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS toolchain
FROM toolchain AS compile
ARG CACHE_SCOPE=demo
# a comment
RUN --mount=type=cache,id=${CACHE_SCOPE}-registry,target=/r,sharing=shared \\
    # a comment inside
    --mount=type=bind,target=/context \\
    --mount=type=cache,target=/t <<SH
FROM not-an-image
SH
FROM debian:${TAG:-x}
COPY --from=compile /a /b
FROM scratch
"""


def test_base_images_are_those_that_no_stage_makes() -> None:
    assert dockerfile.base_images(TEXT, {}) == ("rust:1", "debian:bookworm-slim")
    assert dockerfile.base_images(TEXT, {"RUST_IMAGE": "mine:2"}) == ("mine:2", "debian:bookworm-slim")


def test_cache_ids_have_their_arguments_filled_in_and_default_to_the_target() -> None:
    assert dockerfile.cache_ids(TEXT, {}) == ("demo-registry", "/t")
    assert dockerfile.cache_ids(TEXT, {"CACHE_SCOPE": "shop"}) == ("shop-registry", "/t")


def test_arguments_and_lines() -> None:
    assert dockerfile.arguments(TEXT) == {"RUST_IMAGE", "TAG", "CACHE_SCOPE"}
    assert [(i.keyword, i.line) for i in dockerfile.instructions(TEXT)][-3:] == [
        ("FROM", 14),
        ("COPY", 15),
        ("FROM", 16),
    ]
    assert {m.type for m in dockerfile.mounts(TEXT)} == {"cache", "bind"}
