"""watch and dev through the real command line, with a recording docker and an engine with containers."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Bench, service, solve
from tests.support import process
from tests.support.container_engine import listening
from tests.support.watching import Watching

STARTED: list[Watching] = []


@pytest.fixture
def running(bench: Bench) -> Iterator[Bench]:
    """The project with a container of each service; compose has nothing to do."""
    with tempfile.TemporaryDirectory() as place, listening(Path(place, "engine")) as engine:
        bench.env["DOCKER_HOST"] = f"unix://{engine.path}"
        engine.states = {"api": "running", "worker": "running", "postgres": "running"}
        for match in ("up --detach", "restart", "down", "rm --stop"):
            bench.reply(match, stdout="")
        bench.reply(" ps --all --format json", stdout="")
        images(bench, api="old", worker="old")
        yield bench
        for watching in STARTED:
            if watching.process.poll() is None:  # the test failed
                watching.end()
        STARTED.clear()


def images(bench: Bench, **ids: str) -> None:
    """Set the current image ids; the containers were created from the ids called old."""
    lines = [f'["shop/{name}:dev"] sha256:{value} linux/amd64' for name, value in ids.items()]
    bases = ('["rust:1-bookworm"] sha256:1 linux/amd64', '["debian:bookworm-slim"] sha256:2 linux/amd64')
    bench.reply("image inspect", stdout="\n".join((*lines, *bases)) + "\n")
    there = [json.dumps([f"{name}-id", f"shop-{name}-1", "running", name, "sha256:old"]) for name in ids]
    bench.reply("ps --all --no-trunc", stdout="\n".join(there) + "\n")


def start(bench: Bench, *words: str) -> Watching:
    STARTED.append(Watching([process.BIN / "invoke", *words], bench.root, bench.environment(), bench.place / "output"))
    return STARTED[-1]


def ups(bench: Bench) -> list[list[str]]:
    """Return the arguments after `up` in the calls of compose."""
    return [c["argv"][c["argv"].index("up") + 1 :] for c in bench.calls if "up" in c["argv"]]


def baked(bench: Bench) -> list[list[str]]:
    calls = [c for c in bench.calls if "bake" in c["argv"]]
    return [sorted(json.loads(c["stdin"])["group"]["default"]["targets"]) for c in calls]


def save(bench: Bench, text: str) -> None:
    (bench.root / "main.rs").write_text(text)


def test_a_save_is_one_build_and_replaces_only_the_container_with_another_image(running: Bench) -> None:
    watching = start(running, "watch")
    watching.wait_for("watching api, worker; press Ctrl-C to stop")
    images(running, api="new", worker="old")
    save(running, "fn main() {}")
    watching.wait_for("no containers had to be replaced")  # the fake engine still has the same container
    assert baked(running) == [["api", "worker"], ["api", "worker"]]
    assert ups(running) == [
        ["--detach", "--no-build", "--quiet-pull"],
        ["--detach", "--no-build", "--quiet-pull", "--no-deps", "api"],
    ]
    assert "main.rs changed" in watching.said
    assert watching.end(signal.SIGINT) == 130
    assert watching.left() == []


def test_services_by_position_and_pattern(running: Bench) -> None:
    watching = start(running, "watch", "work*")
    watching.wait_for("watching worker; press Ctrl-C")
    save(running, "1")
    watching.wait_for("no containers had to be replaced")
    assert baked(running) == [["worker"], ["worker"]]
    assert watching.end(signal.SIGTERM) == 143
    wrong = running.invoke("watch", "workr")
    assert wrong.code == 7
    assert "Did you mean worker?" in wrong.err


def test_a_build_that_fails_at_the_beginning_waits_for_a_save_and_starts_then(running: Bench) -> None:
    failed = {
        "digest": "sha256:run",
        "name": "[api 2/2] RUN make",
        "started": "2026-01-01T00:00:00Z",
        "error": "exit 1",
    }
    running.reply("buildx bake", code=1, stderr=solve({"vertexes": [failed]}), once=True)
    watching = start(running, "watch")
    watching.wait_for("watching api, worker; press Ctrl-C")
    assert "error[build-failed]" in watching.said
    assert ups(running) == []
    save(running, "better")
    watching.wait_for("everything is healthy")
    assert len(ups(running)) == 1
    assert watching.end(signal.SIGINT) == 130


def test_a_compose_file_that_is_broken_for_a_while_is_survived(running: Bench) -> None:
    watching = start(running, "watch")
    watching.wait_for("watching api, worker; press Ctrl-C")
    before = running.replies[:]
    running.reply("config --format json", code=1, stderr="yaml: line 3: mapping values are not allowed\n")
    (running.root / "compose.yaml").write_text("name: shop\nservices: {}}\n")
    watching.wait_for("nothing was built; waiting for the next change")
    assert "error[compose-invalid]" in watching.said
    running.replies = before
    running.reply("config --format json", stdout=json.dumps(model(running, "api", "worker", "web")))
    save(running, "any change reads it again")
    watching.wait_for("no containers had to be replaced")
    assert baked(running)[-1] == ["api", "web", "worker"]
    assert ups(running)[-1] == ["--detach", "--no-build", "--quiet-pull", "api", "worker", "web"]
    assert watching.end(signal.SIGINT) == 130


def model(bench: Bench, *names: str, **more: Any) -> dict[str, Any]:
    return {"name": "shop", "services": {name: service(bench.root, name, **more) for name in names}}


@pytest.mark.parametrize("words", [("watch",), ("dev", "--watch"), ("dev",)])
def test_an_interrupt_during_a_build_reaches_buildx_and_leaves_nothing(running: Bench, words: tuple[str, ...]) -> None:
    running.reply("buildx bake", wait=True)
    if words[0] == "dev":
        running.reply("ps --all --no-trunc", stdout="")
    watching = start(running, *words)
    until = time.monotonic() + 30
    while not (running.place / "waiting").exists():
        assert time.monotonic() < until, watching.said
        time.sleep(0.05)
    assert watching.end(signal.SIGTERM) == 143, watching.said
    assert (running.place / "interrupted").exists()
    assert watching.left() == []
    assert ups(running) == []


def test_sync_and_restart_do_what_the_section_asks_for_and_build_nothing(running: Bench) -> None:
    (running.root / "web").mkdir()
    (running.root / "web/old.js").write_text("1")
    watch = [
        {"path": str(running.root / "web"), "action": "sync", "target": "/web", "exec": {"command": None}},
        {"path": str(running.root / "app.conf"), "action": "restart"},
    ]
    running.reply("config --format json", stdout=json.dumps(model(running, "api", develop={"watch": watch})))
    for match in ("container cp", "container exec"):
        running.reply(match, stdout="")
    watching = start(running, "watch")
    watching.wait_for("watching api; press Ctrl-C")
    save(running, "nothing asks for this")
    (running.root / "web/old.js").unlink()
    (running.root / "web/new.js").write_text("2")
    watching.wait_for("api synced")
    (running.root / "app.conf").write_text("x")
    watching.wait_for("api restarted")
    assert len(baked(running)) == 1
    calls = [c["argv"] for c in running.calls]
    assert ["container", "exec", "--user", "0", "shop-api-1", "rm", "-rf", "--", "/web/old.js"] in calls
    assert ["container", "cp", "--archive", "-", "shop-api-1:/"] in calls
    assert watching.end(signal.SIGINT) == 130


def test_what_the_section_asks_for_and_we_do_not_know_is_refused_by_name(running: Bench) -> None:
    watch = [{"path": str(running.root), "action": "sync+exec", "target": "/x", "exec": {"command": ["make"]}}]
    running.reply("config --format json", stdout=json.dumps(model(running, "api", develop={"watch": watch})))
    for words in (("watch",), ("dev", "--watch")):
        refused = running.invoke(*words)
        assert refused.code == 8, refused.all
        assert "`develop.watch.action: sync+exec` of the service 'api' is not supported" in refused.err
    assert baked(running) == []


def test_dev_follows_the_logs_and_stops_what_it_started(running: Bench) -> None:
    running.reply("ps --all --no-trunc", stdout="")
    running.reply("logs --tail", stdout="api-1  | hello\n", wait=True)
    running.reply("ps --all --no-trunc", stdout='["1","shop-api-1","running","api","sha256:old"]\n', after="up")
    watching = start(running, "dev", "api")
    watching.wait_for("following the logs; press Ctrl-C to stop the containers that were started")
    watching.wait_for("api-1  | hello")
    assert watching.end(signal.SIGINT) == 130
    assert "stopping api" in watching.said
    call = running.call("logs")["argv"]
    assert call[call.index("logs") + 1 : -2] == ["--tail", "all", "--follow", "--since"]
    assert call[-1] == "api"
    assert [c["argv"][-1] for c in running.calls if "down" in c["argv"]] == ["down"]
    assert not [c for c in running.calls if "--volumes" in c["argv"]]
    assert watching.left() == []


def test_the_logs_end_with_a_dev_that_is_killed(running: Bench) -> None:
    running.reply("logs --tail", stdout="api-1  | hello\n", wait=True)
    watching = start(running, "dev", "api")
    watching.wait_for("api-1  | hello")
    assert [line for line in watching.left() if "logs --tail" in line]
    assert watching.end(signal.SIGKILL) == -9
    until = time.monotonic() + 10
    while watching.left() and time.monotonic() < until:
        time.sleep(0.05)
    assert watching.left() == []


def test_dev_leaves_what_ran_before(running: Bench) -> None:
    before = '["1","shop-worker-1","running","worker","sha256:old"]\n'
    running.reply("ps --all --no-trunc", stdout=before)
    running.reply("logs --tail", wait=True)
    running.reply(
        "ps --all --no-trunc", stdout=f'{before}["2","shop-api-1","running","api","sha256:old"]\n', after="up"
    )
    watching = start(running, "dev")
    watching.wait_for("following the logs")
    assert watching.end(signal.SIGINT) == 130
    assert running.call("rm")["argv"][-4:] == ["rm", "--stop", "--force", "api"]
    assert not [c for c in running.calls if "down" in c["argv"]]


def test_a_bell_and_a_desktop_notification_are_settings(running: Bench) -> None:
    said = running.place / "notified"
    program = running.place / "bin" / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> {said}\n')
    program.chmod(0o755)
    running.env["BUILDKIT_TASKS_WATCH_NOTIFY"] = "desktop"
    running.reply("buildx bake", code=1, stderr="", after="up")
    watching = start(running, "watch")
    watching.wait_for("watching api, worker")
    save(running, "1")
    watching.wait_for("waiting for the next change")
    assert watching.end(signal.SIGINT) == 130
    assert said.read_text().startswith("buildkit-tasks|"), said.read_text()
    running.env["BUILDKIT_TASKS_WATCH_NOTIFY"] = "whistle"
    wrong = running.invoke("watch")
    assert wrong.code == 4
