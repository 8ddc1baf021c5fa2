"""The files that the package carries for other repositories: one source of truth, this repository's own `docker/`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

#: Files of `docker/` that the compile step needs, in whichever of them this version has.
COMPILE_FILES = ("compile.sh", "compile.rs", "cross.sh")


def place() -> Path:
    """Where they lie: in the wheel (pyproject.toml puts them there), else in the checkout."""
    inside = Path(__file__).parents[1] / "data" / "adopt"
    return inside if (inside / "Dockerfile").is_file() else Path(__file__).parents[3] / "docker"


@cache
def template() -> str:
    """Our own Dockerfile, from which every other is derived."""
    return (place() / "Dockerfile").read_text("utf-8")


@cache
def compile_files() -> Mapping[str, str]:
    """Name to text of what the compile step needs beside the Dockerfile."""
    folder = place()
    return {name: (folder / name).read_text("utf-8") for name in COMPILE_FILES if (folder / name).is_file()}
