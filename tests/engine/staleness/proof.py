"""Record which recipe has passed the whole matrix, so that later runs only need a part of it.

The whole matrix takes a quarter of an hour, and its result cannot change while recipe and cases stay the same. After a
complete run has passed (`nox -s stale`), other runs take a sample: all cornerstone cases, plus a share of the rest that
differs from commit to commit. After a change to the recipe, the whole matrix runs again.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[3]
_RECORD = Path(__file__).with_name("proof.json")

#: The files that decide whether a case passes.
RECIPE = (
    "docker/compile.rs",
    "docker/cross.sh",
    "docker/Dockerfile",
    "src/buildkit_tasks/builds/transfer.py",
    "tests/engine/staleness/cases.py",
    "tests/engine/staleness/mutations.py",
    "tests/engine/staleness/tree.py",
)

#: If the recipe is proven, one in this many tests runs.
SHARE = 5


def digest() -> str:
    """Return the digest of the current recipe and cases."""
    found = hashlib.sha256()
    for name in RECIPE:
        found.update(name.encode() + b"\0" + (PROJECT / name).read_bytes())
    return found.hexdigest()


def holds() -> bool:
    """Return whether a complete run has passed with the current recipe."""
    try:
        return bool(json.loads(_RECORD.read_text())["recipe"] == digest())
    except (OSError, ValueError, KeyError):
        return False


def record(tests: int) -> None:
    """Record that a complete run of this many tests has passed."""
    _RECORD.write_text(json.dumps({"recipe": digest(), "tests": tests}, indent=1) + "\n")


def commit() -> str:
    """Return the commit that selects the share; return an empty string outside a repository."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def drawn(test: str, by: str) -> bool:
    """Return whether a test is in the share of a commit."""
    return int(hashlib.sha256(f"{by} {test}".encode()).hexdigest(), 16) % SHARE == 0
