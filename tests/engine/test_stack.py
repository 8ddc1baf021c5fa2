"""The stack as compose runs it: jobs, start periods, ports by protocol, ready-made images, orphans."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import process

pytestmark = pytest.mark.engine


class Stack:
    """A compose project of ready-made images, in a separate directory."""

    def __init__(self, root: Path, image: str) -> None:
        self.root, self.image = root, image
        self.project = f"stack-{secrets.token_hex(3)}"
        self.env = {"CI": None, "XDG_STATE_HOME": str(root / "state"), "BUILDKIT_TASKS_STACK_HEALTH_TIMEOUT": "60"}
        (root / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")

    def write(self, services: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
        """Write the compose file as JSON, which is valid YAML. Containers run for five minutes instead of forever."""
        base = {"image": self.image, "command": ["sleep", "300"], "init": True, "stop_grace_period": "1s"}
        model = {"services": {n: {**base, **s} for n, s in services.items()}, **more}
        text = "\n".join([f"name: {self.project}", *(f"{key}: {json.dumps(value)}" for key, value in model.items())])
        (self.root / "compose.yaml").write_text(text + "\n")

    def invoke(self, *args: str, **env: str) -> process.Done:
        return process.run([process.BIN / "invoke", *args], self.root, {**self.env, **env}, timeout=300)

    def running(self) -> set[str]:
        """Return the services with a running container."""
        form = '{{.Label "com.docker.compose.service"}}'
        label = f"label=com.docker.compose.project={self.project}"
        return set(process.ok(["docker", "ps", "--filter", label, "--format", form], self.root).out.split())


@pytest.fixture
def stack(tmp_path: Path, base_images: Mapping[str, str]) -> Iterator[Stack]:
    """Create a stack; remove it when the test is done."""
    reference = "debian:bookworm-slim"
    made = Stack(tmp_path, base_images.get(reference, reference))
    yield made
    process.run(["docker", "compose", "-p", made.project, "down", "--volumes", "--remove-orphans"], tmp_path)


def script(text: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", text]}


def test_a_job_that_ends_with_0_is_done_and_what_needs_it_starts_after_it(stack: Stack) -> None:
    needs = {"init": {"condition": "service_completed_successfully"}}
    stack.write({"init": script("exit 0"), "seed": script("sleep 1"), "web": {"depends_on": needs}})
    done = stack.invoke("up")
    assert done.code == 0, done.all
    assert "everything is healthy" in done.err
    assert "init" in done.err.partition("exited with code 0: ")[2], done.err
    assert "web" in stack.running()


@pytest.mark.parametrize("needed", [True, False], ids=["needed", "nobody-needs-it"])
def test_a_job_that_fails_is_named_with_its_exit_code_and_last_words(stack: Stack, needed: bool) -> None:
    needs = {"depends_on": {"init": {"condition": "service_completed_successfully"}}} if needed else {}
    stack.write({"good": {}, "init": script("echo no-such-table >&2; exit 3"), "web": needs})
    done = stack.invoke("up")
    assert done.code == 25, done.all
    assert ": init." in done.err, done.err
    assert "init: exited with code 3" in done.err
    assert "no-such-table" in done.err
    assert "good" not in done.err.partition("error[")[2].partition("hint")[0].replace("good ", "")


def test_a_start_period_longer_than_the_limit_is_respected(stack: Stack) -> None:
    check = {"test": ["CMD", "test", "-e", "/tmp/ready"], "interval": "1s", "retries": 1, "start_period": "60s"}
    stack.write({"slow": {**script("sleep 6; touch /tmp/ready; sleep 300"), "healthcheck": check}})
    done = stack.invoke("up", BUILDKIT_TASKS_STACK_HEALTH_TIMEOUT="2")
    assert done.code == 0, done.all


def test_an_unhealthy_service_is_told_with_the_time_that_passed(stack: Stack) -> None:
    check = {"test": ["CMD", "false"], "interval": "1s", "retries": 2}
    stack.write({"sick": {"healthcheck": check}, "well": {}})
    done = stack.invoke("up")
    assert done.code == 25, done.all
    assert ": sick." in done.err
    assert "sick: running, unhealthy" in done.err
    assert "after 60 s" not in done.err


@pytest.mark.parametrize("example", [True, False])
def test_a_failure_names_the_variable_that_compose_left_empty_and_how_to_set_it(stack: Stack, example: bool) -> None:
    asks = script('echo "no password" >&2; test -n "$$TOKEN" && sleep 300')
    stack.write({"db": {**asks, "environment": {"TOKEN": "${TOKEN_OF_DB}"}}})
    if example:
        (stack.root / ".env.example").write_text("TOKEN_OF_DB=\n")
    done = stack.invoke("up")
    assert done.code == 25, done.all
    assert "db: exited with code 1" in done.err
    assert "TOKEN_OF_DB is not set, so compose used an empty string" in done.err
    assert "no password" in done.err
    if example:
        assert "invoke dotenv " in done.err.partition("hint: ")[2], done.err
        assert not (stack.root / ".env").exists()
        again = stack.invoke("up", "--yes")
        assert again.code == 0, again.all
        assert "completed; added TOKEN_OF_DB" in again.err
        assert (stack.root / ".env").stat().st_mode & 0o777 == 0o600
    else:
        assert "hint: add TOKEN_OF_DB=VALUE to " in done.err, done.err
        (stack.root / ".env").write_text("TOKEN_OF_DB=x\n")
    assert stack.invoke("up").code == 0


@pytest.mark.parametrize(
    ("example", "value"),
    [("WORD_OF_WEB=\n", "${WORD_OF_WEB:-plain}"), ("WORD_OF_WEB='\n", "$WORD_OF_WEB"), ("OTHER=\n", "$WORD_OF_WEB")],
    ids=["it has a default", "the example is not valid", "the example does not have it"],
)
def test_up_creates_no_env_file_that_compose_does_not_need(stack: Stack, example: str, value: str) -> None:
    stack.write({"web": {"environment": {"WORD": value}}})
    (stack.root / ".env.example").write_text(example)
    done = stack.invoke("up", "--yes")
    assert done.code == 0, done.all
    assert not (stack.root / ".env").exists()


def test_without_an_env_file_a_failure_is_still_that_of_the_container(stack: Stack) -> None:
    stack.write({"db": {**script("exit 3"), "environment": {"TOKEN": "${TOKEN_OF_DB}"}}})
    done = stack.invoke("up", COMPOSE_ENV_FILES="/dev/null")
    assert done.code == 25, done.all
    assert "db: exited with code 3" in done.err
    assert "set TOKEN_OF_DB in the environment; or invoke logs --service db" in done.err


@pytest.mark.parametrize("code", [0, 7])
def test_a_container_that_compose_replaces_is_not_reported_as_ended(stack: Stack, code: int) -> None:
    for number in (1, 2):
        stack.write({"web": script(f"trap 'exit {code}' TERM; sleep 30{number} & wait")})
        done = stack.invoke("up")
        assert done.code == 0, done.all
    assert "web started" in done.err
    assert "web done" not in done.err
    assert "web exited" not in done.err


def test_a_service_that_keeps_restarting_is_not_ready(stack: Stack) -> None:
    stack.write({"loop": {**script("exit 4"), "restart": "always"}})
    done = stack.invoke("up", BUILDKIT_TASKS_STACK_HEALTH_TIMEOUT="3")
    assert done.code == 25, done.all
    assert "loop" in done.err


def test_a_ready_image_can_be_started_alone_and_brings_what_it_needs(stack: Stack) -> None:
    stack.write({"db": {}, "cache": {"depends_on": ["db"]}, "other": {}})
    assert stack.invoke("up", "--service", "db").code == 0
    assert stack.running() == {"db"}
    assert stack.invoke("up", "--service", "cache").code == 0
    assert stack.running() == {"db", "cache"}
    wrong = stack.invoke("up", "--service", "cach")
    assert wrong.code == 7
    assert "Did you mean cache?" in wrong.err


def test_ports_count_by_protocol_and_only_for_what_is_started(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        one = {"ports": [f"127.0.0.1:{number}:53/udp"]}
        stack.write({"dns": one, "web": {"ports": [f"127.0.0.1:{number}:80"]}})
        done = stack.invoke("up", "--service", "dns")
        assert done.code == 0, done.all
        refused = stack.invoke("up")
    assert refused.code == 24
    assert f"Port {number}/tcp of web is already in use." in refused.err


def test_containers_that_the_file_no_longer_has_stay_unless_asked(stack: Stack) -> None:
    stack.write({"old": {}, "web": {}})
    assert stack.invoke("up").code == 0
    stack.write({"web": {}})
    done = stack.invoke("up")
    assert done.code == 0, done.all
    assert "orphan" in done.err
    assert stack.running() == {"old", "web"}
    down = stack.invoke("down")
    assert f"{stack.project}-old-1 was kept" in down.err
    assert stack.running() == {"old"}
    assert stack.invoke("down", "--remove-orphans").code == 0
    assert stack.running() == set()


def test_restart_does_what_compose_restart_does_and_waits(stack: Stack) -> None:
    out = stack.root / "out"
    out.mkdir()

    def begins(name: str, then: str = "sleep 300", **more: Any) -> dict[str, Any]:
        return {**script(f"echo begin >> /out/{name}; {then}"), "volumes": [f"{out}:/out"], **more}

    check = {"test": ["CMD", "test", "-e", "/out/well"], "interval": "1s", "start_period": "1s", "retries": 60}
    stack.write(
        {
            "job": begins("job", "exit 0"),
            "web": begins("web", "rm -f /out/well; sleep 2; touch /out/well; sleep 300", healthcheck=check),
            "after": begins("after", depends_on={"web": {"condition": "service_started", "restart": True}}),
            "beside": begins("beside"),
            "absent": {"scale": 0},
        }
    )

    def counts() -> dict[str, int]:
        names = ("job", "web", "after", "beside")
        return {name: (out / name).read_text().count("begin") for name in names}

    def more_than(before: Mapping[str, int]) -> dict[str, int]:
        return {name: count - before[name] for name, count in counts().items() if count != before[name]}

    assert stack.invoke("up").code == 0
    for services in ([], ["web"], ["job"], ["beside", "job"]):
        before = counts()
        process.ok(["docker", "compose", "restart", *services], stack.root)
        expected = more_than(before)
        before = counts()
        done = stack.invoke("restart", *(word for name in services for word in ("--service", name)))
        assert done.code == 0, done.all
        assert more_than(before) == expected, (services, done.all)
        assert ("web healthy" in done.err) is ("web" in expected), done.err
        if "web" in expected:
            assert (out / "well").exists()
    refused = stack.invoke("restart", "--service", "absent")
    assert refused.code != 0, refused.all
    assert "Not running: absent" in refused.err


def test_ps_shows_each_port_with_its_protocol(stack: Stack) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stack.write({"dns": {"ports": [f"127.0.0.1:{port}:53/udp", f"127.0.0.1:{port}:53/tcp"]}})
    assert stack.invoke("up").code == 0
    shown = stack.invoke("ps", "--json")
    ports = json.loads(shown.out)["containers"][0]["ports"]
    assert ports == f"127.0.0.1:{port}->53/tcp, 127.0.0.1:{port}->53/udp"


def test_smoke_finds_ports_that_the_engine_chose(stack: Stack) -> None:
    perl = (
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1);"
        'while (my $c = $s->accept) { <$c>; print $c "HTTP/1.0 200 OK\\r\\n\\r\\n{}"; close $c }'
    )
    server = {"command": ["perl", "-e", perl.replace("$", "$$")]}
    stack.write({"range": {**server, "ports": ["127.0.0.1:41800-41899:8080"]}, "any": {**server, "ports": ["8080"]}})
    (stack.root / "pyproject.toml").write_text(
        '[tool.buildkit-tasks.stack]\nsmoke = ["range /", "any:8080 /"]\n', encoding="utf-8"
    )
    up = stack.invoke("up")
    assert up.code == 0, up.all
    done = stack.invoke("smoke")
    assert done.code == 0, done.all
    assert "2 checks passed" in done.err
