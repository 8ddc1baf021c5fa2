"""A fresh checkout without .env whose compose file requires values: read-only commands work, builds fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import process

pytestmark = [pytest.mark.engine]

REPOSITORY = Path(__file__).parents[2]

COMPOSE = """\
name: bt-fresh
services:
  api:
    build: {context: ., dockerfile: docker/Dockerfile, args: {BIN: api, CACHE_SCOPE: bt-fresh, T: "${TAG?no tag}"}}
    environment: {DATABASE_URL: "postgres://app:${PASSWORD:?no password}@db/${NAME:-${OTHER:?neither}}"}
    ports: ["${PORT:?no port}:8080"]
  db: {image: "debian:bookworm-slim"}
"""

#: Commands that do not need values from .env, with the expected exit codes.
LOOKING = {
    "cache": 0,
    "cache --advice": 0,
    "cache --gc": 0,
    "cache.clear --dry-run": 0,
    "cache.trim --dry-run": 0,
    "prune --dry-run": 0,
    "images": 0,
    "images.override": 0,
    "lint": 0,
    "engine.status": 0,
    "builder": 0,
    "settings": 0,
    "doctor": 37,
}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "docker").mkdir(parents=True)
    for name in ("Dockerfile", "compile.rs", "cross.sh"):
        shutil.copy(REPOSITORY / "docker" / name, root / "docker" / name)
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
    (root / "compose.yaml").write_text(COMPOSE)
    (root / ".dockerignore").write_text("*\n!services\n!docker/compile.rs\n!docker/cross.sh\n**/target\n")
    (root / ".env.example").write_text("PASSWORD=\nPORT=8080\nTAG=x\nOTHER=y\n")
    return root


def invoke(root: Path, line: str) -> process.Done:
    return process.run([process.BIN / "invoke", *line.split()], root, {"XDG_STATE_HOME": str(root.parent / "state")})


@pytest.mark.parametrize("line", LOOKING)
def test_a_command_that_looks_asks_for_no_value(fresh: Path, line: str) -> None:
    done = invoke(fresh, line)
    assert done.code == LOOKING[line], done.all
    assert "dotenv-incomplete" not in done.err
    assert "47083" not in done.all


@pytest.mark.parametrize("line", ["build", "build --plan", "up", "verify"])
def test_a_build_and_the_stack_do(fresh: Path, line: str) -> None:
    done = invoke(fresh, line)
    assert done.code == 5
    assert "has no value" in done.err
    assert "invoke dotenv" in done.err


def test_a_file_that_cannot_be_read_is_passed_over_unless_it_names_the_project(fresh: Path) -> None:
    (fresh / ".env").write_text("PASSWORD='unfinished\n")
    done = invoke(fresh, "cache")
    assert done.code == 0, done.err
    assert "The compose file was read without .env." in done.err
    (fresh / ".env").write_text("COMPOSE_PROJECT_NAME=mine\nPASSWORD='unfinished\n")
    assert invoke(fresh, "cache.clear --dry-run").code == 5
