"""A real engine and docker command 20.10.24 without buildx: what doctor reports, and degraded builds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.core.model import Engine
from tests.support import old_engine, process
from tests.support.old_engine import OldEngine

pytestmark = pytest.mark.engine

#: Simulates rustc and cargo: compiles the only dependency once, and a package whenever there is no record of it.
CARGO = """\
#!/bin/sh
[ "$1" = build ] || exit 0
mkdir -p target/release/.fingerprint
for unit in dep api; do
  record=target/release/.fingerprint/$unit-0123456789abcdef
  [ -d $record ] && continue
  mkdir $record
  echo "   Compiling $unit v0.1.0" >&2
  if [ $unit = api ]; then cp crates/api/src/main.rs target/release/api; fi
done
"""
DOCKERFILE = """\
ARG RUST_IMAGE=rust:1-bookworm
FROM ${RUST_IMAGE} AS compile
ARG CACHE_SCOPE
ARG TARGETARCH
ARG SOURCE=services
RUN --mount=type=bind,target=/context \\
    --mount=type=cache,id=${CACHE_SCOPE}-target-${TARGETARCH},target=/build,sharing=locked \\
    cp -r /context/services/. /build/ && cd /build && rm -rf target/release/.fingerprint/api-* && cargo build \\
    && mkdir -p /out/api/bin && cp target/release/api /out/api/bin/service
FROM debian:bookworm-slim
ARG BIN
COPY --from=compile /out/${BIN}/ /usr/local/
"""
COMPOSE = """\
name: small
services:
  api:
    image: small/api:dev
    build: {context: ., dockerfile: Dockerfile, args: {BIN: api, CACHE_SCOPE: small}}
"""


@pytest.fixture(scope="module")
def old(
    engine: Engine, base_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OldEngine]:
    """Start the old engine with two base images: Debian, and an image with a script that simulates cargo."""
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    place = tmp_path_factory.mktemp("old")
    with old_engine.running(base, place) as started:
        started.load(base)
        folder = tmp_path_factory.mktemp("cargo")
        (folder / "cargo").write_text(CARGO)
        (folder / "cargo").chmod(0o755)
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY cargo /usr/bin/cargo\n")
        started.docker("build", "-q", "-t", "rust:1-bookworm", str(folder), cwd=folder)
        if base != "debian:bookworm-slim":
            started.docker("tag", base, "debian:bookworm-slim", cwd=folder)
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create a small workspace with a program that is its own source text."""
    root = tmp_path / "small"
    (root / "services/crates/api/src").mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "compose.yaml").write_text(COMPOSE)
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    (root / "services/Cargo.toml").write_text('[workspace]\nmembers = ["crates/*"]\n')
    (root / "services/Cargo.lock").write_text("version = 4\n")
    (root / "services/crates/api/Cargo.toml").write_text('[package]\nname = "api"\nversion = "0.1.0"\n')
    edit(root, "first")
    return root


def edit(root: Path, word: str) -> None:
    (root / "services/crates/api/src/main.rs").write_text(f"fn main() {{}} // {word}\n")


def invoke(old: OldEngine, root: Path, *argv: str, **env: str) -> process.Done:
    return old.run("invoke", *argv, cwd=root, home=root.parent, **env)


def program(old: OldEngine, root: Path) -> str:
    return old.docker("run", "--rm", "small/api:dev", "cat", "/usr/local/bin/service", cwd=root).out


