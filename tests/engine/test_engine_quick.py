"""The facts of the engine without `docker info` are those of `docker info`, in every kind of local context."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import ask, facts, quick
from buildkit_tasks.images import choice

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("way", ["default", "variable", "context"])
def test_the_facts_are_those_of_docker_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    socket = ask.address(World.real())
    assert socket
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    if way == "variable" or socket != facts.DEFAULT_SOCKETS[0]:
        env["DOCKER_HOST"] = f"unix://{socket}"
    world = World(env=env, cwd=tmp_path, home=tmp_path)
    if way == "context":
        env.pop("DOCKER_HOST", None)
        for words in (f"create other --docker host=unix://{socket}", "use other"):
            run.check(world, Command(("docker", "context", *words.split()), tmp_path))
        time.sleep(2.1)  # a configuration that just changed is not recorded
    world.state_home.mkdir(parents=True)
    wanted = quick.find(world, tmp_path)
    assert wanted == facts.facts(world, tmp_path)
    assert wanted.context == ("other" if way == "context" else "default")
    monkeypatch.setattr(facts, "document", None)
    assert quick.find(world, tmp_path) == wanted
    direct = replace(world, plugins=lambda: quick.plugins(world))
    assert set(direct.plugins()) == {"buildx", "compose"}
    (tmp_path / "compose.yaml").write_text("name: direct\nservices: {a: {image: busybox}}\n")
    for words in ("compose config", "compose ps --all", "buildx inspect", "buildx du --nothing", "compose nothing"):
        command = Command(("docker", *words.split()), tmp_path)
        ours, theirs = run.capture(direct, command), run.capture(world, command)
        assert (ours.code, ours.stdout, ours.stderr) == (theirs.code, theirs.stdout, theirs.stderr)


def test_image_ids_are_those_that_docker_reports(tmp_path: Path) -> None:
    real = World.real()
    image = f"bt-ids-{secrets.token_hex(4)}"
    run.check(real, Command(("docker", "build", "-q", "-t", image, "-"), tmp_path, stdin="FROM scratch\nLABEL a=b\n"))
    try:
        direct = replace(real, plugins=lambda: {"compose": "/x"})
        names = (image, f"{image}:latest", f"docker.io/library/{image}", "bt-nothing", "bt-no:tag", "?")
        for asked in (names[:-1], names, ()):
            ours, theirs = (choice.ids(Session(world, Report(world)), asked) for world in (direct, real))
            assert ours == theirs
            assert len(ours) == 3 * bool(asked)
    finally:
        run.check(real, Command(("docker", "image", "rm", image), tmp_path))
