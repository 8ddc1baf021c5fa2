"""Who gets a password and who does not: docker's configuration, challenges, redirects, pauses."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from buildkit_tasks.core.world import World
from buildkit_tasks.registry import login as registry_login
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry import remote as registry_remote
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.http import Wire
from buildkit_tasks.registry.login import Challenge, Credentials
from buildkit_tasks.registry.names import Blob, Denied, Digest, Malformed, Tag, Unreachable
from buildkit_tasks.registry.patience import Patience
from tests.support import hostile_registry
from tests.support.hostile_registry import Request

#: Ways to write this machine's address, or one that only it can reach.
LOCAL = (
    *("127.0.0.1:5001", "localhost", "localhost.", "a.localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "0"),  # noqa: S104
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fe80::1]", "[fe80::1%25eth0]"),
)

ME = base64.b64encode(b"me:pass:word").decode()


def world(home: Path, config: object, **env: str) -> World:
    (home / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return World(env={"DOCKER_CONFIG": str(home), "PATH": f"{home}:/usr/bin:/bin", **env}, cwd=home, home=home)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("r.example", "r.example"),
        ("https://r.example", "r.example"),
        ("https://r.example/v1/", "r.example"),
        ("r.example:5000", "r.example:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
        ("docker.io", "index.docker.io"),
    ],
)
def test_a_password_is_found_under_the_names_that_docker_gives_a_registry(tmp_path: Path, name: str, host: str) -> None:
    found = registry_login.credentials(world(tmp_path, {"auths": {name: {"auth": ME}}}), host)
    assert found == Credentials("me", "pass:word")


@pytest.mark.parametrize("name", ["r.example.evil", "evil.r.example", "r.example:5000", "r.exampl", "docker.io"])
def test_another_registrys_password_is_not_found(tmp_path: Path, name: str) -> None:
    assert registry_login.credentials(world(tmp_path, {"auths": {name: {"auth": ME}}}), "r.example") is None


@pytest.mark.parametrize(
    "config",
    [
        *("", "null", "[]", "{", "[" * 99_999, '{"auths": 1}', '{"auths": {"r.example": 1}}'),
        '{"auths": {"r.example": {"auth": 1}}}',
        '{"auths": {"r.example": {"auth": "%%"}}}',
        '{"auths": {"r.example": {"auth": "gICAgA=="}}}',
        '{"credHelpers": []}',
    ],
)
def test_a_broken_configuration_is_nobody_who_is_logged_in(tmp_path: Path, config: str) -> None:
    assert registry_login.credentials(world(tmp_path, config), "r.example") is None


@pytest.mark.parametrize("asked", ["r.example", "docker.io"])
@pytest.mark.parametrize("where", ["credHelpers", "credsStore"])
def test_helpers_are_asked_in_dockers_words(tmp_path: Path, asked: str, where: str) -> None:
    called = {"r.example": "r.example", "docker.io": "https://index.docker.io/v1/"}[asked]
    helper(tmp_path, f'read -r name; [ "$1 $name" = "get {called}" ] || exit 9', {"Username": "me", "Secret": "s"})
    config: dict[str, object] = {"credHelpers": {called: "test"}} if where == "credHelpers" else {"credsStore": "test"}
    assert registry_login.credentials(world(tmp_path, config), asked) == Credentials("me", "s")


def test_an_identity_token_is_one(tmp_path: Path) -> None:
    helper(tmp_path, "", {"Username": "<token>", "Secret": "identity"})
    found = registry_login.credentials(world(tmp_path, {"credsStore": "test"}), "r.example")
    assert found == Credentials(identity="identity")
    assert found.basic == ""
    entry = {"auth": base64.b64encode(b"00000000-0000:").decode(), "identitytoken": "identity"}
    found = registry_login.credentials(world(tmp_path, {"auths": {"r.example": entry}}), "r.example")
    assert found is not None
    assert found.identity == "identity"


def test_a_helper_that_knows_nobody_is_no_failure_and_one_that_fails_is(tmp_path: Path) -> None:
    config = {"credsStore": "test"}
    helper(tmp_path, "echo 'credentials not found in native keychain'; exit 1", {})
    assert registry_login.credentials(world(tmp_path, config), "r.example") is None
    helper(tmp_path, "echo 'the keychain is locked\033[2J' >&2; exit 1", {})
    with pytest.raises(Denied, match="the keychain is locked\ufffd"):
        registry_login.credentials(world(tmp_path, config), "r.example")
    helper(tmp_path, "", {"Username": 1})
    with pytest.raises(Denied, match="docker-credential-test does not follow docker's protocol: Username"):
        registry_login.credentials(world(tmp_path, config), "r.example")
    for name in ("absent", "../test", "-x", 7):
        with pytest.raises(Denied):
            registry_login.credentials(world(tmp_path, {"credsStore": name}), "r.example")


def test_no_credential_is_in_what_is_printed_of_them() -> None:
    secret = Credentials("me", "secret1", "secret2", "secret3")
    assert "secret" not in repr(secret)


def helper(folder: Path, script: str, answer: object) -> None:
    path = folder / "docker-credential-test"
    path.write_text(f"#!/bin/sh\n{script}\ncat <<'E'\n{json.dumps(answer)}\nE\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        ("Negotiate", None),
        ('Basic realm="x"', Challenge("basic")),
        ('Bearer realm="https://r/t",service="s"', Challenge("bearer", "https://r/t", "s", "repository:a/b:pull")),
        (
            'Basic realm="x", Bearer realm="https://r/t",scope="repository:a/b:pull,push"',
            Challenge("bearer", "https://r/t", "", "repository:a/b:pull,push"),
        ),
        # a token for another repository is never requested
        (
            'Bearer realm="https://r/t",scope="repository:other/secret:pull"',
            Challenge("bearer", "https://r/t", "", "repository:a/b:pull"),
        ),
        (
            'Bearer realm="https://r/t",scope="repository:a/b:pull repository:c:pull"',
            Challenge("bearer", "https://r/t", "", "repository:a/b:pull"),
        ),
    ],
)
def test_challenges(header: str, found: Challenge | None) -> None:
    assert registry_login.challenge(header, "a/b", "GET") == found


@pytest.mark.parametrize(
    ("address", "base", "fine"),
    [
        ("https://auth.example/token", "https://r.example/", True),
        ("http://auth.example/token", "https://r.example/", False),
        ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000/", True),
        ("http://auth.example/token", "http://127.0.0.1:5000/", False),
        ("http://127.0.0.1:5001/token", "https://r.example/", False),
        *((f"https://{host}/", "https://r.example/", False) for host in LOCAL),
        *((f"https://{host}/upload", f"https://{host}/v2/", True) for host in ("registry.localhost", "169.254.1.1")),
        ("https://registry.localhost:5001/token", "https://registry.localhost:5000/", True),
        ("https://other.localhost/", "https://registry.localhost/", False),
        ("https://me:pw@auth.example/", "https://r.example/", False),
        ("http://127.0.0.1:80@evil.example/", "http://127.0.0.1:5000/", False),
        ("http://127.0.0.1.evil.example/", "http://127.0.0.1:5000/", False),
        ("ftp://auth.example/", "https://r.example/", False),
        ("https://auth.example/\r\nX: y", "https://r.example/", False),
        ("https://auth.example:port/", "https://r.example/", False),
        ("https:///token", "https://r.example/", False),
        ("", "https://r.example/", False),
    ],
)
def test_only_https_is_asked_and_this_machine_by_itself(address: str, base: str, fine: bool) -> None:
    wire = Wire({}, "", Patience(lambda: 0.0))
    if fine:
        assert wire.checked(address, base) == address
    else:
        with pytest.raises(Malformed):
            wire.checked(address, base)


# ---- with a server


def client(server: hostile_registry.Hostile, home: Path, config: object, **more: object) -> Client:
    reference = registry_names.reference(f"{server.host}/team/cache")
    return Client(world(home, config), reference, **more)  # type: ignore[arg-type]


def digest_of(asker: Client) -> Digest:
    found = asker.manifest("deps-amd64-release-x")
    assert found is not None
    return found.digest


def test_a_redirected_head_stays_head_and_does_not_forward_the_password(tmp_path: Path) -> None:
    with hostile_registry.running(hostile_registry.sound_otherwise) as other:

        def behave(request: Request) -> bool:
            if "authorization" not in request.headers:
                return hostile_registry.asks_for_login('Basic realm="x"')(request)
            return hostile_registry.moves(f"http://{other.host}{request.path}")(request)

        with hostile_registry.running(behave) as server:
            asker = client(server, tmp_path, {"auths": {server.host: {"auth": ME}}})
            digest = digest_of(asker)
            assert not asker.send(Blob(other_layer(other), 7, lambda: ()))
        assert digest == other_digest(other)
        assert [request.method for request in other.asked] == ["GET", "HEAD"]
        assert not any("authorization" in request.headers for request in other.asked)


def other_layer(server: hostile_registry.Hostile) -> str:
    assert server.pack is not None
    return hostile_registry.sha256(server.pack.layers[0])


def other_digest(server: hostile_registry.Hostile) -> str:
    assert server.pack is not None
    return hostile_registry.sha256(server.pack.manifest_bytes())


def test_an_identity_token_goes_to_the_realm_and_the_realms_token_to_the_registry(tmp_path: Path) -> None:
    def behave(request: Request) -> bool:
        if request.path.startswith("/token"):
            request.answer(b'{"access_token":"good"}')
            return True
        if request.headers.get("authorization") != "Bearer good":
            return hostile_registry.asks_for_login(f'Bearer realm="http://{request.server.host}/token",service="s"')(
                request
            )
        return False

    with hostile_registry.running(behave) as server:
        asker = client(server, tmp_path, {"auths": {server.host: {"identitytoken": "it is"}}})
        assert digest_of(asker)
    (token,) = (request for request in server.asked if request.path.startswith("/token"))
    assert token.method == "POST"
    assert "authorization" not in token.headers
    form = parse_qs(token.body)
    assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], ["it is"])
    assert form["scope"] == ["repository:team/cache:pull"]


@pytest.mark.parametrize(
    ("status", "pause", "sleeps"), [("429 Too Many", "7", [7.0]), ("503 Busy", "0", None), ("503 Busy", "x", None)]
)
def test_the_pause_that_a_registry_asks_for_is_made(
    tmp_path: Path, status: str, pause: str, sleeps: list[float] | None
) -> None:
    asked: list[str] = []

    def behave(request: Request) -> bool:
        asked.append(request.path)
        if len(asked) > 1:
            return False
        return hostile_registry.fails(status, {"Retry-After": pause})(request)

    slept: list[float] = []
    with hostile_registry.running(behave) as server:
        assert digest_of(client(server, tmp_path, {}, sleep=slept.append))
    assert len(slept) == 1
    assert slept == sleeps if sleeps else slept[0] < 1


@pytest.mark.parametrize(
    "act",
    [
        lambda asker: asker.manifest("x"),
        lambda asker: asker.tags(),
        lambda asker: asker.delete(Digest.of(b"")),
        lambda asker: asker.send(Blob(Digest.of(b""), 0, lambda: ())),
        lambda asker: asker.tag(Tag("x"), Blob(Digest.of(b""), 0, lambda: ()), "text/plain"),
    ],
)
def test_a_dialogue_ends_at_its_deadline(tmp_path: Path, act: Callable[[Client], object]) -> None:
    with hostile_registry.running(hostile_registry.drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.1)) as server:
        asker = client(server, tmp_path, {}, seconds=1.0)
        began = asker.world.clock()
        with pytest.raises(Unreachable, match="no time left"):
            act(asker)
        assert 0.9 < asker.world.clock() - began < 4
        with pytest.raises(Unreachable):  # the limit covers the whole exchange, not each request
            act(asker)
        assert asker.world.clock() - began < 4


def test_what_was_asked_for_by_its_digest_must_be_it(tmp_path: Path) -> None:
    with hostile_registry.running(hostile_registry.says(b'{"schemaVersion":2}')) as server:
        asker = client(server, tmp_path, {})
        with pytest.raises(Malformed, match="requested digest"):
            asker.manifest(Digest.of(b"another"))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../x", "sha256:x", "-x", "x" * 129, "x\n", "a:b", "x?n=1"])
def test_what_is_no_tag_and_no_digest_is_not_asked_for(tmp_path: Path, name: str) -> None:
    with hostile_registry.running(hostile_registry.sound_otherwise) as server:
        with pytest.raises(Malformed):
            client(server, tmp_path, {}).manifest(name)
        assert server.asked == []


def test_nobody_waits_for_work_that_cannot_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name lookup has no deadline."""
    monkeypatch.setattr(registry_remote, "GRACE", 0.1)
    never = threading.Event()
    with pytest.raises(Unreachable, match="no response within"):
        registry_remote.bounded(0.1, never.wait)
    never.set()
    assert registry_remote.bounded(5.0, lambda: 7) == 7
    assert registry_remote.bounded(None, lambda: 7) == 7
    with pytest.raises(Malformed):
        registry_remote.bounded(5.0, lambda: Tag("not a tag"))


def test_an_empty_helper_means_docker_s_own_file(tmp_path: Path) -> None:
    auths = {"r.example": {"auth": base64.b64encode(b"me:s").decode()}}
    config = {"credsStore": "absent", "credHelpers": {"r.example": ""}, "auths": auths}
    assert registry_login.credentials(world(tmp_path, config), "r.example") == Credentials("me", "s")
