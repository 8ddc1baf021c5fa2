"""Messages of cargo, rustc, linkers and build scripts, and the suggested remedy."""

from __future__ import annotations

import pytest

from buildkit_tasks.buildlog import lacks


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        (
            "error: the lock file /build/1-ab/src/Cargo.lock needs to be updated but --locked was passed",
            "Cargo.lock does not match",
            "cargo update --workspace",
        ),
        (
            "error: cannot update the lock file /build/1-ab/src/Cargo.lock because --locked was passed to prevent this",
            "Cargo.lock does not match",
            "cargo update --workspace",
        ),
        (
            "error: cannot create the lock file /build/1-ab/src/Cargo.lock because --locked was passed to prevent this",
            "The build context has no Cargo.lock",
            "cargo generate-lockfile",
        ),
        (
            "error: target `x` in package `app` requires the features: `extra`, `more`",
            "The program x requires cargo features",
            "FEATURES",
        ),
        ("error: no bin target named `apy` in default-run packages", "no program named apy", "BIN"),
        ("buildkit-tasks: error: no binary 'apy' in the workspace; available: api", "no program named apy", "BIN"),
        (
            "error: couldn't read `/build/1-ab/src/crates/api/src/../../../assets/a.txt`: No such file or directory",
            "The file assets/a.txt is not in the build context",
            "`!assets/a.txt`",
        ),
        (
            "  failed to read `/build/1-ab/src/libs/gone/Cargo.toml`",
            "The file libs/gone/Cargo.toml is not in the build context",
            "`!libs/gone/Cargo.toml`",
        ),
        (
            '  Error: Custom { kind: NotFound, error: "Could not find `protoc`. If `protoc` is installed, try" }',
            "The program protoc",
            "protobuf-compiler",
        ),
        (
            "  Unable to find libclang: \"couldn't find any valid shared libraries matching: ['libclang.so']\"",
            "libclang is not",
            "clang libclang-dev",
        ),
        (
            "  The system library `alsa` required by crate `alsa-sys` was not found.",
            "The library alsa",
            "libasound2-dev",
        ),
        (
            "  Could not find directory of OpenSSL installation, and this `-sys` crate",
            "The OpenSSL headers",
            "libssl-dev",
        ),
        ("  The pkg-config command could not be found.", "The program pkg-config", "pkg-config"),
        ("  is `cmake` not installed?", "The program cmake", "cmake"),
        ("  sh: 1: curl: not found", "The program curl", "add curl"),
        ("error: linker `clang` not found", "The program clang", "add clang"),
        ("  clang: error: invalid linker name in argument '-fuse-ld=lld'", "The program lld", "add lld"),
        ("  = note: mold: fatal: library not found: magic", "The library magic", "libmagic-dev"),
        ("          /usr/bin/ld: cannot find -lpq: No such file or directory", "The library pq", "libpq-dev"),
        (
            "  error: `SQLX_OFFLINE=true` but there is no cached data for this query",
            "sqlx macro needs a database",
            ".sqlx",
        ),
        (
            "error: set `DATABASE_URL` to use query macros online, or run `cargo sqlx prepare`",
            "sqlx macro needs a database",
            "cargo sqlx prepare",
        ),
        (
            "`DATABASE_URL` must be set, or `cargo sqlx prepare` must have been run and sqlx-data.json must exist",
            "sqlx macro needs a database",
            "commit sqlx-data.json",
        ),
        (
            "error: `DATABASE_URL` must be set to use query macros",
            "sqlx macro needs a database",
            "`offline` feature",
        ),
        ("  failed to find a workspace root", "A crate inherits from a workspace manifest", "`!Cargo.toml`"),
        ("  invalid version 3 on git_proxy_options; class=Invalid (3)", "cannot fetch git", "generate-lockfile"),
        (
            "  failed to resolve address for github.com: Name or service not known; class=Net (2)",
            "github.com is unreachable",
            "proxy",
        ),
        (
            "  failed to authenticate when downloading repository: git@github.com:a/b.git",
            "denied access to the repository git@github.com:a/b.git",
            "type=ssh",
        ),
        (
            "error: rustc 1.85.0 is not supported by the following package:\n  time@0.3.50 requires rustc 1.88.0",
            "too old: rustc 1.88.0 is required",
            "RUST_IMAGE",
        ),
        ("  feature `edition2024` is required", "edition2024", "RUST_IMAGE"),
        ("error[E0554]: `#![feature]` may not be used on the stable release channel", "nightly", "RUST_IMAGE"),
        (
            "  = note: the `wasm32-unknown-unknown` target may not be installed",
            "no standard library for wasm32-unknown-unknown",
            "rustup target add",
        ),
        ("E: Unable to locate package libpython3.13", "no package named libpython3.13", "different release"),
        ("E: Package 'libssl1.1' has no installation candidate", "no package named libssl1.1", "different release"),
        (
            "  [60] SSL peer (SSL certificate problem: unknown)",
            "not trusted",
            "ca_bundle",
        ),
        (
            "warning: network error: [6] Could not resolve host: index.crates.io",
            "index.crates.io",
            "cargo_config",
        ),
    ],
)
def test_what_is_said_and_what_to_do(line: str, message: str, remedy: str) -> None:
    (found,) = lacks.find(line.split("\n"))
    assert message in found.message
    assert remedy in found.hint


