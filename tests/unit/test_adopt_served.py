"""The shapes whose services keep running, without an engine: understood, nothing to check, nothing left to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.distributions import bookworm
from buildkit_tasks.survey import look
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.support.repositories_served import CASES, SHAPES


@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"profiles"}))  # only compose can merge its files
def test_a_shape_is_understood_whole(tmp_path: Path, shape: str) -> None:
    options, service, prints, _ = CASES[shape]
    place = tmp_path / shape
    files = SHAPES[shape]()
    for _ in range(2):
        repositories.write(place, files)
        found = tree.read(place)
        name = next(n for n in files if "compose.y" in n)
        finding = look.find(found, repositories.resolved(place, files[name]), (name,))
        assert service in [s.name for s in finding.services], finding.left
        if "bookworm" in options:
            finding = bookworm.apply(finding)
        written = adopted.write(found, finding)
        assert [n for n in written.notes if n.open] == []
        if all(s.adopted for s in finding.services):
            break
        files = {**files, **written.texts}
    assert written.texts == {}
    text = files["docker/Dockerfile"] if "docker/Dockerfile" in files else files["docker/rust.Dockerfile"]
    assert prints
    assert "USER nonroot" not in text
