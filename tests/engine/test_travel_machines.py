"""Two engines with a registry between them: truncated, corrupted, forged or interrupted packs never break a build."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from buildkit_tasks.core.world import World
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import reference
from tests.engine import cache_site
from tests.engine.cache_site import CRATES
from tests.engine.machines import Machine
from tests.support import oci_registry, process, second_engine
from tests.support.second_engine import SecondEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow]  # two minutes: `nox -s travel`


def cold_build(machine: Machine, **env: str | None) -> tuple[list[str], str]:
    """Build with empty mounts; return the compiled crates, and the reason if nothing was pulled."""
    built = machine.build(**{"BUILDKIT_TASKS_CACHES_NAMESPACE": f"t{secrets.token_hex(4)}", **env})
    return sorted(built["cargo"]["compiled"]), "; ".join(built["pull"]["why_not"])


@pytest.fixture(scope="module")
def second(base_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondEngine]:
    binary = oci_registry.program()
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    with second_engine.running(base, tmp_path_factory.mktemp("second"), binary) as started:
        yield started


@pytest.fixture(scope="module")
def here(
    base_images: Mapping[str, str], second: SecondEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Create the machine that builds. It pushes its base images, if they were built locally, and its caches."""
    site = cache_site.make_rust(tmp_path_factory.mktemp("machines"), base_images)
    home = tmp_path_factory.mktemp("here")
    # DOCKER_CONFIG isolates both machines from this user's logins
    remote = {
        "BUILDKIT_TASKS_PACKS_REPOSITORY": f"{second.registry}/team/cache",
        "BUILDKIT_TASKS_PACKS_SCOPE": "deps",
        "DOCKER_CONFIG": str(home / "docker"),
    }
    made = Machine(site, home, remote)
    made.document("build", BUILDKIT_TASKS_PACKS_PULL="never")
    if base_images:
        made.document("images.push")
    yield made
    site.remove_images()
    site.clear()


