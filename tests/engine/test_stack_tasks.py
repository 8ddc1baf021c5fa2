"""run, extract and clean with a real engine: what they leave, and what they do not touch."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import process

pytestmark = pytest.mark.engine

MANIFEST = {
    "format": 1,
    "crate": "api",
    "binary": "api-server",
    "features": [],
    "profile": "release",
    "incremental": False,
    "rustflags": "",
    "toolchain": {"key": "k", "rustc": "rustc 1.0", "host": "x86_64-unknown-linux-gnu"},
    "lock": "",
    "source": "",
    "workspace": ".",
    "script": "docker/compile.rs",
    "packages": ["api"],
    "files": {},
}


class Shop:
    """A project with an image that contains a program and its manifest, and a service with a volume."""

    def __init__(self, root: Path, base: str) -> None:
        self.root, self.project, self.base = root, f"tasks-{secrets.token_hex(3)}", base
        (root / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
        (root / "manifest.json").write_text(json.dumps(MANIFEST))
        (root / "Dockerfile").write_text(
            f"FROM {base}\nCOPY manifest.json /usr/local/share/buildkit-tasks/manifest.json\n"
            "COPY --chmod=755 program /usr/local/bin/service\nCOPY tasks.py /data/sub/tasks.py\n"
            'ENTRYPOINT ["/usr/local/bin/service"]\n'
        )
        (root / "program").write_text('#!/bin/sh\nfor word; do echo "<$word>"; done\nexit 5\n')
        store = {"image": base, "command": ["sleep", "300"], "init": True, "volumes": ["data:/data"]}
        services = {"api": {"build": ".", "depends_on": ["store"]}, "store": store}
        model = {"name": self.project, "services": services, "volumes": {"data": {}}}
        (root / "compose.yaml").write_text(json.dumps(model))

    def invoke(self, *args: str) -> process.Done:
        env = {"CI": None, "XDG_STATE_HOME": str(self.root / "state")}
        return process.run([process.BIN / "invoke", *args], self.root, env, timeout=300)

    def left(self) -> dict[str, list[str]]:
        """Return what the engine has of this project, by kind."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds: dict[str, list[str]] = {"container": ["--all"], "network": [], "volume": [], "image": []}
        return {
            kind: process.ok(["docker", kind, "ls", "-q", *more, "--filter", label], self.root).out.split()
            for kind, more in kinds.items()
        }


@pytest.fixture
def shops(tmp_path: Path, base_images: Mapping[str, str]) -> Iterator[tuple[Shop, Shop]]:
    """Create two projects; remove both when the test is done."""
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(Shop(tmp_path / name, base))
    yield made[0], made[1]
    for shop in made:
        down = ["down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "1"]
        process.run(["docker", "compose", "-p", shop.project, *down], shop.root)


def test_run_extract_and_clean(shops: tuple[Shop, Shop]) -> None:
    shop, other = shops
    ran = shop.invoke("run", "--service", "api", "--", "two  words", "--flag", "$HOME")
    assert (ran.code, ran.out) == (5, "<two  words>\n<--flag>\n<$HOME>\n"), ran.all
    assert len(shop.left()["container"]) == 1  # the dependency; the one-off container has been removed

    done = shop.invoke("extract", "api", "--to", "out")
    assert done.code == 0, done.all
    assert (shop.root / "out" / "api-server").read_text() == (shop.root / "program").read_text()
    assert (shop.root / "out" / "api-server").stat().st_mode & 0o111
    assert shop.invoke("extract", "api", "--to", "out", "--path", "/data").code == 0
    (shop.root / "out/data/mine").write_text("kept")
    for path in ("/data", "/data/.", "/"):
        assert shop.invoke("extract", "api", "--to", "out", "--path", path).code == 33
    assert (shop.root / "out/data/mine").read_text() == "kept"
    assert (shop.root / "out" / "data" / "sub" / "tasks.py").is_file()
    assert sorted(p.name for p in (shop.root / "out").iterdir()) == ["api-server", "data"]

    assert other.invoke("up").code == 25  # its api exits with 5; everything has been created
    before = other.left()
    assert all(before.values())
    cleaned = shop.invoke("clean", "--yes")
    assert cleaned.code == 0, cleaned.all
    left = shop.left()
    assert (left["container"], left["network"], left["image"]) == ([], [], [])
    assert len(left["volume"]) == 1
    assert shop.invoke("clean", "--volumes", "--confirm", shop.project).code == 0
    assert not any(shop.left().values())
    assert other.left() == before


def test_clean_does_not_touch_what_a_label_or_name_of_another_project_names(shops: tuple[Shop, Shop]) -> None:
    """A label and the name of a network may contain line breaks: a listing must not read them as further lines."""
    shop, other = shops
    victim = f"{other.project}-plain"
    label = f"com.docker.compose.project={shop.project}"
    lie = f"com.docker.compose.service=x\n{victim} y"
    named = f"{shop.project}-liar"
    network = f"{shop.project}_x\n{other.project}_free"
    for argv in (
        ["docker", "create", "--name", named, "--label", label, "--label", lie, shop.base, "true"],
        ["docker", "create", "--name", victim, shop.base, "true"],
        ["docker", "network", "create", f"{other.project}_free"],
        ["docker", "network", "create", "--label", label, network],
    ):
        process.ok(argv, shop.root)
    try:
        cleaned = shop.invoke("clean", "--yes")
        assert cleaned.code == 0, cleaned.all
        assert process.run(["docker", "inspect", victim], shop.root).code == 0
        kept = process.ok(["docker", "network", "ls", "--format", "{{json .Name}}"], shop.root).out.splitlines()
        assert json.dumps(f"{other.project}_free") in kept
        assert process.run(["docker", "inspect", named], shop.root).code != 0
    finally:
        process.run(["docker", "rm", "-f", named, victim], shop.root)
        found = process.ok(["docker", "network", "ls", "-q", "--filter", f"name={other.project}_free"], shop.root).out
        process.run(["docker", "network", "rm", *found.split()], shop.root)