def doctor(old: OldEngine, root: Path, socket: str = "docker.sock", **env: str) -> dict[str, dict[str, Any]]:
    """Return the checks that fire, by name."""
    done = old.run("invoke", "doctor", "--json", cwd=root, home=root.parent, socket=socket, **env)
    checks = json.loads(done.out)["checks"]
    return {c["name"]: c for c in checks if c["state"] in ("warn", "fail")}


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({}, "building service by service, with BuildKit's cache mounts: no buildx plugin is installed"),
        ({"BUILDKIT_TASKS_BUILDERS_NAME": "legacy"}, "building without BuildKit"),
    ],
    ids=["each", "legacy"],
)
def test_builds_and_a_change_of_code_does_not_compile_dependencies_again(
    old: OldEngine, project: Path, env: dict[str, str], sentence: str
) -> None:
    first = invoke(old, project, "build", "--service", "api", "--progress", "verbose", **env)
    assert first.code == 0, first.all
    assert sentence in first.err
    assert "Compiling dep" in first.err
    assert program(old, project) == "fn main() {} // first\n"
    edit(project, "second")
    second = invoke(old, project, "build", "--service", "api", "--progress", "verbose", **env)
    assert second.code == 0, second.all
    assert "Compiling dep" not in second.err
    assert "1 crate compiled (api)" in second.err
    assert program(old, project) == "fn main() {} // second\n"


def test_audit_reads_what_the_old_engine_saves(old: OldEngine, project: Path) -> None:
    (project / ".env").write_text("DB_PASSWORD=of-the-old-engine\n")
    bad = "FROM debian:bookworm-slim\nCOPY .env /app/.env\nCOPY .env /twice/.env\nRUN rm /app/.env\nUSER 1000\n"
    (project / "Dockerfile").write_text(bad)
    for options in ({"BUILDKIT_TASKS_BUILDERS_NAME": "legacy"}, {}):
        built = invoke(old, project, "build", "--service", "api", **options)
        assert built.code == 0, built.all
        done = invoke(old, project, "audit", "--json")
        assert done.code == 99, done.all
        document = json.loads(done.out)
        assert document["images"][0]["base_layers"] == 1
        found = [f for f in document["findings"] if f["severity"] != "note"]
        assert [(f["code"], f["subject"], f["layer"] and f["layer"]["number"]) for f in found] == [
            ("BA001", "/app/.env", 2),
            ("BA001", "/twice/.env", 3),
            ("BA003", "/app/.env", 2),
            ("BA003", "/twice/.env", 3),
            ("BA008", "", None),
        ]
        assert "it is still in the image" in found[0]["message"]
        assert found[0]["layer"]["step"].startswith("COPY ")
        assert "of-the-old-engine" not in done.all


def test_a_stand_in_that_reaches_an_image_fails_the_build(old: OldEngine, project: Path) -> None:
    (project / "services/crates/api/src/main.rs").write_text("// buildkit-tasks-stub-of-a-program\n")
    done = invoke(old, project, "build", BUILDKIT_TASKS_BUILDERS_NAME="legacy")
    assert done.code == 21
    assert "a stub was built" in done.err


def test_plain_docker_fails_at_a_mount_where_buildkit_is_off_and_our_task_does_not(
    old: OldEngine, project: Path
) -> None:
    plain = old.run("docker", "build", "-f", "Dockerfile", ".", cwd=project, home=project.parent, DOCKER_BUILDKIT="0")
    assert plain.code != 0
    assert "the --mount option requires BuildKit" in plain.all
    assert invoke(old, project, "build", DOCKER_BUILDKIT="0").code == 0


def test_doctor_of_the_old_engine(old: OldEngine, project: Path) -> None:
    fired = doctor(old, project)
    assert set(fired) == {"engine-version", "buildx", "shell"}
    assert fired["engine-version"]["found"] == "20.10.24"
    assert fired["buildx"]["found"] == "none"
    assert set(doctor(old, project, DOCKER_BUILDKIT="0")) == {*fired, "buildkit-env"}


