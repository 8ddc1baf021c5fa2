"""Generated compose files: our images have the same bytes and configuration as compose's.

Each build covers many files: compose and buildkit-tasks each start once for `TOGETHER` of them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.support import built_images, compose_trees, newer_plugins, process
from tests.support.compose_trees import Made

pytestmark = [pytest.mark.engine]

#: How many compose files; `BT_COMPOSE_FILES=300` is the long run, with different files each time.
EXAMPLES = int(os.environ.get("BT_COMPOSE_FILES", "15"))

#: Number of compose files per build.
TOGETHER = 15


class Rounds:
    """Build the files in rounds."""

    def __init__(self, place: Path, config: Path | None) -> None:
        self.place, self.newest = place, config is not None
        self.env: dict[str, str | None] = {**compose_trees.ENVIRONMENT, "COMPOSE_PROFILES": "on", "CI": None}
        self.env |= {"XDG_STATE_HOME": str(place / "state"), "DOCKER_CONFIG": str(config) if config else None}
        self.images = 0

    def play(self, files: Sequence[Made]) -> list[str]:
        """Return the differences, one per line; keep the tree of rounds that have any."""
        project = f"gen{secrets.token_hex(3)}"
        root = self.place / project
        compose_trees.write(root, project, files)
        images = self._images(root)
        try:
            for again in (2, 1, 0):
                done = process.run(["docker", "compose", "build"], root, self.env)
                if not (done.code and again and "context deadline exceeded" in done.err):
                    break  # otherwise, a shared engine was too busy to accept compose's session in time
            assert done.code == 0, done.all
            theirs = built_images.facts(images, root, self.env)
            process.run(["docker", "image", "rm", "-f", *images], root)
            process.ok([process.BIN / "invoke", "build"], root, self.env)
            ours = built_images.facts(images, root, self.env)
        finally:
            process.run(["docker", "image", "rm", "-f", *images], root)
        assert sorted(theirs) == sorted(ours) == sorted(images)
        self.images += len(images)
        found = [f"{i}: {line}" for i in images for line in built_images.difference(ours[i], theirs[i])]
        if not found:
            shutil.rmtree(root)
        return [f"{root}: {line}" for line in found]

    def _images(self, root: Path) -> list[str]:
        """Return all image names of the active services."""
        model = json.loads(process.ok(["docker", "compose", "config", "--format", "json"], root, self.env).out)
        names = []
        for name, service in model["services"].items():
            names += [service.get("image", f"{model['name']}-{name}"), *service["build"].get("tags", ())]
        return list(dict.fromkeys(names))


@pytest.fixture(params=["installed", "newest"])
def rounds(request: pytest.FixtureRequest, tmp_path: Path) -> Rounds:
    newest = request.param == "newest"
    if newest and EXAMPLES <= 15:
        pytest.skip("the long run plays both ages; test_compose.py builds with the newest each time")
    return Rounds(tmp_path, newer_plugins.config() if newest else None)


def test_generated_files_make_the_images_that_compose_makes(rounds: Rounds, base_images: Mapping[str, str]) -> None:
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    found: dict[tuple[str, ...], Made] = {}  # hypothesis tends to vary examples only slightly

    # no shrinking: a smaller example would take minutes
    @settings(
        max_examples=EXAMPLES * 8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        derandomize=EXAMPLES <= 15,
        database=None,
    )
    @given(made=compose_trees.projects(base, templates=not rounds.newest))
    def generate(made: Made) -> None:
        found.setdefault(tuple(sorted(made.services)), made)

    generate()
    files = list(found.values())[:EXAMPLES]
    differences = [line for at in range(0, len(files), TOGETHER) for line in rounds.play(files[at : at + TOGETHER])]
    assert differences == []
    assert len(files) == EXAMPLES
    assert rounds.images >= EXAMPLES
