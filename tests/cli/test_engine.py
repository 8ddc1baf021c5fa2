"""engine.* through the real command line."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.engine import host
from tests.cli.conftest import Bench
from tests.support import process
from tests.support.situations import INFO

SILENT = {"ServerVersion": "", "ServerErrors": ["Cannot connect"], "ClientInfo": INFO["ClientInfo"]}


def test_status_tells_versions_and_address(bench: Bench) -> None:
    done = bench.invoke("engine.status")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert any(line.split() == ["Docker", "Engine", "28.5.2", "23", "or", "newer"] for line in lines), done.out
    assert any("unix:///var/run/docker.sock (context default)" in line for line in lines)


def test_status_as_json_is_one_document(bench: Bench) -> None:
    found = json.loads(bench.invoke("engine.status", "--json").out)
    assert found["schema"] == 1
    assert found["engine"]["version"] == "28.5.2"
    assert found["engine"]["lacks"] == []


def test_an_old_engine_is_told_with_what_is_wanted(bench: Bench) -> None:
    bench.reply("info", stdout=json.dumps({**INFO, "ServerVersion": "20.10.24"}))
    done = bench.invoke("engine.status")
    assert done.code == 13
    assert "error[engine-too-old]: Docker Engine 23 or newer is required; found 20.10.24." in done.err
    assert "hint: invoke engine.install" in done.err


def test_missing_plugins_are_told(bench: Bench) -> None:
    bench.reply("info", stdout=json.dumps({**INFO, "ClientInfo": {"Context": "default", "Plugins": []}}))
    done = bench.invoke("engine.status")
    assert done.code == 16
    assert "the compose plugin: not found, required: 2.20 or newer" in done.err


def test_a_socket_nobody_listens_at_is_a_stopped_engine(bench: Bench, tmp_path: Path) -> None:
    bench.reply("info", stdout=json.dumps(SILENT))
    bench.env["DOCKER_HOST"] = f"unix://{tmp_path}/none.sock"
    done = bench.invoke("engine.status")
    assert done.code == 11
    assert f"error[engine-stopped]: No engine is listening at {tmp_path}/none.sock." in done.err


def test_somebody_elses_engine_is_not_ours_to_start(bench: Bench) -> None:
    """DOCKER_HOST points to another machine: starting a local engine would not help, so nothing is started."""
    bench.reply("info", stdout=json.dumps(SILENT))
    bench.env["DOCKER_HOST"] = "tcp://127.0.0.1:1"
    done = bench.invoke("engine.start", "--yes")
    assert done.code == 11
    assert "The engine at tcp://127.0.0.1:1 does not respond." in done.err


def test_no_rights_is_told_apart_from_no_engine(bench: Bench, tmp_path: Path) -> None:
    bench.reply("info", stdout=json.dumps(SILENT))
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        # Root can open anything, so drop this capability.
        less = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        env = {**bench.environment(), "DOCKER_HOST": f"unix://{path}"}
        done = process.run([*less, process.BIN / "invoke", "engine.status"], bench.root, env)
    assert done.code == 12, done.err
    assert f"error[engine-denied]: Permission denied while connecting to the engine at {path}." in done.err
    assert "usermod -aG docker" in done.err


def test_no_docker_at_all(bench: Bench) -> None:
    (bench.place / "bin" / "docker").unlink()
    bench.env["PATH"] = f"{bench.place}/bin:{process.BIN}"
    done = bench.invoke("engine.status")
    assert done.code == 10
    assert "error[engine-missing]" in done.err
    assert "hint: run `invoke engine.install`" in done.err


@pytest.mark.skipif(not host.release().apt, reason="the question is about apt")
def test_nothing_is_installed_without_consent(bench: Bench) -> None:
    """Without a terminal to ask, the changes are listed but not made."""
    bench.reply("info", stdout=json.dumps({**INFO, "ClientInfo": {"Context": "default", "Plugins": []}}))
    before = host.apt_sources(), sorted(Path("/etc/apt").rglob("*"))
    done = bench.invoke("engine.install")
    assert done.code == 18, done.all
    assert "apt-get install" in done.err
    assert "compose" in done.err
    assert "rerun the command with --yes" in done.err
    assert before == (host.apt_sources(), sorted(Path("/etc/apt").rglob("*")))


def test_install_with_nothing_missing_changes_nothing(bench: Bench) -> None:
    done = bench.invoke("engine.install", "--yes")
    assert done.code == 0
    assert "nothing to install" in done.err


@pytest.mark.parametrize(
    ("env", "answer", "words"),
    [
        (
            {"DOCKER_CONTEXT": "gone"},
            {"stderr": 'context "gone": context not found\n', "code": 1},
            "the context 'gone'",
        ),
        ({}, {"stderr": 'context "old": context not found\n', "code": 1}, "its current context"),
        ({}, {"stdout": "<html>sign in</html>\n"}, "its current context"),
    ],
)
def test_an_unknown_context_is_named_and_no_engine_is_started(
    bench: Bench, env: dict[str, str], answer: dict[str, Any], words: str
) -> None:
    bench.env |= env
    bench.reply("info --format", stdout="{}", stderr="Failed to initialize: unable to resolve docker endpoint")
    bench.reply("context inspect", **answer)
    for task in (["build", "--yes"], ["engine.start", "--yes"], ["engine.status"]):
        done = bench.invoke(*task)
        assert done.code == 11, done.all
        assert f"error[engine-stopped]: Docker cannot resolve {words}." in done.err
    assert bench.invoke("doctor").code == 37
