"""Lists of packs in a repository to which anyone may have pushed: too many, too large, invalid, endlessly slow."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from pathlib import Path

import pytest

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.packs import stored
from tests.support import hostile_registry
from tests.support.hostile_registry import Pack, Request, pack_for, sha256


class Full:
    """A repository with many tags; `spoil` corrupts the pack with this number."""

    def __init__(self, count: int, layers: int = 1, spoiled: int = -1) -> None:
        self.tags = [f"all-amd64-release-{number:x}" for number in range(count)]
        blob = {"mediaType": f"{hostile_registry.OCI}.layer.v1.tar", "size": 1}
        digests = [sha256(bytes([n % 256, n // 256])) for n in range(layers)]
        self.manifests: dict[str, bytes] = {}
        self.configs: dict[str, bytes] = {}
        for number, tag in enumerate(self.tags):
            one: Pack = pack_for(tag)
            if number == spoiled:
                one.label["units"] = "many"
            one.config["rootfs"] = {"diff_ids": []}
            one.manifest["layers"] = [{**blob, "digest": digest} for digest in digests]
            self.manifests[tag] = one.manifest_bytes()
            self.configs[sha256(one.config_bytes())] = one.config_bytes()

    def behave(self, request: Request) -> bool:
        name = request.path.partition("?")[0].rpartition("/")[2]
        if request.path.rstrip("/") == "/v2":
            return False
        if "/tags/list" in request.path:
            request.answer(json.dumps({"tags": self.tags}).encode())
        elif name in self.manifests:
            request.answer(self.manifests[name], f"{hostile_registry.OCI}.manifest.v1+json")
        else:
            request.answer(self.configs[name], "application/octet-stream")
        return True


def session(folder: Path) -> Session:
    world = World({"DOCKER_CONFIG": str(folder)}, folder, folder)
    (folder / "compose.yaml").write_text("services: {}\n")
    return Session(world, Report(world))


def test_one_invalid_pack_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hostile_registry.running(Full(3, spoiled=1).behave) as server:
        stored.show(session(tmp_path), ref=f"{server.host}/team/cache")
    shown = capsys.readouterr()
    assert len(re.findall("^all-amd64-release-[02] ", shown.out, re.MULTILINE)) == 2
    assert "was skipped: pack: units: 'many' is not a size" in shown.err


def test_many_large_packs_take_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stored, "MOST", 40)
    with hostile_registry.running(Full(50, layers=900).behave) as server:
        tracemalloc.start()
        stored.show(session(tmp_path), ref=f"{server.host}/team/cache")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        tracemalloc.stop()
    shown = capsys.readouterr()
    assert shown.out.count("all-amd64-release-") == 40
    assert "only 40 of 50 tags were read" in shown.err


def test_a_repository_that_answers_slowly_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "SECONDS", 1.0)
    full = Full(500)

    def behave(request: Request) -> bool:
        time.sleep(0.2)
        return full.behave(request)

    began = time.monotonic()
    with hostile_registry.running(behave) as server, pytest.raises(Problem, match="unreachable"):
        stored.show(session(tmp_path), ref=f"{server.host}/team/cache")
    assert time.monotonic() - began < 10
