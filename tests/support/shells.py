"""Real shells for tests: bash is everywhere; zsh and fish are installed where they are missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import process


def program(name: str) -> str:
    """The path of a shell. Installed from the distribution where that is possible (Debian, root); else the test fails
    in CI, and elsewhere is skipped with the command that makes it run: a developer's machine is not ours to change.
    """
    if found := shutil.which(name):
        return found
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", name]
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        here = Path.cwd()
        if process.run(install, here, quiet).code:
            process.ok(["apt-get", "update", "-qq"], here, quiet)
            process.ok(install, here, quiet)
    found = shutil.which(name)
    if not found and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed: sudo {' '.join(install)}")
    assert found, f"{name} is neither installed nor installable here"
    return found
