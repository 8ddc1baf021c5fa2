"""Record which recipe has passed the whole matrix, so that later runs only need a part of it.

The whole matrix takes a quarter of an hour, and its result cannot change while recipe and cases stay the same. After a
complete run has passed (`nox -s stale`), other runs take a sample: always the cornerstones, plus a share of the rest
that differs from commit to commit. After a change to the recipe, the whole matrix runs again.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[3]
_RECORD = Path(__file__).with_name("proof.json")

#: All that decides whether a case passes.
RECIPE = (
    "docker/compile.rs",
    "docker/cross.sh",
    "docker/Dockerfile",
    "src/buildkit_tasks/builds/transfer.py",
    "tests/engine/staleness/cases.py",
    "tests/engine/staleness/mutations.py",
    "tests/engine/staleness/tree.py",
)

#: One in so many tests is played where the recipe is proven.
SHARE = 5


def digest() -> str:
    """Of recipe and cases as they are now."""
    found = hashlib.sha256()
    for name in RECIPE:
        found.update(name.encode() + b"\0" + (PROJECT / name).read_bytes())
    return found.hexdigest()


def holds() -> bool:
    """Whether a complete run passed with exactly this."""
    try:
        return bool(json.loads(_RECORD.read_text())["recipe"] == digest())
    except (OSError, ValueError, KeyError):
        return False


def record(tests: int) -> None:
    """A complete run of so many tests has passed."""
    _RECORD.write_text(json.dumps({"recipe": digest(), "tests": tests}, indent=1) + "\n")


def commit() -> str:
    """What the share is drawn by; empty outside a repository."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def drawn(test: str, by: str) -> bool:
    """Whether a test is in the share of a commit."""
    return int(hashlib.sha256(f"{by} {test}".encode()).hexdigest(), 16) % SHARE == 0