@pytest.fixture(scope="module")
def there(here: Machine, second: SecondEngine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Create the machine that has never built."""
    return Machine(here.site, tmp_path_factory.mktemp("there"), {**here.more, "DOCKER_HOST": second.socket})


def blob(here: Machine, second: SecondEngine) -> Path:
    """Return the largest layer of the newest pack, in the registry's storage."""
    world = World(env={}, cwd=here.home, home=here.home)
    tag = here.document("cache.list")["packs"][0]["tags"][0]
    manifest = Client(world, reference(str(here.more["BUILDKIT_TASKS_PACKS_REPOSITORY"]))).manifest(tag)
    assert manifest is not None
    digest = max(manifest.layers, key=lambda layer: layer.size).digest.removeprefix("sha256:")
    return second.blobs / digest[:2] / digest / "data"


def test_faults_on_the_way_never_break_a_build_and_a_sound_pack_is_taken(
    here: Machine, there: Machine, second: SecondEngine
) -> None:
    """A single test, because each step needs an engine that has not seen the pack: it does not fetch known layers."""
    # base images are pulled from the team's repository automatically, or from their usual source
    cold, said = cold_build(there)
    assert len(cold) == 7
    assert said == "there is no pack for this platform and profile"

    assert here.document("cache.push", "--force")["pack"]["units"] >= 4
    layer = blob(here, second)
    sound = layer.read_bytes()

    layer.write_bytes(sound[: len(sound) // 2])
    compiled, said = cold_build(there)
    assert compiled == cold
    assert said

    layer.write_bytes(sound[:5000] + bytes([sound[5000] ^ 0xFF]) + sound[5001:])
    compiled, said = cold_build(there)
    assert compiled == cold
    assert said

    second.stop_registry()
    compiled, said = cold_build(there, BUILDKIT_TASKS_PACKS_TIMEOUT="20")
    assert compiled == cold
    assert "is unreachable" in said
    done = here.run("cache.push", "--force")
    assert done.code == 40, done.all

    layer.write_bytes(sound)
    second.start_registry()
    compiled, said = cold_build(there)
    assert compiled == sorted(CRATES), said
    done = there.run("verify", "--service", "worker")
    assert done.code == 0, done.all


def test_a_pack_from_a_machine_whose_clock_is_an_hour_ahead(here: Machine, there: Machine) -> None:
    here.site.in_mounts("find /mnt/build -exec touch -h -d '+1 hour' {} +")
    here.document("cache.push", "--force")
    workspace = {"BUILDKIT_TASKS_CACHES_NAMESPACE": f"t{secrets.token_hex(4)}"}
    compiled, _ = cold_build(there, **workspace)
    assert compiled == sorted(CRATES)
    source = here.site.root / "services/worker/src/main.rs"
    before = source.read_text()
    source.write_text(before.replace("worker {}", "edited {}"))
    try:
        built = there.document("build", **workspace)
        assert built["cargo"]["compiled"] == ["worker"]
        assert there.says() == "edited 8! 1.5\n"
    finally:
        source.write_text(before)


@pytest.mark.parametrize("what", ["pull", "push"])
def test_a_registry_killed_in_the_middle(here: Machine, there: Machine, second: SecondEngine, what: str) -> None:
    """The registry is killed during the transfer of a layer."""
    # a pack that neither engine nor registry has seen, and that takes longer to transfer than the kill
    big = "/mnt/build/*/target/release/.fingerprint/itoa-*"
    here.site.in_mounts(f"for unit in {big}; do head -c 200000000 /dev/urandom > $unit/big; done")
    words, after = "/v2/team/cache/blobs/uploads/", 0.0
    if what == "pull":
        here.document("cache.push", "--force")
        # the engine requests the digest (we request tags); the layers follow
        words, after = "/v2/team/cache/manifests/sha256:", 0.2
    machine = there if what == "pull" else here
    killer = threading.Thread(target=second.stop_registry_at, args=(words, after))
    killer.start()
    try:
        if what == "pull":
            compiled, said = cold_build(machine, BUILDKIT_TASKS_PACKS_TIMEOUT="30")
            assert {*compiled} >= {*CRATES}, said
        else:
            done = machine.run("cache.push", "--force")
            assert done.code != 0, done.all
    finally:
        second.stop_registry()
        killer.join()
        second.start_registry()
        here.site.in_mounts(f"rm {big}/big")
    compiled, said = cold_build(there)
    assert compiled == sorted(CRATES), said


#: A service that uses other tools. With OFFLINE, both fail if they have to download anything.
WEB = """\
FROM debian:bookworm-slim
ARG OFFLINE=
RUN --mount=type=cache,id=SCOPE-apt,target=/var/cache/apt,sharing=locked \\
    --mount=type=cache,target=/var/lib/apt,sharing=locked \\
    : SCOPE; rm -f /etc/apt/apt.conf.d/docker-clean; \\
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache; \\
    if [ -z "$OFFLINE" ]; then apt-get update; fi; \\
    apt-get install -y --no-install-recommends ${OFFLINE:+--no-download} nodejs npm
WORKDIR /app
COPY ca.crt package.json package-lock.json ./
ENV NODE_EXTRA_CA_CERTS=/app/ca.crt
RUN useradd --uid 1234 web; mkdir -p /home/web && chown -R web: /home/web /app
USER web
RUN --mount=type=cache,target=/home/web/.npm,uid=1234,gid=1234 npm ci ${OFFLINE:+--offline} --no-audit --fund=false
"""

LOCK = {
    "name": "web",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "requires": True,
    "packages": {
        "": {"name": "web", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}},
        "node_modules/is-number": {
            "version": "7.0.0",
            "resolved": "https://registry.npmjs.org/is-number/-/is-number-7.0.0.tgz",
            "integrity": "sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+"
            "pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==",
        },
    },
}


@pytest.fixture
def web(here: Machine) -> Iterator[None]:
    """Add a service without Rust to the site."""
    root = here.site.root
    folder = root / "web"
    folder.mkdir()
    (folder / "Dockerfile").write_text(WEB.replace("SCOPE", f"{here.site.scope}-web"))
    (folder / "package.json").write_text(json.dumps(LOCK["packages"][""]))  # type: ignore[index]
    (folder / "package-lock.json").write_text(json.dumps(LOCK))
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    (folder / "ca.crt").write_bytes(bundle.read_bytes() if bundle.is_file() else b"")
    compose = root / "compose.yaml"
    before = compose.read_text()
    model = json.loads(before)
    args = {"OFFLINE": "${OFFLINE:-}"}
    model["services"]["web"] = {"build": {"context": "web", "args": args}, "image": f"{here.site.scope}/web:dev"}
    compose.write_text(json.dumps(model))
    yield
    compose.write_text(before)
    shutil.rmtree(folder)
    process.run(["docker", "image", "rm", f"{here.site.scope}/web:dev"], root)


@pytest.mark.usefixtures("web")
def test_the_mounts_of_npm_and_apt_travel_and_nothing_is_downloaded_there(here: Machine, there: Machine) -> None:
    mounts = ("--mount", "apt", "--mount", "npm")
    here.document("build", "--service", "web")
    pushed = here.document("cache.push", *mounts)["mounts"]
    assert [(one["kind"], one["pushed"]) for one in pushed] == [("apt", True), ("apt", True), ("npm", True)]
    assert pushed[2]["key_files"] == ["package-lock.json"]
    assert len({one["digest"] for one in pushed}) == 3
    again = here.document("cache.push", "--mount", "npm")["mounts"]
    assert again[0]["bytes_sent"] == 0  # the same files produce the same bytes
    assert len([one for one in here.document("cache.list")["packs"] if one["scope"] == "mount"]) == 3

    assert there.run("build", "--service", "web", OFFLINE="1").code != 0
    pulled = there.document("cache.pull", *mounts, "--replace")["mounts"]  # the failed build has written a log
    assert all(one["unpacked"] for one in pulled), pulled
    assert pulled[2]["why"] == "the same key files and steps"
    done = there.run("build", "--service", "web", OFFLINE="1")
    assert done.code == 0, done.all
    kept = there.document("cache.pull", "--mount", "npm")["mounts"]
    assert not kept[0]["unpacked"]

    # and automatically, before a first build
    workspace = {
        "BUILDKIT_TASKS_CACHES_NAMESPACE": f"t{secrets.token_hex(4)}",
        "BUILDKIT_TASKS_PACKS_MOUNTS": "npm apt",
    }
    done = there.run("build", "--no-cache", **workspace)
    assert done.code == 0, done.all
    assert done.err.count(": unpacked ") == 3

    assert there.refused("cache.pull", "--mount", "nothing") == "cache-missing"
    assert there.refused("cache.push", "--mount", "npm", "--key-file", "../x") == "bad-argument"
