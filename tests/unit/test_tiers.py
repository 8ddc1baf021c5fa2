"""Which tier each engine supports, and the Dockerfile texts for the lower tiers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Version
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.legacy import tiers
from buildkit_tasks.legacy.tiers import LegacyBuild

FULL = Engine("id", (26, 1, 5), (0, 13, 1), (2, 26, 1), "linux", "amd64", True, "default", "/var/lib/docker")
OLD = replace(FULL, version=(20, 10, 24), containerd_store=False)

TEXT = """\
ARG RUST_IMAGE=rust:1-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim
FROM ${RUST_IMAGE} AS toolchain
ENV CARGO_HOME=${CARGO_HOME:-/usr/local/cargo}
RUN --mount=type=bind,source=docker/compile.rs,target=/docker/compile.rs \\
    rustc -o /compile /docker/compile.rs && /compile key > /toolchain.key
FROM toolchain AS compile
ARG CACHE_SCOPE
ARG TARGETARCH
RUN --mount=type=bind,target=/context \\
    --mount=type=cache,id=${CACHE_SCOPE:?missing}-target-${TARGETARCH},target=${CARGO_HOME}/registry \\
    /compile build
FROM --platform=$TARGETPLATFORM ${RUNTIME_IMAGE}
ARG BIN
COPY --from=compile /out/${BIN}/ /usr/local/
"""
BUILD = LegacyBuild("services", ("api", "worker"), ("api", "my-lib"), "release", "localhost/x:shop", "/out/shop")
ARGS = {"CACHE_SCOPE": "shop", "TARGETARCH": "amd64"}


@pytest.mark.parametrize(
    ("engine", "client", "builder", "podman", "name", "words"),
    [
        (FULL, (28, 2, 2), "auto", False, "full", ""),
        (FULL, (28, 2, 2), "legacy", False, "legacy", "builders.name is set to legacy"),
        (OLD, (20, 10, 24), "auto", False, "each", "older than 23"),
        (replace(OLD, buildx=()), (20, 10, 24), "auto", False, "each", "no buildx plugin"),
        (replace(OLD, buildx=()), (), "auto", False, "each", "no buildx plugin"),
        (replace(FULL, buildx=(0, 12)), (26, 1, 5), "auto", False, "each", "buildx 0.12 is older"),
        (replace(FULL, buildx=()), (28, 2, 2), "auto", False, "legacy", "needs the buildx plugin"),
        (replace(OLD, version=(18, 6, 3)), (18, 6, 3), "auto", False, "legacy", "18.6.3 does not include BuildKit"),
        (replace(OLD, version=(4, 3, 1)), (26, 1, 5), "auto", True, "legacy", "podman 4.3.1"),
    ],
)
def test_the_best_tier_that_engine_and_client_allow(
    engine: Engine, client: Version, builder: str, podman: bool, name: str, words: str
) -> None:
    chosen = tiers.choose(engine, client, builder, podman=podman)
    assert chosen.name == name
    if name != "full":
        assert words in chosen.sentence
        assert "\n" not in chosen.sentence


def test_portable_fills_in_mounts_and_base_images_and_leaves_the_rest() -> None:
    text = tiers.portable(TEXT, ARGS, {"rust:1-bookworm": "localhost/rust:1"})
    assert "FROM localhost/rust:1 AS toolchain" in text
    assert "FROM --platform=$TARGETPLATFORM ${RUNTIME_IMAGE}" in text
    assert "--mount=type=cache,id=shop-target-amd64,target=${CARGO_HOME}/registry" in text
    assert "ENV CARGO_HOME=${CARGO_HOME:-/usr/local/cargo}" in text
    assert [i.keyword for i in syntax.instructions(text)] == [i.keyword for i in syntax.instructions(TEXT)]


def test_portable_keeps_here_documents() -> None:
    text = "FROM a\nRUN <<EOF\necho a\n  echo b\nEOF\n"
    assert tiers.portable(text, {}, {"a": "b"}) == "FROM b\nRUN <<EOF\necho a\n  echo b\nEOF\n"


def test_legacy_has_no_mount_and_compiles_dependencies_before_the_code_is_copied() -> None:
    text = tiers.legacy(TEXT, ARGS, {"debian:bookworm-slim": "localhost/debian:1"}, BUILD)
    assert "--mount" not in text
    assert "--platform" not in text
    assert "/compile" not in text
    assert "FROM localhost/debian:1" in text
    order = ["/manifests/", "cargo fetch --locked", "--workspace --bins", ".fingerprint", "COPY . /src/", "touch -c"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)
    assert "-name 'api-????????????????' -o -name 'my-lib-????????????????'" in text
    assert "cp /src/services/target/release/worker /out/shop/worker/bin/service" in text
    assert "ln -sf service /out/shop/worker/bin/worker" in text
    assert "ca.pem" not in text


def test_legacy_takes_the_ca_out_of_the_prepared_image_only_when_told() -> None:
    text = tiers.legacy(TEXT, ARGS, {}, replace(BUILD, ca=True))
    assert "COPY --from=localhost/x:shop /ca.pem /etc/ssl/certs/ca-certificates.crt" in text
    last = text.rsplit("FROM ", 1)[1]
    assert "ca.pem" not in last


def test_legacy_of_a_workspace_at_the_root_and_the_profile_dev() -> None:
    text = tiers.legacy(TEXT, ARGS, {}, replace(BUILD, source=".", profile="dev"))
    assert "WORKDIR /src\n" in text
    assert "cp /src/target/debug/api" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN --mount=type=secret,id=npm npm ci", "RUN --mount=type=secret"),
        ("COPY --link a b", "COPY --link"),
        ("RUN <<EOF\ntrue\nEOF", "RUN <<EOF"),
    ],
)
def test_what_only_buildkit_can_do_is_named_with_its_line(line: str, words: str) -> None:
    with pytest.raises(Problem) as caught:
        tiers.legacy(TEXT + line + "\n", ARGS, {}, BUILD)
    assert caught.value.code == "build-failed"
    assert f"Line {TEXT.count(chr(10)) + 1} of the Dockerfile" in caught.value.message
    assert caught.value.causes[0].startswith(words)


def test_a_dockerfile_without_a_cache_mount_is_refused() -> None:
    with pytest.raises(Problem, match="no step with a cache mount"):
        tiers.legacy("FROM a\nRUN cargo build\n", {}, {}, BUILD)


def test_stand_ins_are_what_cargo_expects_to_see() -> None:
    manifest = {
        "package": {"name": "api", "build": "gen.rs"},
        "bin": [{"name": "tool", "path": "tools/tool.rs"}],
        "lib": {"path": "lib/all.rs"},
    }
    made = tiers.stubs(
        manifest, ["src/main.rs", "src/bin/x.rs", "src/bin/y/main.rs", "src/bin/y/part.rs", "src/util.rs"]
    )
    assert set(made) == {"src/main.rs", "src/bin/x.rs", "src/bin/y/main.rs", "tools/tool.rs", "lib/all.rs", "gen.rs"}
    assert made["lib/all.rs"] == ""
    assert tiers.STUB in made["src/main.rs"]
    assert f"[u8; {len(tiers.STUB)}]" in made["src/main.rs"]
    assert tiers.stubs({"package": {"name": "odd"}}, []) == {"src/lib.rs": ""}
    assert tiers.stubs({"workspace": {}}, []) == {}