@pytest.mark.parametrize(
    "line",
    [
        "error[E0308]: mismatched types",
        'error: could not compile `api` (bin "api") due to 1 previous error',
        "error: expected one of `!` or `::`, found `x`",
        "   Compiling protoc-bin-vendored v3.0.0",
        "error[E0432]: unresolved import `crate::cmake`",
        "error: cannot find macro `foo` in this scope",
    ],
)
def test_errors_of_the_code_are_not_taken_for_something_missing(line: str) -> None:
    assert lacks.find([line]) == ()


def test_a_server_other_than_cratesio_is_no_matter_of_cargo() -> None:
    (found,) = lacks.find(["curl: (6) Could not resolve host: deb.example.org", "E: Unable to locate package nodejs"])
    assert found.message == "deb.example.org is unreachable."
    assert "proxy" in found.hint
    assert "cargo" not in found.hint


def test_a_toolchain_from_packages_has_one_version_of_rust() -> None:
    old = "error: rustc 1.96.0 is not supported by the following package:\n  time@0.4.0 requires rustc 1.98"
    (found,) = lacks.find(old.split("\n"), packaged=True)
    assert found.message == "The toolchain image is too old: rustc 1.98 is required."
    assert "RUST_IMAGE" in found.hint
    assert "images.registry" in found.hint
    assert "docker load" in found.hint
    (other,) = lacks.find(["  is `cmake` not installed?"], packaged=True)
    assert "images.registry" not in other.hint


def test_each_thing_once() -> None:
    line = "  The system library `alsa` required by crate `alsa-sys` was not found."
    assert len(lacks.find([line, line, "  is `cmake` not installed?"])) == 2


TOO_OLD = (
    "error[E0282]: type annotations needed for `Box<_>`",
    "  --> /usr/local/cargo/registry/src/index.crates.io-1949cf8c6b5b557f/time-0.3.22/src/parse/mod.rs:83:9",
    "error: could not compile `time` (lib) due to 1 previous error",
)


def test_a_dependency_that_the_compiler_rejects_is_not_the_user_s_code() -> None:
    (found,) = lacks.find(TOO_OLD)
    assert found.message == "The dependency time 0.3.22 does not compile with the toolchain image's compiler."
    assert found.hint.startswith("run `cargo update -p time@0.3.22` ")


def test_an_error_of_the_user_s_code_may_point_into_a_dependency() -> None:
    log = ["error[E0277]: the trait bound is not satisfied", "  --> src/main.rs:3:5", TOO_OLD[1]]
    assert lacks.find([*log, 'error: could not compile `app` (bin "app") due to 1 previous error']) == ()
