"""Adopt repositories of real size: up to 220 crates, a C library, protos, a front end (`nox -s adopt-real`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.adopted import adopting, start_edit_and_leave
from tests.support import repositories_real

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("base_images")]


@pytest.mark.parametrize("shape", sorted(repositories_real.CASES))
def test_adopted_and_started_without_a_manual_step(tmp_path: Path, shape: str) -> None:
    with adopting(tmp_path, shape) as repository:
        start_edit_and_leave(repository)
