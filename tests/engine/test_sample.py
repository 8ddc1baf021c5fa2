"""The sample stack from a new user's perspective: quickstart, an edit, the running stack, ports, shutdown."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator

import pytest

from tests.engine.checkout import SERVICES, Checkout, copied, without_optimization
from tests.support import process

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Create one checkout for the tests of this file, which run in order."""
    with copied(tmp_path_factory.mktemp("sample")) as made:
        without_optimization(made)
        yield made


def test_quickstart_ends_with_a_healthy_stack_and_a_completed_action(checkout: Checkout) -> None:
    done = checkout.ok("quickstart", "--yes")
    assert "everything is healthy" in done.err
    assert "completed by api, executor, worker, notifier" in done.err
    env = checkout.root / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    values = dict(line.split("=", 1) for line in env.read_text().splitlines() if "=" in line and line[0] != "#")
    assert len(values["POSTGRES_PASSWORD"]) > 20
    assert values["POSTGRES_PASSWORD"] != values["RABBITMQ_PASSWORD"]
    assert values["API_PORT"] == str(checkout.port)
    assert values["POSTGRES_PASSWORD"] not in done.all


def test_quickstart_again_changes_nothing(checkout: Checkout) -> None:
    before, env = checkout.containers(), (checkout.root / ".env").read_text()
    done = checkout.ok("quickstart", "--yes")
    assert checkout.containers() == before
    assert len(before) == 7
    assert (checkout.root / ".env").read_text() == env
    assert "nothing to compile" in done.err


def test_one_line_in_api_compiles_one_crate_and_leaves_the_others_running(checkout: Checkout) -> None:
    path = checkout.root / "services/crates/api/src/main.rs"
    # text that no earlier run built: the engine would use its cached layer, and cargo would not run
    words = f"Takes actions {secrets.token_hex(4)} over HTTP"
    path.write_text(path.read_text().replace("Accepts actions over HTTP", words))
    outcome = json.loads(checkout.ok("build", "--service", "api", "--json").out)
    assert outcome["cargo"]["compiled"] == ["api"]
    assert words in checkout.help_of("api")
    before = checkout.containers()
    checkout.ok("up", "--progress", "quiet")
    after = checkout.containers()
    # sensor depends on api, and compose recreates dependent services; its image is the same
    assert {s for s in after if after[s] != before[s]} == {"api", "sensor"}


def test_ps_tells_seven_healthy_containers(checkout: Checkout) -> None:
    found = json.loads(checkout.ok("ps", "--json").out)["containers"]
    assert {c["service"] for c in found} == {*SERVICES, "postgres", "rabbitmq"}
    assert {c["health"] for c in found} == {"healthy"}


def test_shell_logs_and_restart(checkout: Checkout) -> None:
    assert checkout.ok("shell", "--service", "api", "--command", "id -u").out.strip() == "65532"
    assert "executor" in checkout.ok("logs", "--service", "executor", "--tail", "5").out
    before = checkout.containers()
    assert "healthy" in checkout.ok("restart", "--service", "worker").err
    assert checkout.containers() == before
    done = checkout.invoke("shell", "--service", "apo")
    assert done.code == 7
    assert "Did you mean api?" in done.err


def test_a_port_in_use_names_who_holds_it_and_what_moves_it(checkout: Checkout) -> None:
    checkout.ok("down")
    with socket.socket() as other:
        other.bind(("127.0.0.1", checkout.port))
        other.listen()
        done = checkout.invoke("up", "--no-build")
    assert done.code == 24
    assert f"Port {checkout.port}/tcp of api is already in use." in done.err
    assert "pytest" in done.err or "python" in done.err
    assert "set API_PORT=" in done.err


def test_a_service_that_cannot_start_gives_its_last_words(checkout: Checkout) -> None:
    env = checkout.root / ".env"
    good = env.read_text()
    env.write_text(good + "BUILDKIT_TASKS_STACK_HEALTH_TIMEOUT=15\nSENSOR_INTERVAL_SECONDS=soon\n")
    done = checkout.invoke("up", "--no-build")
    env.write_text(good)
    assert done.code == 25, done.all
    assert "sensor" in done.err
    assert "SENSOR_INTERVAL_SECONDS" in done.err


def test_down_keeps_the_data_unless_asked_and_confirmed(checkout: Checkout) -> None:
    volumes = ["docker", "volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={checkout.project}"]
    refused = checkout.invoke("down", "--volumes")
    assert refused.code == 18
    assert "postgres-data" in refused.err
    checkout.ok("down")
    assert len(process.ok(volumes, checkout.root).out.split()) == 2
    checkout.ok("down", "--volumes", "--yes")
    assert process.ok(volumes, checkout.root).out.split() == []
    assert checkout.containers() == {}
