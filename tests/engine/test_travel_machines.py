"""Two engines and one registry between them: what is cut, flipped, forged or killed on the way never breaks a build."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.registry_client import Client, reference
from buildkit_tasks.world import World
from tests.engine import cache_site
from tests.engine.cache_site import CRATES, Site
from tests.support import oci_registry, process, second_engine
from tests.support.old_engine import wait_for
from tests.support.second_engine import SecondEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow]  # two minutes: `nox -s travel`


@dataclass(frozen=True)
class Machine:
    """A checkout on one of the engines."""

    site: Site
    home: Path
    remote: str
    socket: str | None = None

    def run(self, *args: str, **env: str | None) -> process.Done:
        """Run invoke on this machine; DOCKER_CONFIG keeps both from this user's log-ins."""
        base = {
            **self.site.env,
            "XDG_STATE_HOME": str(self.home / "state"),
            "DOCKER_CONFIG": str(self.home / "docker"),
            "BUILDKIT_TASKS_REMOTE_CACHE": self.remote,
            "DOCKER_HOST": self.socket,
        }
        return process.run([process.BIN / "invoke", *args], self.site.root, {**base, **env})

    def document(self, *args: str, **env: str | None) -> dict[str, Any]:
        done = self.run(*args, "--json", **env)
        assert done.code == 0, done.all
        return dict(json.loads(done.out))

    def builds(self, **env: str | None) -> tuple[list[str], str]:
        """Build in empty mounts and run what came out: crates compiled, and why nothing was pulled, if so."""
        env = {"BUILDKIT_TASKS_CACHE_NAMESPACE": f"t{secrets.token_hex(4)}", **env}
        done = self.run("build", "--no-cache", "--json", **env)
        assert done.code == 0, done.all
        docker = ["docker", *(["-H", self.socket] if self.socket else ())]
        out = process.ok([*docker, "run", "--rm", f"{self.site.scope}/worker:dev"], self.site.root).out
        assert out == "worker 8! 1.5\n"
        built = json.loads(done.out)
        return sorted(built["cargo"]["compiled"]), "; ".join(built["pull"]["why_not"])


@pytest.fixture(scope="module")
def second(base_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondEngine]:
    binary = oci_registry.program(Path.home() / ".cache/buildkit-tasks-tests/docker-registry")
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    with second_engine.running(base, tmp_path_factory.mktemp("second"), binary) as started:
        yield started


