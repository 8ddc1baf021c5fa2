"""The sample's api for arm64 with the other services: it connects to PostgreSQL and RabbitMQ and answers requests."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from tests.engine.checkout import Checkout, copied
from tests.support import process

# a cold build of all dependencies for arm64: `nox -s "multiarch(arm64)"`
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("engine")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with copied(tmp_path_factory.mktemp("arm")) as made:
        yield made


def test_the_arm64_api_answers_health(checkout: Checkout) -> None:
    checkout.ok("quickstart", "--yes")
    checkout.ok("build", "--service", "api", "--platform", "arm64")
    checkout.ok("images.check", "--service", "api", "--platform", "arm64")
    found = process.run(["sh", "-c", "command -v qemu-aarch64-static"], checkout.root).out.strip()
    emulator = found or str(checkout.root.parent / "state/buildkit-tasks/qemu/qemu-aarch64-static")
    api = {
        "platform": "linux/arm64",
        "entrypoint": ["/run/emulator", "/usr/local/bin/service"],
        "volumes": [f"{emulator}:/run/emulator:ro"],
        "healthcheck": {"test": ["CMD", "/run/emulator", "/usr/local/bin/service", "health"], "timeout": "20s"},
    }
    override = checkout.root / "arm.yaml"
    override.write_text(json.dumps({"services": {"api": api}}))
    offline = checkout.ok("images.override").out.strip()
    files = [w for f in ("docker-compose.yaml", offline, str(override)) if f for w in ("-f", f)]
    process.ok(["docker", "compose", *files, "up", "-d", "--no-build", "--no-deps", "--wait", "api"], checkout.root)
    with urllib.request.urlopen(f"http://127.0.0.1:{checkout.port}/health", timeout=30) as answer:
        assert json.load(answer)["status"] == "ok"
    image = process.ok(["docker", "inspect", "--format", "{{.Image}}", checkout.containers()["api"]], checkout.root).out
    form = ["docker", "image", "inspect", "--format", "{{.Architecture}}", image.strip()]
    assert process.ok(form, checkout.root).out.strip() == "arm64"
