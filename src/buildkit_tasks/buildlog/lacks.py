"""Recognizes what a failed compile step was missing (a file, package, tool or lock file) and suggests a fix. Pure.

cargo, rustc, linkers and build scripts report all of these as `error:`, but none is a mistake in the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .lacking_packages import LIBRARIES, PROGRAMS


@dataclass(frozen=True)
class Lack:
    """A missing item: a message, the log line that shows it, and the fix."""

    message: str
    line: str
    hint: str


def _install(package: str) -> str:
    return f"add {package} to `ARG BUILD_PACKAGES=` in the toolchain stage of the Dockerfile, then rebuild"


def _library(match: re.Match[str], line: str) -> Lack:
    name = match[1]
    package = LIBRARIES.get(name, "")
    hint = (
        _install(package)
        if package
        else f"find the package with `apt-file search {name}`, then add the package to `ARG BUILD_PACKAGES=`"
    )
    return Lack(f"The library {name} is not in the toolchain image.", line, hint)


def _program(match: re.Match[str], line: str) -> Lack:
    name = match[1]
    return Lack(f"The program {name} is not in the toolchain image.", line, _install(PROGRAMS.get(name, name)))


def _file(match: re.Match[str], line: str) -> Lack:
    path = re.sub(r"^/build/[^/]+/src/|^/context/", "", match[1])
    while re.search(r"[^/]+/\.\./", path):
        path = re.sub(r"(?:^|(?<=/))(?!\.\./)[^/]+/\.\./", "", path, count=1)
    hint = (
        f"add the line `!{path}` to docker/Dockerfile.dockerignore, then rebuild "
        "(`init --check` lists all missing files)"
    )
    return Lack(f"The file {path} is not in the build context.", line, hint)


def _says(message: str, hint: str) -> Callable[[re.Match[str], str], Lack]:
    """Return a rule that replaces {0} in its texts with the text that the pattern's group matched."""
    return lambda match, line: Lack(message.format(*match.groups()), line, hint.format(*match.groups()))


_clang = _says("libclang is not in the toolchain image.", _install("clang libclang-dev"))
_openssl = _says("The OpenSSL headers are not in the toolchain image.", _install("libssl-dev pkg-config"))
_stale_lock = _says(
    "Cargo.lock does not match the manifests.",
    "run `cargo update --workspace`, commit Cargo.lock, then rebuild",
)
_no_lock = _says(
    "The build context has no Cargo.lock.",
    "run `cargo generate-lockfile` and commit Cargo.lock; if it exists, add the line `!Cargo.lock` (or "
    "`!DIR/Cargo.lock`) to the ignore file, then rebuild",
)
_no_program = _says(
    "The workspace has no program named {0}.",
    "set the build argument BIN of the service in the compose file to a program in the workspace",
)
_database = _says(
    "An sqlx macro needs a database.",
    "run `cargo sqlx prepare --workspace`, commit .sqlx, and add `ENV SQLX_OFFLINE=true` to the compile stage",
)


def _no_package(match: re.Match[str], line: str) -> Lack:
    name = match[1] or match[2]
    return Lack(
        f"The base image's distribution release has no package named {name}.",
        line,
        "in the Dockerfile, use the package's name in this release, or use a base image with a different release",
    )


_old_database = _says(
    "An sqlx macro needs a database.",
    "enable sqlx's `offline` feature, run `cargo sqlx prepare` (`--merged` in a workspace) using a version of sqlx-cli "
    "that matches your sqlx version, and commit sqlx-data.json",
)
_no_root = _says(
    "A crate inherits from a workspace manifest that is not in the build context.",
    "add the line `!Cargo.toml` (or `!DIR/Cargo.toml`) to docker/Dockerfile.dockerignore, then rebuild",
)
_no_git = _says(
    "The toolchain image's cargo cannot fetch git repositories.",
    "run `cargo generate-lockfile`, commit Cargo.lock, then rebuild: if Cargo.lock contains git dependencies, the "
    "image will contain a version of cargo that can fetch them",
)
_git = _says(
    "The build was denied access to the repository {0}.",
    "for HTTPS, put a token in a cargo config file and set build.cargo_config to that file; for SSH, add "
    "`--mount=type=ssh` to the compile step and `ssh: [default]` to the service's build",
)
_OLD = "The toolchain image is too old: "
_NEWER_IMAGE = "set `ARG RUST_IMAGE=` at the top of the Dockerfile to a newer image, then rebuild"
_old_compiler = _says(f"{_OLD}{{0}}.", _NEWER_IMAGE)
_nightly = _says(
    "The code requires nightly Rust, but the toolchain image has stable Rust.",
    "set `ARG RUST_IMAGE=rustlang/rust:nightly` at the top of the Dockerfile, or make the code compile on stable",
)
_target = _says(
    "The toolchain image has no standard library for {0}.",
    "add `RUN rustup target add {0}` to the toolchain stage of the Dockerfile, then rebuild",
)
_network = _says(
    "{0} is unreachable.",
    "configure a crates.io mirror in a cargo config file and set build.cargo_config to that file",
)
_unreachable = _says(
    "{0} is unreachable.",
    "check the proxy (builds receive the variables HTTP_PROXY and HTTPS_PROXY), or change the step in the Dockerfile "
    "to download from a reachable server",
)
_no_server = _says(
    "{0} is unreachable.",
    "check the proxy (builds receive the variables HTTP_PROXY and HTTPS_PROXY), or vendor the git dependencies with "
    "`cargo vendor` and commit them",
)
_feature = _says(
    "The program {0} requires cargo features that are not enabled.",
    "set the build argument FEATURES of the services with this Dockerfile to the features that they require: {1}",
)
_certificate = _says(
    "A server's certificate is not trusted.",
    "set build.ca_bundle to your company's CA certificates (a PEM file passed to builds as a secret)",
)

