"""The registry client with a server in this process: login, failures, pages. The real registry is in tests/engine."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World
from buildkit_tasks.packs import image as pack_image
from buildkit_tasks.registry import client as registry_client
from buildkit_tasks.registry import http as registry_http
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry import patience
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import Blob, Denied, Digest, Malformed, Tag, Unreachable
from tests.support import hostile_registry

CONFIG = b'{"config":{"Labels":{"k":"v"}}}'
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest.of(b"a layer"), "size": 7}
_ABOUT = {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": Digest.of(CONFIG),
    "size": len(CONFIG),
}
MANIFEST = json.dumps({"schemaVersion": 2, "config": _ABOUT, "layers": [LAYER]}).encode()

BASIC = "Basic " + base64.b64encode(b"me:it is a secret").decode()


class Fake(ThreadingHTTPServer):
    """The requests it received, and how it behaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, str]] = []
        self.troubles = 0
        self.auth = ""
        self.elsewhere = ""
        self.stored: dict[str, bytes] = {}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        self.server.asked.append((self.command, self.path, authorization))
        if self.server.troubles:
            self.server.troubles -= 1
            return self.answer(503, b"busy")
        if self.path.startswith("/token"):
            scope = parse_qs(urlsplit(self.path).query)["scope"][0].rpartition(":")[2]
            given = f"token-for-me-to-{scope}" if authorization == BASIC else "token-for-anybody"
            return self.answer(200, json.dumps({"token": given}).encode())
        if self.server.auth == "basic" and authorization != BASIC:
            return self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="here"'})
        wanted = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        if self.server.auth == "bearer" and not authorization.startswith(f"Bearer token-for-me-to-{wanted}"):
            realm = f"http://{self.server.host}/token"
            challenge = f'Bearer realm="{realm}",service="s",scope="repository:team/cache:{wanted}"'
            return self.answer(401, b"", {"WWW-Authenticate": challenge})
        if self.command in ("HEAD", "POST", "PUT"):
            return self.write()
        if self.path == "/v2/team/cache/tags/list?n=1000":
            more = {"Link": '</v2/team/cache/tags/list?n=1000&last=b>; rel="next"'}
            return self.answer(200, b'{"tags":["a","b"]}', more)
        if self.path == "/v2/team/cache/tags/list?n=1000&last=b":
            return self.answer(200, b'{"tags":["c"]}')
        if self.path == "/v2/team/cache/manifests/a":
            # the reported digest is not trusted
            return self.answer(200, MANIFEST, {"Docker-Content-Digest": "sha256:m"})
        if self.path == f"/v2/team/cache/manifests/{Digest.of(MANIFEST)}":
            return self.answer(200, MANIFEST)
        if self.path == f"/v2/team/cache/blobs/{Digest.of(CONFIG)}":
            return self.answer(200, CONFIG)
        return self.answer(404, b"")

    do_DELETE = do_HEAD = do_POST = do_PUT = do_GET

    def write(self) -> None:
        """Answer HEAD, POST and PUT of blobs and manifests as specified."""
        wanted = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(wanted)
        if len(content) < wanted:
            return None  # the client has disconnected
        place, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if self.command == "HEAD":
            return self.answer(200 if place.rpartition("/")[2] in self.server.stored else 404, b"")
        if self.command == "POST":
            begun = "/v2/team/cache/blobs/uploads/one?state=x"
            return self.answer(202, b"", {"Location": f"{self.server.elsewhere}{begun}"})
        name = query["digest"][0] if "digest" in query else place.rpartition("/")[2]
        if "digest" in query and name != f"sha256:{hashlib.sha256(content).hexdigest()}":
            return self.answer(400, b"")
        self.server.stored[name] = content
        return self.answer(201, b"")

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Fake]:
    with running() as server:
        yield server


@contextmanager
def running() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def client(fake: Fake, home: Path) -> Client:
    world = World(env={"DOCKER_CONFIG": str(home)}, cwd=home, home=home)
    return Client(world, registry_names.reference(f"{fake.host}/team/cache"), sleep=lambda _: None)


def log_in(home: Path, host: str) -> None:
    (home / "config.json").write_text(json.dumps({"auths": {host: {"auth": BASIC.split()[1]}}}))


