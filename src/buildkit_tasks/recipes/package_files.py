"""The files that the package ships for other repositories. Their single source is this repository's own `docker/`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

#: Files in `docker/` that the compile step needs, if they exist in this version.
COMPILE_FILES = ("compile.sh", "compile.rs", "cross.sh")


def place() -> Path:
    """Return their directory: in the wheel (pyproject.toml puts them there), else in the checkout."""
    inside = Path(__file__).parents[1] / "data" / "adopt"
    return inside if (inside / "Dockerfile").is_file() else Path(__file__).parents[3] / "docker"


@cache
def template() -> str:
    """Return our own Dockerfile, which all others are derived from."""
    return (place() / "Dockerfile").read_text("utf-8")


@cache
def compile_files() -> Mapping[str, str]:
    """Return the names and texts of the files that the compile step needs besides the Dockerfile."""
    folder = place()
    return {name: (folder / name).read_text("utf-8") for name in COMPILE_FILES if (folder / name).is_file()}
