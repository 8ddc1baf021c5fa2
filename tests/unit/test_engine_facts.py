"""Engine facts: the output of `docker info`, and why no engine responds."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.engine import facts as engine_facts

INFO = {
    "ID": "87d815a9",
    "ServerVersion": "26.1.5+dfsg1",
    "OSType": "linux",
    "Architecture": "x86_64",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "DockerRootDir": "/var/lib/docker",
    "ClientInfo": {
        "Context": "default",
        "Plugins": [{"Name": "buildx", "Version": "v0.13.1"}, {"Name": "compose", "Version": "2.26.1-4"}],
    },
}
FULL = Engine("id", (26, 1, 5), (0, 13, 1), (2, 26, 1), "linux", "amd64", True, "default", "/var/lib/docker")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("26.1.5+dfsg1", (26, 1, 5)), ("v0.13.1", (0, 13, 1)), ("2.40.3-1", (2, 40, 3)), ("dev", ()), ("", ())],
)
def test_versions_are_the_leading_numbers(text: str, wanted: tuple[int, ...]) -> None:
    assert engine_facts.version(text) == wanted


def test_info_becomes_facts() -> None:
    assert engine_facts.parse(INFO) == replace(FULL, id="87d815a9")


def test_an_engine_that_did_not_answer_has_no_version_but_a_client() -> None:
    facts = engine_facts.parse({"ServerVersion": "", "ServerErrors": ["refused"], "ClientInfo": INFO["ClientInfo"]})
    assert (facts.version, facts.buildx, facts.compose) == ((), (0, 13, 1), (2, 26, 1))


def test_overlay2_is_not_the_containerd_store() -> None:
    assert not engine_facts.parse({**INFO, "DriverStatus": [["Backing Filesystem", "extfs"]]}).containerd_store


@pytest.mark.parametrize(
    ("have", "code", "said"),
    [
        (replace(FULL, version=(20, 10, 24)), "engine-too-old", "20.10.24"),
        (replace(FULL, buildx=()), "buildx-missing", "not installed"),
        (replace(FULL, buildx=(0, 12, 9)), "buildx-missing", "0.12.9"),
        (replace(FULL, compose=(2, 19)), "compose-missing", "2.19"),
    ],
)
def test_less_than_the_full_tier_is_told_with_found_wanted_and_remedy(have: Engine, code: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        engine_facts.require_full(have)
    assert caught.value.code == code
    assert said in caught.value.message
    assert "or newer" in caught.value.message
    assert "invoke engine.install" in caught.value.hint


def test_everything_that_lacks_is_told_at_once() -> None:
    with pytest.raises(Problem) as caught:
        engine_facts.require_full(replace(FULL, version=(20, 10), buildx=(), compose=()))
    assert caught.value.code == "engine-too-old"
    assert len(caught.value.causes) == 3


def test_the_full_tier_passes() -> None:
    engine_facts.require_full(FULL)
    engine_facts.require_full(replace(FULL, version=(23,), buildx=(0, 13), compose=(2, 20)))


def test_knocking_tells_open_from_closed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert engine_facts.knock(path) == "closed"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert engine_facts.knock(path) == "open"
    assert engine_facts.knock(path) == "closed"  # the file exists, but nothing listens: a killed daemon
