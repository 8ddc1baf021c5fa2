"""Concurrent builds: all of them succeed, whichever is first to create an image name."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.support import process

pytestmark = [pytest.mark.engine]

#: If twelve plain builds write one new name at the same moment, up to eleven fail with "already exists" (26.1.5).
TOGETHER = 12


def test_twelve_first_builds_of_one_image_all_end_well(tmp_path: Path) -> None:
    image = f"races/{secrets.token_hex(4)}:new"
    (tmp_path / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
    (tmp_path / "own").write_text(image)
    dockerfile = "FROM scratch\\nCOPY own /own\\n"
    (tmp_path / "compose.yaml").write_text(
        f'name: races\nservices: {{a: {{image: "{image}", build: {{dockerfile_inline: "{dockerfile}"}}}}}}\n'
    )
    env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(tmp_path / "state")}
    try:
        started = [process.start([process.BIN / "invoke", "build"], tmp_path, env) for _ in range(TOGETHER)]
        ended = [(one.communicate(timeout=300)[1], one.returncode) for one in started]
        assert [code for _, code in ended] == [0] * TOGETHER, "\n".join(words for words, code in ended if code)
        assert process.run(["docker", "image", "inspect", image], tmp_path).code == 0
    finally:
        process.run(["docker", "image", "rm", "-f", image], tmp_path)