#: Patterns in the output of cargo, rustc, linkers and build scripts, most specific first.
RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], Lack]], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (r"cannot create the lock file .* because --(?:locked|frozen)", _no_lock),
        (r"lock file .* needs to be updated but --(?:locked|frozen)", _stale_lock),
        (r"cannot update the lock file .* because --(?:locked|frozen)", _stale_lock),
        (r"target `([^`]+)` in package `[^`]+` requires the features: (.+)", _feature),
        (r"no bin target named `([^`]+)`", _no_program),
        (r"no binary '([^']+)' in the workspace", _no_program),
        (r"set `DATABASE_URL` to use query macros|no cached data for this query", _database),
        (r"`DATABASE_URL` must be set", _old_database),
        (r"failed to find a workspace root", _no_root),
        (r"on git_proxy_options", _no_git),
        (r"failed to resolve address for ([\w.-]+)", _no_server),
        (r"couldn't read `?([^`:]+)`?: No such file or directory", _file),
        (r"failed to read `([^`]+)`", _file),
        (r"[Cc]ould not find `(protoc)`", _program),
        (r"Unable to find libclang|couldn't find any valid shared libraries matching: \['libclang", _clang),
        (r"[Tt]he system library `([^`]+)` required by crate", _library),
        (r"[Tt]he (pkg-config) command could not be (?:found|run)", _program),
        (r"Could not find (?:directory of )?OpenSSL|Could not find openssl via pkg-config", _openssl),
        (r"is `([^`]+)` not installed\?", _program),
        (r"(?:^|\s)(?:sh|bash|env): (?:\d+: |line \d+: )?([\w.+-]+): (?:command )?not found", _program),
        (r"error: linker `([^`]+)` not found", _program),
        (r"(?:failed to find tool|error: could not find tool) [\"`]?([\w+.-]+)", _program),
        (r"invalid linker name in argument '-fuse-ld=(\w+)'", _program),
        (r"cannot find -l:?(?:lib)?([\w.+-]+?)(?:\.a|\.so)?(?::|$|\s)", _library),
        (r"ld: (?:error: )?unable to find library -l([\w.+-]+)", _library),
        (r"mold: (?:fatal|error): library not found: ([\w.+-]+)", _library),
        (r"E: Unable to locate package (\S+)|E: Package '([^']+)' has no installation candidate", _no_package),
        (r"requires (rustc [\d.]+)", _says(f"{_OLD}{{0}} is required.", _NEWER_IMAGE)),
        (r"(feature `edition20\d\d` is required)", _old_compiler),
        (r"(lock file version `?\d`?) (?:requires|was found)", _old_compiler),
        (r"may not be used on the stable release channel|only accepted on the nightly", _nightly),
        (r"the `([\w-]+)` target may not be installed", _target),
        (r"SSL certificate problem|certificate verify failed|self-signed certificate", _certificate),
        (r"failed to authenticate when downloading repository:? ?(\S*)", _git),
        (r"(?:[Cc]ould not resolve host|failed to download from)[: `]+([\w./:-]*crates\.io[\w./:-]*)", _network),
        (r"(?:[Cc]ould not resolve host|failed to download from)[: `]+([\w./:-]+)", _unreachable),
    )
)


#: Maximum length of a line to examine, in characters: a build may print anything.
_LINE = 2000

_STOPPED = re.compile(r"^(?:#\d+ [\d.]+ )?error: could not compile `([\w-]+)`")
_DEPENDENCY = re.compile(r"--> \S*/registry/src/[^/]+/([\w-]+?)-(\d+\.[\w.+-]*)/")


def _dependencies(log: Sequence[str]) -> tuple[Lack, ...]:
    """Return the registry crates that the compiler rejects, which cannot be fixed in the user's code."""
    lines = [line[:_LINE] for line in log]
    stopped = {match[1]: line for line in lines for match in [_STOPPED.search(line)] if match}
    named = {(m[1], m[2]) for line in lines for m in [_DEPENDENCY.search(line)] if m and m[1] in stopped}
    return tuple(
        Lack(
            f"The dependency {name} {version} does not compile with the toolchain image's compiler.",
            stopped[name].strip(),
            f"run `cargo update -p {name}@{version}` and commit Cargo.lock, or change `ARG RUST_IMAGE=` at the top of "
            "the Dockerfile to an image with a Rust version that can compile this dependency",
        )
        for name, version in sorted(named)
    )


def _other_rust(lack: Lack) -> Lack:
    """Extend the hint if changing RUST_IMAGE is not enough."""
    if "ARG RUST_IMAGE" not in lack.hint:
        return lack
    more = (
        "this toolchain image is built from Debian packages, so RUST_IMAGE has no effect: first set images.registry "
        "to a mirror, or load the image with `docker load`"
    )
    return replace(lack, hint=f"{lack.hint}; {more}")


def find(log: Sequence[str], *, packaged: bool = False) -> tuple[Lack, ...]:
    """Return everything that a step was missing, without duplicates, in log order.

    `packaged`: the toolchain image is built from Debian packages, so it has one version of Rust.
    """
    found = {(lack.message, lack.hint): lack for lack in _dependencies(log)}
    for line in (whole[:_LINE] for whole in log):
        for pattern, make in RULES:
            match = pattern.search(line)
            if match and (match.lastindex is None or any(match.groups())):
                lack = make(match, line.strip())
                found.setdefault((lack.message, lack.hint), lack)
                break
    lost = any("is unreachable" in lack.message for lack in found.values())  # which also explains missing packages
    kept = [lack for lack in found.values() if not (lost and "release has no package" in lack.message)]
    return tuple(_other_rust(lack) if packaged else lack for lack in kept)
