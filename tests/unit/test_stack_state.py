"""The state of a container, judged as compose judges it, and as users expect it."""

from __future__ import annotations

import pytest

from buildkit_tasks.project import host_ports
from buildkit_tasks.stack import state, wait

CHECK = {"Test": ["CMD", "true"], "StartPeriod": 5_000_000_000}


def inspected(
    status: str, code: int = 0, *, health: str = "", check: object = None, restart: str = "no"
) -> dict[str, object]:
    """Return a document from the engine, reduced to the fields that are read."""
    return {
        "Id": "abc",
        "Name": "/shop-web-1",
        "State": {"Status": status, "ExitCode": code, **({"Health": {"Status": health}} if health else {})},
        "Config": {"Labels": {state.SERVICE: "web"}, "Healthcheck": check},
        "HostConfig": {"RestartPolicy": {"Name": restart}},
    }


@pytest.mark.parametrize(
    ("document", "ready", "failed"),
    [
        (inspected("running"), True, False),
        (inspected("running", health="starting", check=CHECK), False, False),
        (inspected("running", check=CHECK), False, False),
        (inspected("running", health="healthy", check=CHECK), True, False),
        (inspected("running", health="unhealthy", check=CHECK), False, True),
        (inspected("running", check={"Test": ["NONE"]}), True, False),
        (inspected("exited"), True, False),
        (inspected("exited", restart="on-failure"), True, False),
        (inspected("exited", restart="always"), False, False),
        (inspected("exited", 3), False, True),
        (inspected("exited", 137, restart="unless-stopped"), False, False),
        (inspected("restarting", 1, restart="always"), False, False),
        (inspected("created"), False, False),
        (inspected("paused"), False, False),
        (inspected("dead"), False, True),
    ],
)
def test_ready_and_failed(document: dict[str, object], ready: bool, failed: bool) -> None:
    found = state.container(document)
    assert (found.ready, found.failed) == (ready, failed)
    assert (found.service, found.name) == ("web", "shop-web-1")
    assert found.words


def test_the_start_period_is_in_seconds() -> None:
    assert state.container(inspected("running", check=CHECK)).start_period == 5.0


def test_what_is_named_brings_what_it_depends_on() -> None:
    config = {"services": {"a": {"depends_on": {"b": {}}}, "b": {"depends_on": ["c"]}, "c": {}, "d": {}}}
    assert state.with_dependencies(config, ["a"]) == {"a", "b", "c"}
    assert state.with_dependencies(config, []) == {"a", "b", "c", "d"}


def test_published_ports_have_a_protocol_and_ranges_are_left_to_the_engine() -> None:
    listed = [
        {"published": "53", "target": 53, "protocol": "udp"},
        {"published": "8000-8010", "target": 80},
        {"target": 90},
        {"published": "80", "target": 8080, "host_ip": "127.0.0.1"},
    ]
    config = {"services": {"web": {"ports": listed}, "other": {"ports": [{"published": "1", "target": 1}]}}}
    found = list(host_ports.published(config, {"web"}))
    assert [(p.host, p.published, p.protocol) for p in found] == [("0.0.0.0", 53, "udp"), ("127.0.0.1", 80, "tcp")]  # noqa: S104


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (
            ' db Error failed to resolve reference "docker.io/library/postgres:14": failed to do request: Head "https://r"\n'
            'Error response from daemon: failed to resolve reference "docker.io/library/postgres:14": no such host\n',
            "postgres:14",
        ),
        ("Error response from daemon: pull access denied for shop/web, repository does not exist\n", "shop/web"),
        ("Error response from daemon: manifest for redis:99 not found: manifest unknown\n", "redis:99"),
        ('a failed to resolve reference "ghcr.io/x/a:1": x\nb pull access denied for y/b, no\n', "ghcr.io/x/a:1, y/b"),
        ("dependency failed to start: container web exited (1)\n", ""),
    ],
)
def test_an_image_that_compose_could_not_pull_is_named(said: str, names: str) -> None:
    problem = wait.not_pulled(said)
    assert (problem and (problem.code, problem.message)) == (
        ("image-unavailable", f"Compose could not pull {names}.") if names else None
    )


def test_containers_that_were_restarted_while_waiting_are_named() -> None:
    def one(restarts: int) -> state.Container:
        return state.container({**inspected("running", restart="always"), "RestartCount": restarts})

    assert state.restarted([one(0)], {}) == []
    assert state.restarted([one(4)], {"abc": 4}) == []
    assert state.restarted([one(1)], {}) == ["  web exited and was restarted once: invoke logs --service web"]
    assert state.restarted([one(6)], {"abc": 4}) == [
        "  web exited and was restarted 2 times: invoke logs --service web"
    ]
