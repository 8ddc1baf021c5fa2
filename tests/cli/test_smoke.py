"""`invoke smoke` with a small server: the checks in the settings, a project's program, and the sample's own program."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Bench
from tests.support import process

REPOSITORY = Path(__file__).parents[2]

#: The requests to the server below: the posted action, and the events of completed actions.
ACTION: dict[str, Any] = {}
EVENTS: queue.SimpleQueue[str] = queue.SimpleQueue()


class Stack(BaseHTTPRequestHandler):
    """Simulates api and notifier of the sample: an action is completed when it is posted."""

    def do_GET(self) -> None:
        if self.path == "/events":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'data: {"action_id": "other"}\n\ndata: ' + EVENTS.get().encode() + b"\n\n")
        elif self.path.startswith("/actions?"):
            self._answer({"actions": [1]})
        elif self.path.startswith("/actions/"):
            self._answer(ACTION)
        else:
            self._answer({"status": "ok"}, 200 if self.path == "/health" else 404)

    def do_POST(self) -> None:
        posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        steps = [{"input": i, "result": sha256(i.encode()).hexdigest()} for i in posted["items"]]
        took_part = [{"service": s} for s in ("api", "executor", "worker", "notifier")]
        ACTION.update({"id": "7", "state": "completed", "history": took_part, "steps": steps})
        self._answer({"id": "7"})
        EVENTS.put(json.dumps({"action_id": "7"}))

    def _answer(self, content: object, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Run a server that simulates the stack; yield its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Stack) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def stack(bench: Bench, port: int) -> Bench:
    """A running stack with this server as its api."""
    published = {"host_ip": "127.0.0.1", "published": str(port), "target": 8080, "protocol": "tcp"}
    services = {"api": {"image": "shop/api", "ports": [published]}, "event-feed": {"image": "x", "ports": [published]}}
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": services}))
    bench.reply("ps --all --format json", stdout='{"Service": "api", "State": "running", "Health": "healthy"}\n')
    return bench


def settings(bench: Bench, *lines: str) -> None:
    (bench.root / "pyproject.toml").write_text("\n".join(("[tool.buildkit-tasks.stack]", *lines)) + "\n")


def test_the_checks_of_the_settings_are_made(stack: Bench) -> None:
    settings(stack, 'smoke = ["api /health status=ok", "api:8080 GET /health"]')
    done = stack.invoke("smoke")
    assert done.code == 0, done.all
    assert "2 checks passed" in done.err
    assert json.loads(stack.invoke("smoke", "--json").out)["checks"] == 2


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("api /health status=bad", "GET /health on api: status is ok, not bad."),
        ("api /nothing", "GET /nothing on api: responded with 404"),
        ("web /", "The service 'web' publishes no ports."),
    ],
)
def test_what_is_wrong_is_named(stack: Bench, check: str, words: str) -> None:
    settings(stack, f'smoke = ["{check}"]')
    done = stack.invoke("smoke")
    assert done.code == 26, done.all
    assert words in done.err


def test_a_program_of_the_project_gets_the_addresses(stack: Bench, port: int) -> None:
    (stack.root / "check.py").write_text(
        "import os, sys\nprint(os.environ['API_URL'], os.environ['EVENT_FEED_URL'], file=sys.stderr)\n"
        "sys.exit(os.environ.get('WRONG'))\n"
    )
    settings(stack, f'smoke_command = ["{sys.executable}", "check.py"]')
    done = stack.invoke("smoke")
    assert done.code == 0, done.all
    assert f"http://127.0.0.1:{port} http://127.0.0.1:{port}" in done.err
    stack.env["WRONG"] = "the action is lost"
    failed = stack.invoke("smoke")
    assert failed.code == 26
    assert "the action is lost" in failed.err


def test_without_a_smoke_test_or_a_stack_that_runs_it_says_so(stack: Bench) -> None:
    none = stack.invoke("smoke")
    assert none.code == 33
    assert "This project has no smoke test." in none.err
    settings(stack, 'smoke = ["api /health"]')
    stack.reply("ps --all --format json", stdout="")
    assert stack.invoke("smoke").code == 27


def test_the_samples_own_smoke_test_sees_an_action_completed(port: int) -> None:
    env = {"API_URL": f"http://127.0.0.1:{port}", "NOTIFIER_URL": f"http://127.0.0.1:{port}"}
    argv: list[str | Path] = [sys.executable, REPOSITORY / "smoke.py"]
    done = process.run(argv, REPOSITORY, env, timeout=60)
    assert done.code == 0, done.all
    assert "completed by api, executor, worker, notifier" in done.err
    failed = process.run(argv, REPOSITORY, {**env, "NOTIFIER_URL": "http://127.0.0.1:9"})
    assert failed.code == 1
    assert "the action did not complete: ConnectionRefusedError" in failed.err
