"""Malicious registries on a real engine: nothing from them runs, and builds continue without them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.engine import cache_site
from tests.engine.cache_site import Site
from tests.engine.machines import Machine
from tests.support import hostile_registry, process
from tests.support.hostile_registry import Behavior, Request

pytestmark = pytest.mark.engine

#: Seconds for a pull that never ends, and for a whole build on a very busy machine.
PULL, WHOLE = 20, 600


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Site]:
    made = cache_site.make_rust(tmp_path_factory.mktemp("hostile"), base_images)
    yield made
    made.remove_images()
    made.clear()


@pytest.fixture
def machine(site: Site, tmp_path: Path) -> Machine:
    """Create a machine that has never built, with a secret for its builds."""
    config = tmp_path / "config.toml"
    config.write_text(f"# {SECRET}\n[term]\nquiet = false\n")
    more = {
        "BUILDKIT_TASKS_CACHE_NAMESPACE": f"t{secrets.token_hex(4)}",
        "BUILDKIT_TASKS_BUILD_CARGO_CONFIG": str(config),
        "BUILDKIT_TASKS_PACKS_TIMEOUT": str(PULL),
        "DOCKER_CONFIG": str(tmp_path),
    }
    return Machine(site, tmp_path, more)


SECRET = f"planted-{secrets.token_hex(8)}"


def builds(machine: Machine, server: hostile_registry.Hostile) -> str:
    """Build with this registry: it succeeds in time and with limited memory. Return the whole output."""
    env = {**machine.env, "BUILDKIT_TASKS_PACKS_REPOSITORY": f"{server.host}/team/cache"}
    argv: list[str | Path] = [process.BIN / "invoke", "build", "--no-cache"]
    done, _, size = process.measured(argv, machine.site.root, env, timeout=WHOLE)
    assert done.code == 0, done.all
    assert size < 200
    assert "continuing without the shared cache" in done.err, done.err
    assert machine.says() == "worker 8! 1.5\n"
    return done.all


def test_a_header_runs_no_command(machine: Machine) -> None:
    """The command would leave the build secret in the mount, print the user, and hide the rest of the line."""
    command = f"id; cp /stolen /build/stolen; cat /stolen; echo {SECRET[::-1]}; exit 1; #"
    header = f"DIGEST,target=/x --mount=type=secret,id=cargo-config,target=/stolen {command}"
    with hostile_registry.running(hostile_registry.injects(header)) as server:
        said = builds(machine, server)
        pulled = machine.run("cache.pull", "--replace", "--ref", f"{server.host}/team/cache")
    assert pulled.code == 43, pulled.all  # the valid pack behind the header does not contain an archive
    for text in (said, pulled.all):
        assert "uid=" not in text
        assert SECRET not in text
        assert SECRET[::-1] not in text
    assert "stolen" not in machine.site.in_mounts("true", str(machine.more["BUILDKIT_TASKS_CACHE_NAMESPACE"]))


def _layers(request: Request) -> bool:
    """Return whether a layer is requested."""
    pack = request.server.pack
    return pack is not None and any(hostile_registry.sha256(blob) in request.path for blob in pack.layers)


def _wrong_bytes(request: Request) -> bool:
    if not _layers(request):
        return False
    request.answer(hostile_registry.layer(), "application/octet-stream")
    return True


def _slow_layer(request: Request) -> bool:
    drip = hostile_registry.drips(b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n", b"x")
    return _layers(request) and drip(request)


def _endless_layer(request: Request) -> bool:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return _layers(request) and hostile_registry.drips(start, b"10000\r\n" + bytes(65536) + b"\r\n", 0.01)(request)


@pytest.mark.parametrize("behavior", [_wrong_bytes, _slow_layer, _endless_layer], ids=lambda b: b.__name__.strip("_"))
def test_bad_layers_do_not_block_a_build(machine: Machine, behavior: Behavior) -> None:
    with hostile_registry.running(behavior) as server:
        said = builds(machine, server)
        assert any(_layers(request) for request in server.asked), said


def _never(request: Request) -> bool:
    return _layers(request) and hostile_registry.waits(request)


def _one_byte(request: Request) -> bool:
    drip = hostile_registry.drips(b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n", b"x", 2)
    return _layers(request) and drip(request)


def _heads_never(request: Request) -> bool:
    return request.method == "HEAD" and hostile_registry.waits(request)


#: `invoke` with a shorter limit.
HURRIED = """\
import sys
from buildkit_tasks.builds import fetching
from buildkit_tasks.__main__ import main
fetching.Fetching.__init__.__defaults__ = (3.0,)
sys.exit(main())
"""


@pytest.mark.parametrize("behavior", [_never, _one_byte, _heads_never], ids=lambda b: b.__name__.strip("_"))
def test_a_pull_without_a_time_limit_ends_if_the_registry_stalls(machine: Machine, behavior: Behavior) -> None:
    with hostile_registry.running(behavior) as server:
        argv: list[str | Path] = [process.BIN / "python", "-c", HURRIED, "cache.pull", "--replace"]
        argv += ["--ref", f"{server.host}/team/cache"]
        done = process.run(argv, machine.site.root, machine.env, timeout=120)
    assert done.code == 40, done.all
    assert "stopped responding while BuildKit fetched" in done.err
