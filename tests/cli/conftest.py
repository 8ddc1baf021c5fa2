"""A small project and a docker that records its calls: the real `invoke` runs against both."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import process
from tests.support.fork_server import Server
from tests.support.situations import INFO

FAKE = Path(process.__file__).with_name("fake_docker.py")

DOCKERFILE = """\
ARG RUST_IMAGE=rust:1-bookworm
FROM ${RUST_IMAGE} AS compile
ARG CACHE_SCOPE
ARG PROGRAMS
ARG BINS
ARG PROFILE=release
ARG CARGO_INCREMENTAL=0
ARG REBUILD
ARG TARGETARCH
RUN --mount=type=secret,id=ca --mount=type=cache,id=${CACHE_SCOPE}-target-${TARGETARCH},target=/target cargo build
FROM debian:bookworm-slim
ARG BIN
COPY --from=compile /out/${BIN} /usr/local/bin/service
"""


@dataclass
class Bench:
    """A project directory, the fake docker's directory, and the real command line."""

    root: Path
    place: Path
    env: dict[str, str | None] = field(default_factory=dict)
    replies: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, match: str, **answer: Any) -> None:
        """Set an answer of docker; later replies take precedence over earlier ones."""
        self.replies.insert(0, {"match": match, **answer})
        (self.place / "replies.json").write_text(json.dumps(self.replies))

    def environment(self) -> dict[str, str | None]:
        """Return the environment for `invoke`."""
        path = f"{self.place}/bin:{process.BIN}:/usr/bin:/bin"
        return {
            "PATH": path,
            "FAKE_DOCKER": str(self.place),
            "HOME": str(self.place / "home"),
            "XDG_STATE_HOME": None,
            "CI": None,
            "SSL_CERT_FILE": None,
            "DOCKER_HOST": None,
            **self.env,
        }

    def invoke(self, *args: str, stdin: str | None = None) -> process.Done:
        """Run the real invoke."""
        return process.run([process.BIN / "invoke", *args], self.root, self.environment(), stdin=stdin, timeout=60)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Return all docker calls."""
        log = self.place / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def call(self, word: str) -> dict[str, Any]:
        """Return the only call whose arguments contain `word`."""
        found = [c for c in self.calls if word in c["argv"]]
        assert len(found) == 1, [c["argv"] for c in self.calls]
        return found[0]


def service(root: Path, name: str, **more: Any) -> dict[str, Any]:
    """Return a service with a build, in the form of `docker compose config`."""
    args = {"BIN": name, "CACHE_SCOPE": "shop"}
    return {
        "build": {"context": str(root), "dockerfile": "docker/Dockerfile", "args": args},
        "image": f"shop/{name}:dev",
        **more,
    }


def solve(*objects: Mapping[str, Any]) -> str:
    """Return a rawjson progress stream, indented as buildx 0.13 writes it."""
    return "\n".join(json.dumps(o, indent=2) for o in objects) + "\n"


def log(vertex: str, text: str) -> dict[str, Any]:
    """Return a log message of a step."""
    return {"logs": [{"vertex": vertex, "data": base64.b64encode(text.encode()).decode()}]}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A project `shop` with the services api and worker, and a healthy engine."""
    root, place = tmp_path / "shop", tmp_path / "fake"
    (root / "docker").mkdir(parents=True)
    (place / "bin").mkdir(parents=True)
    (place / "home").mkdir()
    shutil.copy(FAKE, place / "bin" / "docker")
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    (root / "docker" / "Dockerfile").write_text(DOCKERFILE)
    (root / "compose.yaml").write_text("name: shop\nservices: {}\n")
    made = Bench(root, place)
    made.reply("info", stdout=json.dumps(INFO))
    made.reply("context inspect", stdout="unix:///var/run/docker.sock\n")
    config = {
        "name": "shop",
        "services": {
            "api": service(root, "api"),
            "worker": service(root, "worker"),
            "postgres": {"image": "postgres:15-bookworm"},
        },
    }
    made.reply("config --format json", stdout=json.dumps(config))
    present = "".join(
        f'["{ref}"] sha256:{n * 64}\n'
        for n, ref in zip("123", ("rust:1-bookworm", "debian:bookworm-slim", "postgres:15"), strict=True)
    )
    made.reply("image inspect", stdout=present)
    # the result of a build for another platform is checked in a container, which contains no files here
    made.reply("container create", stdout="c0ffee\n")
    made.reply("container inspect", stdout="/bin/service\n")
    made.reply("container cp", code=1, stderr="Error: Could not find the file\n")
    made.reply("container rm", stdout="c0ffee\n")
    run = "sha256:run"
    made.reply(
        "buildx bake",
        stderr=solve(
            {
                "vertexes": [
                    {"digest": run, "name": "[api compile 2/2] RUN cargo build", "started": "2026-01-01T00:00:00Z"}
                ]
            },
            log(run, "   Compiling common v0.1.0 (/x/common)\n   Compi"),
            log(run, "ling api v0.1.0 (/x/api)\nbuildkit-tasks: fresh 390\n"),
            {
                "vertexes": [
                    {
                        "digest": run,
                        "name": "[api compile 2/2] RUN cargo build",
                        "started": "2026-01-01T00:00:00Z",
                        "completed": "2026-01-01T00:00:02.500000000Z",
                    }
                ]
            },
        ),
        metadata={n: {"containerimage.digest": f"sha256:{n}"} for n in ("api", "worker")},
    )
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    before = os.umask(0o022)  # other users must be able to enter
    made = Server()
    yield made
    made.close()
    os.umask(before)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user can enter.

    Not below pytest's own directory: every new session of this user closes that to other users.
    """
    made = Path(tempfile.mkdtemp(prefix="buildkit-tasks-tests-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)