def test_tags_come_in_pages_and_labels_from_the_configuration(fake: Fake, tmp_path: Path) -> None:
    asker = client(fake, tmp_path)
    assert asker.tags() == ("a", "b", "c")
    manifest = asker.manifest("a")
    assert manifest is not None
    assert manifest.digest == Digest.of(MANIFEST)
    assert [(layer.digest, layer.size) for layer in manifest.layers] == [(Digest.of(b"a layer"), 7)]
    assert asker.labels(manifest) == {"k": "v"}
    assert asker.manifest("absent") is None


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_dockers_own_credentials_are_used_when_asked_for(fake: Fake, tmp_path: Path, kind: str) -> None:
    fake.auth = kind
    log_in(tmp_path, fake.host)
    assert client(fake, tmp_path).manifest("a") is not None
    assert fake.asked[0][2] == ""  # a password is only sent to servers that ask for it


def test_credentials_of_a_helper_are_used(fake: Fake, tmp_path: Path) -> None:
    fake.auth = "basic"
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        f'#!/bin/sh\nread -r host; [ "$1 $host" = "get {fake.host}" ] || exit 1\n'
        'echo \'{"Username":"me","Secret":"it is a secret"}\'\n'
    )
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {fake.host: "test"}}))
    world = World(
        env={"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}, cwd=tmp_path, home=tmp_path
    )
    asker = Client(world, registry_names.reference(f"{fake.host}/team/cache"))
    assert asker.manifest("a") is not None


def test_a_wrong_or_missing_password_is_denied_not_unreachable(fake: Fake, tmp_path: Path) -> None:
    fake.auth = "basic"
    with pytest.raises(Denied, match="401"):
        client(fake, tmp_path).tags()


def test_trouble_of_the_registry_is_tried_again_and_told_when_it_stays(fake: Fake, tmp_path: Path) -> None:
    fake.troubles = registry_http.TRIES - 1
    assert client(fake, tmp_path).manifest("a") is not None
    fake.troubles = 1000
    asked = len(fake.asked)
    with pytest.raises(Unreachable, match="503"):
        client(fake, tmp_path).manifest("a")
    assert len(fake.asked) - asked == registry_http.TRIES


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    world = World(env={}, cwd=tmp_path, home=tmp_path)
    asker = Client(world, registry_names.reference("127.0.0.1:9/team/cache"), sleep=lambda _: None)
    with pytest.raises(Unreachable):
        asker.tags()


def test_deleting_tells_whether_the_registry_did(fake: Fake, tmp_path: Path) -> None:
    assert client(fake, tmp_path).delete(Digest.of(MANIFEST))
    assert not client(fake, tmp_path).delete(Digest.of(b"absent"))


def blob(content: bytes, said: bytes | None = None) -> Blob:
    digest = hashlib.sha256(content if said is None else said).hexdigest()
    return Blob(f"sha256:{digest}", len(content), lambda: (content[:3], content[3:]))


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
def test_a_blob_is_sent_once_and_named_by_a_tag(fake: Fake, tmp_path: Path, auth: str) -> None:
    fake.auth = auth
    log_in(tmp_path, fake.host)
    sender = client(fake, tmp_path)
    assert sender.send(blob(b"a layer"))
    assert not sender.send(blob(b"a layer"))
    sender.tag(Tag("newest"), blob(b"{}"), "application/json")
    assert fake.stored == {blob(b"a layer").digest: b"a layer", "newest": b"{}"}


def test_who_may_only_read_is_denied_and_what_is_damaged_on_the_way_is_told(fake: Fake, tmp_path: Path) -> None:
    fake.auth = "bearer"
    with pytest.raises(Denied, match="401"):
        client(fake, tmp_path).send(blob(b"a layer"))
    fake.auth = ""
    with pytest.raises(Unreachable, match="400"):
        client(fake, tmp_path).send(blob(b"a layer", said=b"another"))
    assert fake.stored == {}


def test_trouble_in_the_middle_of_sending_begins_anew(fake: Fake, tmp_path: Path) -> None:
    sender = client(fake, tmp_path)
    assert sender.manifest("a") is not None
    fake.troubles = 2
    assert sender.send(blob(b"a layer"))
    assert fake.stored[blob(b"a layer").digest] == b"a layer"


def test_a_sending_that_is_no_longer_wanted_ends_without_another_try(fake: Fake, tmp_path: Path) -> None:
    def late() -> None:
        raise Problem("timed-out", "It took too long.")

    with pytest.raises(Problem, match="too long"):
        client(fake, tmp_path).send(pack_image.watched(blob(b"a layer"), late))
    assert [method for method, _, _ in fake.asked].count("POST") == 1
    assert fake.stored == {}


def test_a_tag_list_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    page = json.dumps({"tags": [f"t{number:x}" for number in range(90_000)]}).encode()

    def pages(request: hostile_registry.Request) -> bool:
        link = f'</v2/team/cache/tags/list?last={len(request.server.asked)}>; rel="next"'
        request.answer(page, more={"Link": link})
        return True

    world = World(env={"DOCKER_CONFIG": str(tmp_path)}, cwd=tmp_path, home=tmp_path)
    with hostile_registry.running(pages) as server:
        asker = Client(world, registry_names.reference(f"{server.host}/team/cache"))
        with pytest.raises(Malformed, match="more than 100000 tags"):
            asker.tags()
        assert len(server.asked) < 5


def test_a_server_that_accepts_and_never_speaks_ends_the_tls_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a stopped process, for which the kernel still accepts connections."""
    monkeypatch.setattr(patience, "TIMEOUT", 0.2)
    world = World(env={"DOCKER_CONFIG": str(tmp_path)}, cwd=tmp_path, home=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        asker = Client(world, registry_names.reference(f"{host}/team/cache"), sleep=lambda _: None)
        ended: list[Exception] = []

        def ask() -> None:
            try:
                asker.tags()
            except Unreachable as error:
                ended.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(timeout=30)
    assert ended


def _drips_after(method: str) -> hostile_registry.Behavior:
    """Accept an upload, but answer this method one byte at a time, forever."""
    drip = hostile_registry.drips(b"HTTP/1.1 201 Created\r\nX: ", b"x", 0.1)

    def behave(request: hostile_registry.Request) -> bool:
        if request.method == method:
            return drip(request)
        place = {"Location": "/v2/team/cache/blobs/uploads/1"}
        request.answer(b"", status="404 Not Found" if request.method == "HEAD" else "202 Accepted", more=place)
        return True

    return behave


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_a_push_without_a_time_limit_ends_if_a_response_never_does(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "UPLOAD_TIMEOUT", 0.5)
    monkeypatch.setattr(registry_client, "QUESTION", 0.5)
    world = World(env={"DOCKER_CONFIG": str(tmp_path)}, cwd=tmp_path, home=tmp_path)
    with hostile_registry.running(_drips_after(method)) as server:
        sender = Client(world, registry_names.reference(f"{server.host}/team/cache"), sleep=lambda _: None)
        with pytest.raises(Unreachable):
            sender.send(blob(b"a layer"))
        assert method in [request.method for request in server.asked]


def test_a_password_is_not_sent_to_where_a_registry_keeps_its_blobs(fake: Fake, tmp_path: Path) -> None:
    fake.auth = "basic"
    log_in(tmp_path, fake.host)
    with running() as store:
        fake.elsewhere = f"http://{store.host}"
        assert client(fake, tmp_path).send(blob(b"a layer"))
        assert store.stored == {blob(b"a layer").digest: b"a layer"}
        assert [authorization for _, _, authorization in store.asked] == [""]


@pytest.mark.parametrize(
    "text",
    [
        *("cache", "team/cache", "host.example/Team", "host.example/a:tag", "host.example", "", "host.example/a//b"),
        *("me:secret@host.example/a", "host.example,target=/x/a", "host.example /a", "host.example:port/a", "h.x/a\n"),
        f"host.example/{'a' * 300}",
    ],
)
def test_what_names_no_repository_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        registry_names.reference(text)
    assert "secret" not in caught.value.text()


@pytest.mark.parametrize("text", ["ghcr.io/a/b-cache", "localhost/x", "host:5000/x/y_z", "[::1]:5000/a"])
def test_repositories_of_registries(text: str) -> None:
    assert registry_names.reference(text).name == text
