"""The replacement for `rust:1-bookworm`: check in a container what crates expect of the official image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildkit_tasks.images import names
from tests.support import process

pytestmark = pytest.mark.engine

TOOLS = (
    *("autoconf", "automake", "bzip2", "curl", "file", "g++", "gcc", "gpg", "libtoolize", "make", "patch", "perl"),
    *("pkg-config", "python3", "ssh", "unzip", "wget", "xz", "cargo", "rustc", "mold", "cmake", "git"),
)

#: A repository served inside the container: the test's network cannot reach any other.
GIT_DEPENDENCY = """
set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c
mkdir -p /srv/dep/src /work/src && cd /srv/dep
printf '[package]\\nname="dep"\\nversion="0.1.0"\\nedition="2021"\\n' > Cargo.toml
echo 'pub const N: u8 = 7;' > src/lib.rs && git init -q && git add -A && git commit -qm one
git clone -q --bare . /srv/dep.git
git daemon --base-path=/srv --export-all --listen=127.0.0.1 --detach /srv
cd /work && printf '[package]\\nname="app"\\nversion="0.1.0"\\nedition="2021"\\n' > Cargo.toml
echo 'fn main() { println!("answer {}", dep::N) }' > src/main.rs && cargo -V
printf '[dependencies]\\ndep = { git = "git://127.0.0.1/dep.git" }\\n' >> Cargo.toml
cargo generate-lockfile && cargo -V && cargo fetch --locked --manifest-path /work/Cargo.toml
cd / && cargo build --frozen --manifest-path=/work/Cargo.toml && /work/target/debug/app
"""


@pytest.fixture(scope="module")
def toolchain(base_images: Mapping[str, str]) -> str:
    """Return the image of the current recipe; build it only if a registry provides the one that builds use."""
    repository = Path(__file__).parents[2]
    if "rust:1-bookworm" not in base_images:
        process.ok([process.BIN / "invoke", "images.build", "--only", "rust", "--yes"], repository, timeout=1800)
    recipe = names.named("rust")
    assert recipe is not None
    return recipe.image


def test_it_has_the_tools_that_build_scripts_call(toolchain: str, tmp_path: Path) -> None:
    script = "for tool; do command -v $tool >/dev/null || echo $tool; done"
    argv = ["docker", "run", "--rm", "--network", "none", toolchain, "sh", "-c", script, "sh", *TOOLS]
    done = process.ok(argv, tmp_path)
    assert done.out.split() == []


def test_a_git_dependency_is_fetched_and_built(toolchain: str, tmp_path: Path) -> None:
    argv = ["docker", "run", "--rm", "--network", "none", toolchain, "sh", "-c", GIT_DEPENDENCY.replace("\\\\n", "\\n")]
    done = process.ok(argv, tmp_path)
    assert "answer 7" in done.out
    newest, other = (line for line in done.out.splitlines() if line.startswith("cargo "))
    assert newest != other, "the older cargo was not taken for the lock file with a git repository"
