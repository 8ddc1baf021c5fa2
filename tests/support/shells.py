"""Real shells for tests, and make: every machine has bash; others are installed if they are missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import process


def program(name: str) -> str:
    """Return the path of a program; install it from the distribution if possible (Debian, root).

    Otherwise, the test fails in CI. On a developer's machine, nothing is installed: the test is skipped, with the
    command that installs the program.
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
