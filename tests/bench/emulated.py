"""A small crate for arm64: cross-compiled by docker/Dockerfile, and compiled with arm64's own cargo under QEMU.

The emulated image is built from Debian's arm64 packages, unpacked but not installed: the same versions of rustc, gcc
and mold as in the toolchain image. Both use the same downloaded crates, and both start with an empty target mount.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.images import emulator
from tests.bench import binfmt
from tests.bench.leftovers import clear
from tests.bench.sample import LONGEST, REPOSITORY, RUST
from tests.support import process

CA = Path("/etc/ssl/certs/ca-certificates.crt")

#: What `compile build` passes to cargo and gcc. The target is the machine itself, so it needs no flag.
EMULATED = f"""\
FROM --platform=$BUILDPLATFORM {RUST} AS packages
ARG TARGETARCH
RUN --mount=type=secret,id=ca,target={CA},mode=0444 \\
    set -eu; export APT_CONFIG=/foreign.conf; : > /nothing; mkdir -p /debs/partial /tree/usr /tree/tmp /tree/root; \\
    version=$(dpkg-query -W -f '${{Version}}' rustc-web); \\
    printf '%s\\n' "APT::Architecture \\"$TARGETARCH\\";" "APT::Architectures {{ \\"$TARGETARCH\\"; }};" \\
        'Dir::State::status "/nothing";' 'Dir::Cache::archives "/debs";' > "$APT_CONFIG"; \\
    apt-get update -qq; \\
    apt-get install -qq -y --no-install-recommends --download-only \\
        "rustc-web=$version" "cargo-web=$version" gcc libc6-dev mold dash coreutils > /dev/null; \\
    for name in bin sbin lib; do mkdir "/tree/usr/$name"; ln -s "usr/$name" "/tree/$name"; done; \\
    for package in /debs/*.deb; do \\
        dpkg-deb --fsys-tarfile "$package" | tar -x -C /tree --keep-directory-symlink; \\
    done; \\
    ln -sf gcc /tree/usr/bin/cc; ln -sf dash /tree/usr/bin/sh

FROM scratch AS toolchain
COPY --from=packages /tree /
ENV PATH=/usr/bin CARGO_HOME=/usr/local/cargo CARGO_TARGET_DIR=/build CARGO_INCREMENTAL=0 \\
    COMPILER_PATH=/usr/libexec/mold
RUN ["rustc", "-vV"]

FROM toolchain
ARG CACHE_SCOPE
ARG REBUILD
COPY services /src
WORKDIR /src
RUN --network=none \\
    --mount=type=cache,id=${{CACHE_SCOPE}}-cargo-registry,target=/usr/local/cargo/registry \\
    --mount=type=cache,id=${{CACHE_SCOPE}}-target-emulated,target=/build \\
    cargo build --locked --workspace --profile release --message-format json-render-diagnostics --bins > /messages
"""


@dataclass(frozen=True)
class Bench:
    """The crate's tree (a build context) and the prefix of the mounts' ids."""

    tree: Path
    scope: str

    def build(self, dockerfile: Path, arch: str, *more: str) -> float:
        """Return the wall-clock seconds of one `docker buildx build` that exports nothing."""
        named = [f"--build-context=rust:1-bookworm=docker-image://{RUST}", "--output=type=cacheonly"]
        args = [f"--build-arg=CACHE_SCOPE={self.scope}", f"--build-arg=REBUILD={secrets.token_hex(4)}"]
        certificates = [f"--secret=id=ca,src={CA}"] if CA.exists() else []
        what = [f"--platform=linux/{arch}", f"--file={dockerfile}", *more, *named, *args, *certificates]
        argv = ["docker", "buildx", "build", "--progress=plain", "--provenance=false", *what, str(self.tree)]
        began = time.monotonic()
        process.ok(argv, self.tree, timeout=LONGEST)
        return time.monotonic() - began


def measure(place: Path, session: Session) -> None:
    """Measure cross, emulated, cross; print the seconds and the ratio."""
    if platform.machine() != "x86_64" or os.geteuid() != 0:
        print("emulated: skipped, needs root on an amd64 machine")
        return
    bench = Bench(place / "small", f"bench-small-{secrets.token_hex(3)}")
    shutil.copytree(REPOSITORY / "docker", bench.tree / "docker")
    shutil.copytree(Path(__file__).parent / "small", bench.tree / "services")
    ours, other = bench.tree / "docker/Dockerfile", place / "Emulated"
    other.write_text(EMULATED)
    qemu = emulator.program(session, "linux/arm64")
    try:
        print("  small crate: fetching crates, building toolchain images ...", flush=True)
        bench.build(ours, "amd64", "--target=compile")  # fills the registry mount, which platforms share
        bench.build(ours, "arm64", "--target=toolchain")
        with binfmt.registered(qemu):
            bench.build(other, "arm64", "--target=toolchain")
            cross = [_cross(bench, ours)]
            emulated = bench.build(other, "arm64")
            print(f"  emulated: {emulated:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
        cross.append(_cross(bench, ours))
    finally:
        clear(f"{bench.scope}-")
    middle = statistics.mean(cross)
    print()
    print("Small crate for arm64: one `docker buildx build` with everything cached except the compile step")
    print("| cross, before and after, s | emulated, s | emulated / cross |")
    print("|---|---|---|")
    print(f"| {cross[0]:.1f}, {cross[1]:.1f} | {emulated:.1f} | **{emulated / middle:.1f}** |", flush=True)


def _cross(bench: Bench, dockerfile: Path) -> float:
    clear(f"{bench.scope}-target-arm64")
    seconds = bench.build(dockerfile, "arm64", "--target=compile")
    print(f"  cross: {seconds:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
    return seconds
