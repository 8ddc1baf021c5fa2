"""What `init --check` says of variables that compose requires: the file that sets them is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import check
from buildkit_tasks.survey import tree


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, "write NAME=VALUE into .env"),
        ({"deploy.env": "A=1\nB=2\n"}, "run `cp deploy.env .env`"),
        ({"env.template": "A=1\n", "deploy.env": "A=1\nB=2\n"}, "run `cp deploy.env .env`"),
        ({"env.template": "A=1\nB=\n"}, "run `cp env.template .env`, then set the other 1"),
        ({"a b.env": "A=1\nB=2\n"}, "run `cp 'a b.env' .env`"),
        ({"deep/deploy.env": "A=1\nB=2\n", "environment": "A=1\nB=2\n"}, "write NAME=VALUE into .env"),
        ({"broken.env": "A='1\n"}, "write NAME=VALUE into .env"),
    ],
)
def test_the_file_that_sets_what_compose_requires_is_named(
    tmp_path: Path, texts: dict[str, str], expected: str
) -> None:
    (note,) = check.variables(tree.make(tmp_path, (), texts), "compose.yaml", ["A", "B"])
    assert note.open
    assert note.text == f"compose requires a value for A, B: {expected}"


def test_the_file_is_looked_for_beside_the_compose_file(tmp_path: Path) -> None:
    files = tree.make(tmp_path, (), {"run/.env.example": "A=1\n", "deploy.env": "A=1\n"})
    (note,) = check.variables(files, "run/compose.yaml", ["A"])
    assert note.where == "run/.env"
    assert note.text.endswith("run `cp run/.env.example run/.env`")


def test_nothing_is_said_if_all_is_set(tmp_path: Path) -> None:
    assert check.variables(tree.make(tmp_path, (), {"deploy.env": "A=1\n"}), "compose.yaml", []) == []
