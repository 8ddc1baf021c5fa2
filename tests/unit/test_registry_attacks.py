"""A registry, a proxy, a credential helper and docker's configuration that are broken or malicious."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from buildkit_tasks.core.world import World
from buildkit_tasks.registry import login as registry_login
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import Denied, RegistryError, Unreachable
from buildkit_tasks.registry.reachable import reachable
from tests.support import hostile_registry
from tests.support.hostile_registry import Request

SECRET = "it-is-4711"


def world(home: Path, config: object = None, **env: str) -> World:
    (home / "config.json").write_text(json.dumps(config or {}))
    return World(env={"DOCKER_CONFIG": str(home), "PATH": f"{home}:/usr/bin:/bin", **env}, cwd=home, home=home)


def client(place: World, host: str, path: str = "team/cache") -> Client:
    return Client(place, registry_names.reference(f"{host}/{path}"), sleep=lambda _: None, seconds=5)


@pytest.mark.parametrize(
    "link", ["</v2/" * 800, "<" * 4000, "<a>;" * 900, "<a>" + " " * 4000, '</v2/>; rel="next' * 200]
)
def test_a_link_header_is_parsed_in_linear_time(tmp_path: Path, link: str) -> None:
    def behave(request: Request) -> bool:
        request.answer(b'{"tags":["a"]}', more={"Link": link})
        return True

    with hostile_registry.running(behave) as server:
        began = time.monotonic()
        try:
            assert client(world(tmp_path), server.host).tags() == ("a",)
        except registry_names.Malformed as error:
            assert "different path" in str(error)  # noqa: PT017 - either is right
        assert time.monotonic() - began < 2


def test_a_repository_with_a_component_v2_has_pages(tmp_path: Path) -> None:
    def behave(request: Request) -> bool:
        start = "/v2/team/v2/cache/tags/list?n=1000"
        more = {"Link": f'<{start}&last=a>; rel="next"'} if request.path == start else {}
        request.answer(b'{"tags":["a"]}', more=more)
        return True

    with hostile_registry.running(behave) as server:
        assert client(world(tmp_path), server.host, "team/v2/cache").tags() == ("a", "a")


def test_the_realm_cannot_add_scopes_for_other_repositories(tmp_path: Path) -> None:
    def behave(request: Request) -> bool:
        if request.path.startswith("/token"):
            request.answer(b'{"token":"x"}')
        elif "authorization" not in request.headers:
            realm = f"http://{request.server.host}/token?scope=repository:other/secret:pull&a=b&service=x"
            hostile_registry.asks_for_login(f'Bearer realm="{realm}",service="s&scope=registry:catalog:*"')(request)
        else:
            return False
        return True

    with hostile_registry.running(behave) as server:
        assert client(world(tmp_path), server.host).manifest("latest")
        asked = next(request.path for request in server.asked if request.path.startswith("/token"))
    assert parse_qsl(urlsplit(asked).query) == [
        ("a", "b"),
        ("service", "s&scope=registry:catalog:*"),
        ("scope", "repository:team/cache:pull"),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"registrytoken": f"{SECRET}\nX-Injected: 1"},
        {"registrytoken": f"{SECRET}\u2026"},
        {"registrytoken": f"{SECRET}\ud800"},
        {"identitytoken": f"{SECRET}\ud800"},
        {"username": "me", "password": f"{SECRET}\ud800"},
    ],
)
def test_credentials_that_fit_into_no_request_are_not_printed(tmp_path: Path, entry: dict[str, str]) -> None:
    def behave(request: Request) -> bool:
        return hostile_registry.asks_for_login(f'Bearer realm="http://{request.server.host}/token"')(request)

    with hostile_registry.running(behave) as server:
        asked = client(world(tmp_path, {"auths": {server.host: entry}}), server.host)
        with pytest.raises(Denied, match="invalid characters") as caught:
            asked.manifest("latest")
        assert not any("authorization" in request.headers for request in server.asked)
    assert SECRET not in asked.problem(caught.value).text()


ANSWER = json.dumps({"Username": "me", "Secret": SECRET})


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo '{ANSWER}'; exit 1", "failed with exit code 1: it printed credentials"),
        (f"echo '{ANSWER}'; sleep 60 & exit 0", "did not finish within 0 s"),  # an agent that keeps the pipe open
        (f"echo 'debug: {ANSWER}'", "does not follow docker's protocol"),
        (f'echo \'{ANSWER[:-1]},"Secret":"{SECRET}"}}\'', "does not follow docker's protocol"),
        ("read -r x </dev/tty; echo $x", "docker-credential-test"),
        ("printf '\\033[2J\\033]0;x\\007 locked'; exit 3", "exit code 3: \ufffd[2J"),
    ],
)
def test_a_broken_helper_is_named_and_its_secret_is_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(registry_login, "HELPER_SECONDS", 0.4)
    (tmp_path / "docker-credential-test").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "docker-credential-test").chmod(0o755)
    with pytest.raises(Denied) as caught:
        registry_login.credentials(world(tmp_path, {"credsStore": "test"}), "r.example")
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


PROXIES = (
    *(f"http://me:{SECRET}{mark}x@127.0.0.1:1" for mark in "/#?\u2026"),
    *(f"http://me:{SECRET}@{host}" for host in ("127.0.0.1:99999", "127.0.0.1:port", "[", ":1", "")),
    *(f"socks5://me:{SECRET}@127.0.0.1:1", f"me:{SECRET}/@127.0.0.1:1", "file:///etc/passwd"),
)


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_invalid_proxy_is_reported_without_its_password(tmp_path: Path, proxy: str) -> None:
    place = world(tmp_path, https_proxy=proxy)
    asked = client(place, "registry.invalid")
    with pytest.raises(Unreachable, match="proxy") as caught:
        asked.manifest("latest")
    fine, why = reachable(place, ["registry.invalid"], "")
    assert not fine
    assert "proxy" in why
    for said in (asked.problem(caught.value).text(), why):
        assert SECRET not in said
        assert said.isprintable() or "\n" in said


@pytest.mark.parametrize("place", ["http://{}/latest/meta-data/", "ftp://{}/", "//{}/", "http://["])
def test_the_check_for_a_registry_does_not_follow_redirects(tmp_path: Path, place: str) -> None:
    with hostile_registry.running(hostile_registry.sound_otherwise) as other:
        moved = hostile_registry.moves(place.format(other.host))
        with hostile_registry.running(moved) as server:
            assert reachable(world(tmp_path), [server.host], "") == (True, "")
        assert other.asked == []


def test_the_check_for_a_registry_does_not_read_the_body_of_a_redirect(tmp_path: Path) -> None:
    start = b"HTTP/1.1 302 Found\r\nLocation: /v2/x\r\n\r\n"
    with hostile_registry.running(hostile_registry.drips(start, b"x" * 65536, 0)) as server:
        assert reachable(world(tmp_path), [server.host], "") == (True, "")


def test_a_realm_without_a_host_is_named(tmp_path: Path) -> None:
    challenge = hostile_registry.asks_for_login('Bearer realm="/token"')
    with (
        hostile_registry.running(challenge) as server,
        pytest.raises(RegistryError, match="'/token' is not a complete URL"),
    ):
        client(world(tmp_path), server.host).manifest("latest")