def test_doctor_sees_clocks_that_differ(old: OldEngine, project: Path, tmp_path: Path) -> None:
    process.ok(["docker", "cp", "-q", f"{old.name}:{old_engine.FAKETIME}", str(tmp_path / "faketime.so")], tmp_path)
    fired = doctor(old, project, LD_PRELOAD=str(tmp_path / "faketime.so"), FAKETIME="+10m")
    assert "s behind this machine's" in fired["clock"]["found"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root; CI is root")
def test_doctor_sees_a_disk_that_is_small(old: OldEngine, project: Path) -> None:
    data = old.place / "small"
    command = ["dockerd", "-H", f"unix://{old.place}/small.sock", "--data-root", str(data), "--bridge=none"]
    command += ["--iptables=false", "--exec-root", "/run/small", "--pidfile", "/run/small.pid"]
    old.inside("touch", "/small.log")
    process.ok(["docker", "exec", "-d", old.name, "sh", "-c", f"exec {' '.join(command)} >/small.log 2>&1"], data)
    follow = ["docker", "exec", old.name, "timeout", "60", "tail", "-n", "+1", "-f", "/small.log"]
    process.wait_for(follow, "API listen on")
    check = doctor(old, project, "small.sock")["disk"]
    assert check["state"] == "fail"
    assert str(data) in check["found"]


def test_doctor_of_an_engine_that_was_stopped(old: OldEngine, project: Path) -> None:
    process.ok(["docker", "stop", "-t", "20", old.name], project)
    try:
        fired = doctor(old, project)
        check = fired.get("engine") or fired["context"]
        assert check["state"] == "fail"
    finally:
        process.ok(["docker", "start", old.name], project)
        process.wait_for_container(old.name, "API listen on")


RUST = {
    "services/Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n',
    "services/crates/common/Cargo.toml": '[package]\nname = "common"\nversion = "0.1.0"\nedition = "2021"\n'
    '[dependencies]\nitoa = "=1.0.19"\n',
    "services/crates/common/src/lib.rs": "pub fn text(n: u64) -> String { itoa::Buffer::new().format(n).into() }\n",
    "services/crates/api/Cargo.toml": '[package]\nname = "api"\nversion = "0.1.0"\nedition = "2021"\n'
    '[dependencies]\ncommon = { path = "../common" }\n',
    "services/crates/api/src/main.rs": 'fn main() { println!("first {}", common::text(1)); }\n',
    "services/Cargo.lock": """\
version = 3

[[package]]
name = "api"
version = "0.1.0"
dependencies = [
 "common",
]

[[package]]
name = "common"
version = "0.1.0"
dependencies = [
 "itoa",
]

[[package]]
name = "itoa"
version = "1.0.19"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "3bd1574e617a9a6c1f8f8181bd7e841e1f20e4277607ef28945765188d6284d4"
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["auto", "legacy"])
def test_real_rust_in_both_tiers(old: OldEngine, base_images: Mapping[str, str], tmp_path: Path, builder: str) -> None:
    """Takes two to four minutes: the Rust image (2 GB) is copied into the old engine first."""
    rust = base_images.get("rust:1-bookworm", "rust:1-bookworm")
    if rust not in old.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", cwd=tmp_path).out.split():
        old.load(rust)
    old.docker("tag", rust, "rust:1-bookworm", cwd=tmp_path)
    root, here = tmp_path / "small", Path(__file__).parents[2]
    for name, text in RUST.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "docker").mkdir()
    for name in ("docker/Dockerfile", "docker/compile.rs", "docker/cross.sh", ".dockerignore", "tasks.py"):
        (root / name).write_bytes((here / name).read_bytes())
    (root / "compose.yaml").write_text(COMPOSE.replace("dockerfile: Dockerfile", "dockerfile: docker/Dockerfile"))
    env = {"BUILDKIT_TASKS_BUILDERS_NAME": builder, "BUILDKIT_TASKS_BUILDERS_LEGACY_CA": "layer"}
    for word, compiled in (("first", True), ("second", False)):
        main = root / "services/crates/api/src/main.rs"
        main.write_text(main.read_text().replace("first", word))
        done = invoke(old, root, "build", "--service", "api", "--progress", "verbose", **env)
        assert done.code == 0, done.all
        assert ("Compiling itoa" in done.err) is compiled
        assert old.docker("run", "--rm", "small/api:dev", cwd=root).out == f"{word} 1\n"
