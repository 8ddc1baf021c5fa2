"""The compile program's own tests, in the toolchain images: what a bare machine without rustc has."""

from __future__ import annotations

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