@pytest.fixture(scope="module")
def here(
    base_images: Mapping[str, str], second: SecondEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """The machine that builds; it pushes its base images, where they were built here, and its caches."""
    site = cache_site.make_rust(tmp_path_factory.mktemp("machines"), base_images)
    made = Machine(site, tmp_path_factory.mktemp("here"), f"{second.registry}/team/cache")
    made.run("build", BUILDKIT_TASKS_REMOTE_CACHE_PULL="never")
    if base_images:
        made.document("images.push")
    yield made
    process.run(["docker", "image", "rm", f"{site.scope}/api:dev", f"{site.scope}/worker:dev"], site.root)
    site.clear()


@pytest.fixture(scope="module")
def there(here: Machine, second: SecondEngine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The machine that never built."""
    return Machine(here.site, tmp_path_factory.mktemp("there"), here.remote, second.socket)


def blob(here: Machine, second: SecondEngine) -> Path:
    """The largest layer of the newest pack, in the registry's storage."""
    world = World(env={}, cwd=here.home, home=here.home)
    tag = here.document("cache.list")["packs"][0]["tags"][0]
    manifest = Client(world, reference(here.remote)).manifest(tag)
    assert manifest is not None
    digest = max(manifest.layers, key=lambda layer: layer[1])[0].removeprefix("sha256:")
    return second.blobs / digest[:2] / digest / "data"


def test_faults_on_the_way_never_break_a_build_and_a_sound_pack_is_taken(
    here: Machine, there: Machine, second: SecondEngine
) -> None:
    """One test, because each step needs an engine that has not seen the pack: what it once had, it does not fetch."""
    # the base images come from the team's repository by themselves, or from where the others come from
    cold, said = there.builds()
    assert len(cold) == 7
    assert said == "it has none for this platform and profile"

    assert here.document("cache.push", "--force")["pack"]["units"] >= 4
    layer = blob(here, second)
    sound = layer.read_bytes()

    layer.write_bytes(sound[: len(sound) // 2])
    compiled, said = there.builds()
    assert compiled == cold
    assert said

    layer.write_bytes(sound[:5000] + bytes([sound[5000] ^ 0xFF]) + sound[5001:])
    compiled, said = there.builds()
    assert compiled == cold
    assert said

    second.stop_registry()
    compiled, said = there.builds(BUILDKIT_TASKS_REMOTE_CACHE_TIMEOUT="20")
    assert compiled == cold
    assert "does not answer" in said
    done = here.run("cache.push", "--force")
    assert done.code == 40, done.all

    layer.write_bytes(sound)
    second.start_registry()
    compiled, said = there.builds()
    assert compiled == sorted(CRATES), said
    done = there.run("verify", "--service", "worker")
    assert done.code == 0, done.all


def test_a_pack_from_a_machine_whose_clock_is_an_hour_ahead(here: Machine, there: Machine) -> None:
    in_mounts(here, "find /mnt/build -exec touch -h -d '+1 hour' {} +")
    here.document("cache.push", "--force")
    space = {"BUILDKIT_TASKS_CACHE_NAMESPACE": f"t{secrets.token_hex(4)}"}
    compiled, _ = there.builds(**space)
    assert compiled == sorted(CRATES)
    source = here.site.root / "services/worker/src/main.rs"
    before = source.read_text()
    source.write_text(before.replace("worker {}", "edited {}"))
    try:
        built = there.document("build", **space)
        assert built["cargo"]["compiled"] == ["worker"]
        docker = ["docker", "-H", str(there.socket), "run", "--rm", f"{here.site.scope}/worker:dev"]
        assert process.ok(docker, here.site.root).out == "edited 8! 1.5\n"
    finally:
        source.write_text(before)


@pytest.mark.parametrize("what", ["pull", "push"])
def test_a_registry_killed_in_the_middle(here: Machine, there: Machine, second: SecondEngine, what: str) -> None:
    """Killed while a layer is on its way."""
    # a pack that neither engine nor registry has seen
    in_mounts(here, "find /mnt/build -name '*.d' -exec touch {} +")
    words = "/v2/team/cache/blobs/uploads/"
    if what == "pull":
        here.document("cache.push", "--force")
        words = "/v2/team/cache/manifests/sha256:"  # asked for by the engine; we ask for tags
    machine = there if what == "pull" else here
    killer = threading.Thread(target=kill_at, args=(second, words))
    killer.start()
    try:
        if what == "pull":
            compiled, said = machine.builds(BUILDKIT_TASKS_REMOTE_CACHE_TIMEOUT="30")
            assert {*compiled} >= {*CRATES}, said
        else:
            done = machine.run("cache.push", "--force")
            assert done.code != 0, done.all
    finally:
        second.stop_registry()
        killer.join()
        second.start_registry()
    compiled, said = there.builds()
    assert compiled == sorted(CRATES), said


def kill_at(second: SecondEngine, words: str) -> None:
    """Kill the registry when its log has these words."""
    wait_for(["timeout", "60", "tail", "-n", "0", "-f", str(second.place / "registry.log")], words)
    second.stop_registry()


def in_mounts(machine: Machine, script: str) -> None:
    """Run a command in the mounts of the machine's project."""
    dockerfile = machine.site.root / "docker" / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(cache_site.MOUNTS)
    try:
        machine.site.step(script)
    finally:
        dockerfile.write_text(text)
