"""A company CA reaches git, curl and apt as a build secret: they trust it in that step, and no layer contains it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.support import process

pytestmark = pytest.mark.engine

DOCKERFILE = """\
FROM rust:1-bookworm AS asks
ARG ADDRESS
ARG REBUILD
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444 \\
    git ls-remote $ADDRESS/repo.git && \\
    if command -v curl; then curl -sSf $ADDRESS/page; fi && \\
    echo "deb [trusted=yes] $ADDRESS/apt ./" > /tmp/list && \\
    apt-get update -o Dir::Etc::sourcelist=/tmp/list -o Dir::Etc::sourceparts=- -o APT::Update::Error-Mode=any && \\
    mkdir -p /out && date > /out/asked
FROM scratch
COPY --from=asks /out /
COPY --from=asks /etc/ssl/certs /certs
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Run a server with a certificate of an unknown CA, reachable from builds; yield its address and the CA's file."""
    inspected = process.ok(["docker", "network", "inspect", "bridge", "-f", "{{json .IPAM.Config}}"], tmp_path).out
    gateway = json.loads(inspected)[0]["Gateway"]
    root = tmp_path / "served"
    (root / "apt").mkdir(parents=True)
    (root / "page").write_text("a page\n")
    (root / "apt/Packages").write_text("")
    work = tmp_path / "work"
    work.mkdir()
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    process.ok(["git", "init", "-q"], work)
    process.ok(["git", *identity, "commit", "-q", "--allow-empty", "-m", "first"], work)
    process.ok(["git", "clone", "-q", "--bare", str(work), str(root / "repo.git")], tmp_path)
    process.ok(["git", "update-server-info"], root / "repo.git")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(gateway).configure_cert(context)
    server = ThreadingHTTPServer((gateway, 0), partial(Quiet, directory=str(root)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://{gateway}:{server.server_port}", tmp_path / "ca.pem"
    server.shutdown()
    server.server_close()
    thread.join()


def test_git_curl_and_apt_trust_it_in_the_step_and_nowhere_else(
    served: tuple[str, Path], tmp_path: Path, base_images: Mapping[str, str]
) -> None:
    address, bundle = served
    root = tmp_path / "project"
    root.mkdir()
    build = {"context": ".", "args": {"ADDRESS": address, "CACHE_SCOPE": "company"}}
    image = "bt-company-ca/asks:dev"
    service = {"image": image, "build": build}
    (root / "compose.yaml").write_text(json.dumps({"name": "company", "services": {"asks": service}}))
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    env: dict[str, str | None] = {"XDG_STATE_HOME": str(tmp_path / "state"), "no_proxy": address, "NO_PROXY": address}
    without = process.run([process.BIN / "invoke", "build"], root, {**env, "BUILDKIT_TASKS_BUILD_CA_BUNDLE": ""})
    assert without.code != 0
    assert "certificate" in without.err.lower(), without.err
    done = process.run([process.BIN / "invoke", "build"], root, {**env, "BUILDKIT_TASKS_BUILD_CA_BUNDLE": str(bundle)})
    assert done.code == 0, done.all
    try:
        line = bundle.read_text().splitlines()[3]
        saved = process.ok(["sh", "-c", f"docker save {image} | tar -xO | grep -a -c '{line}' || true"], root)
        assert saved.out.strip() == "0"
        history = process.ok(["docker", "history", "--no-trunc", image], root).out
        assert line not in history
    finally:
        process.run(["docker", "image", "rm", image], root)
