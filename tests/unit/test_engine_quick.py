"""Facts without `docker info`: only while the client's files are the same, and never through a wrapper script."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import facts, quick
from tests.support.engine_socket import EngineSocket, listening

CLIENT = {
    "Context": "default",
    "Plugins": [{"Name": "buildx", "Version": "0.13.1"}, {"Name": "compose", "Version": "2"}],
}
SLOW = Engine("slow", (26,), (0, 13, 1), (2,), "linux", "amd64", True, "default")


class Client:
    """A docker command with plugins; `asked` counts the calls of `docker info`."""

    def __init__(self, place: Path, engine: EngineSocket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.engine, self.asked = place, engine, 0
        self.world = World(
            env={"HOME": str(place), "PATH": f"{place}/first:{place}/bin", "DOCKER_HOST": f"unix://{engine.path}"},
            cwd=place,
            home=place,
        )
        self.world.state_home.mkdir(parents=True)
        self.file("bin/docker", b"\x7fELF")
        self.file(".docker/cli-plugins/docker-compose", b"\x7fELF")
        self.plugin = self.file(".docker/cli-plugins/docker-buildx", b"\x7fELF")
        self.slow = SLOW
        self.plugins = [
            {"Name": name, "Version": version, "Path": str(place / ".docker/cli-plugins" / f"docker-{name}")}
            for name, version in (("buildx", "0.13.1"), ("compose", "2"))
        ]
        monkeypatch.setattr(facts, "document", self.document)

    def file(self, name: str, content: bytes) -> Path:
        """Write a program or a file."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
        return path

    def document(self, _world: World, _cwd: Path) -> tuple[Mapping[str, Any], Engine]:
        self.asked += 1
        return {"ClientInfo": {"Context": "default", "Plugins": self.plugins}}, self.slow

    def find(self) -> Engine:
        return quick.find(self.world, self.place)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(quick, "_RECENT", 0)  # the files of a test are always new
    with tempfile.TemporaryDirectory() as short, listening(Path(short, "engine.sock")) as engine:
        yield Client(tmp_path, engine, monkeypatch)


def test_docker_runs_once_and_then_the_engine_and_the_record_answer(client: Client) -> None:
    assert client.find() == SLOW
    quickly = client.find()
    assert client.asked == 1
    assert (quickly.id, quickly.buildx, quickly.compose) == (client.engine.engine, (0, 13, 1), (2,))
    client.engine.engine = "another"
    assert client.find().id == "another"
    assert (client.world.state_home / "docker-client.json").stat().st_mode & 0o777 == 0o600


def test_plugins_start_without_docker_while_the_record_holds(client: Client) -> None:
    assert quick.plugins(client.world) == {}
    client.find()
    folder = client.place / ".docker/cli-plugins"
    assert quick.plugins(client.world) == {name: f"{folder}/docker-{name}" for name in ("buildx", "compose")}
    record = client.world.state_home / "docker-client.json"
    written = json.loads(record.read_text())
    shapes: tuple[object, ...] = ([{"Path": "/bin/sh"}], [{}], [1], "all", None)
    for plugins in shapes:
        record.write_text(json.dumps({**written, "client": {"Plugins": plugins}}))
        assert quick.plugins(client.world) == {}
    record.write_text(json.dumps(written))
    client.file(".docker/cli-plugins/docker-buildx", b"\x7fELF2")
    assert quick.plugins(client.world) == {}


def test_a_shim_under_the_name_of_docker_is_never_recorded(client: Client) -> None:
    (client.place / "bin/docker").rename(client.place / "bin/shims")
    (client.place / "bin/docker").symlink_to("shims")
    client.find()
    client.find()
    assert client.asked == 2
    assert quick.plugins(client.world) == {}


CHANGES: dict[str, Callable[[Client], object]] = {
    "plugin": lambda c: c.file(".docker/cli-plugins/docker-buildx", b"\x7fELF2"),
    "written again": lambda c: c.file(".docker/cli-plugins/docker-compose", b"\x7fELF"),
    "first on the path": lambda c: c.file("first/docker", b"\x7fELF"),
    "plugin away": lambda c: c.plugin.unlink(),
    "docker": lambda c: c.file("bin/docker", b"\x7fELF2"),
    "configuration": lambda c: c.file(".docker/config.json", b"{}"),
    "another path": lambda c: setattr(c, "world", replace(c.world, env={**c.world.env, "PATH": f"/x:{c.place}/bin"})),
    "damaged record": lambda c: (c.world.state_home / "docker-client.json").write_text("{"),
    "record of another shape": lambda c: _record(c, {"Plugins": "all"}),
    "engine away": lambda c: setattr(c, "world", replace(c.world, env={**c.world.env, "DOCKER_HOST": "unix:///none"})),
    "remote engine": lambda c: setattr(c, "world", replace(c.world, env={**c.world.env, "DOCKER_HOST": "ssh://x"})),
}


def _record(client: Client, recorded: object) -> None:
    file = client.world.state_home / "docker-client.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "client": recorded}))


@pytest.mark.parametrize("name", CHANGES)
def test_docker_runs_again_after_a_change(client: Client, name: str) -> None:
    client.find()
    client.find()
    assert client.asked == 1
    CHANGES[name](client)
    assert client.find() == SLOW
    assert client.asked == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [("bin/docker", b"#!/bin/sh\nexec ssh far docker"), (".docker/config.json", b'{"cliPluginsExtraDirs": ["/x"]}')],
)
def test_what_we_cannot_see_through_is_never_recorded(client: Client, name: str, content: bytes) -> None:
    client.file(name, content)
    client.find()
    client.find()
    assert client.asked == 2


@pytest.mark.parametrize("change", ["version missing", "plugin elsewhere", "no path", "unreadable"])
def test_an_incomplete_or_foreign_answer_is_never_recorded(client: Client, change: str) -> None:
    if change == "version missing":
        client.slow = replace(SLOW, compose=())
    elif change == "plugin elsewhere":
        client.plugins[1]["Path"] = str(client.file("snap/docker-compose", b"\x7fELF"))
    elif change == "no path":
        del client.plugins[0]["Path"]
    else:
        (client.place / "bin/docker").unlink()
        (client.place / "bin/docker").mkdir()
    client.find()
    client.find()
    assert client.asked == 2


def test_a_file_that_just_changed_is_not_recorded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "_RECENT", 10**12)
    client.find()
    client.find()
    assert client.asked == 2


def test_the_error_is_that_of_docker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.find()

    def silent(_world: World, _cwd: Path) -> tuple[Mapping[str, Any], Engine]:
        raise Problem("engine-stopped", "No engine is listening.")

    monkeypatch.setattr(facts, "document", silent)
    client.engine.path.unlink()
    with pytest.raises(Problem, match="No engine is listening"):
        client.find()
