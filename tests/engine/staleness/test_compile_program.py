"""The compile program's own tests, run in the toolchain images, for machines without rustc."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.staleness.site import PROJECT, Images
from tests.support import process

pytestmark = pytest.mark.engine


def test_its_own_tests_pass_in_the_toolchain_image(images: Images) -> None:
    script = "rustc --edition 2021 --test -D warnings -o /tmp/compile /docker/compile.rs && /tmp/compile"
    mount = f"{PROJECT / 'docker'}:/docker:ro"
    done = process.run(["docker", "run", "--rm", "-v", mount, images["plain"], "sh", "-c", script], PROJECT)
    assert done.code == 0, done.all
    assert "test result: ok" in done.out


@pytest.mark.parametrize(
    ("file", "answer", "said"),
    [
        ("rust-toolchain.toml", 0, "rustup toolchain install\n"),
        ("rust-toolchain", 0, "rustup toolchain install\n"),
        ("other.toml", 0, ""),
        ("source/rust-toolchain.toml", 0, "rustup toolchain install\n"),  # the Dockerfile of an earlier version
        ("rust-toolchain", 1, "rustc 1."),  # an older rustup: its rustc installs the missing toolchain
    ],
)
def test_the_toolchain_stage_installs_the_selected_toolchain(
    images: Images, tmp_path: Path, file: str, answer: int, said: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("1.80\n")
    fake = f'#!/bin/sh\\n[ {answer} = 1 ] || echo "rustup $*"; exit {answer}\\n'
    script = f"printf '{fake}' > /usr/local/bin/rustup && chmod 755 /usr/local/bin/rustup && sh /docker/cross.sh"
    mounts = ["-v", f"{PROJECT / 'docker'}:/docker:ro", "-v", f"{tmp_path}:/choice:ro"]
    done = process.run(["docker", "run", "--rm", *mounts, images["plain"], "sh", "-c", script], PROJECT)
    assert done.code == 0, done.all
    assert done.out.startswith(said), done.out
    assert said or not done.out
