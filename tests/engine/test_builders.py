"""`invoke builder` on real BuildKit daemons: a farm of two nodes with mutual TLS, and a builder next to the engine."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine import cache_site
from tests.engine.machines import Machine
from tests.support import buildkit_nodes, oci_registry, process
from tests.support.buildkit_nodes import Certificate, Node
from tests.support.oci_registry import Registry

pytestmark = [pytest.mark.engine, pytest.mark.slow]  # `nox -s builders`

SLOW = (
    'fn main() { autocfg::rerun_path("build.rs"); std::thread::sleep(std::time::Duration::from_secs(20)); '
    'println!("cargo:rustc-env=MADE=!"); }\n'
)


@dataclass(frozen=True)
class Farm:
    """Two nodes with certificates from `invoke builder.certificates`, and the machine that uses them."""

    machine: Machine
    nodes: tuple[Node, Node]
    tls: Path

    def add(
        self, name: str, node: Node, *more: str, tls: Path | None = None, env: Mapping[str, str] | None = None
    ) -> process.Done:
        """Add a node with `builder.create`."""
        words = ("--endpoint", node.address, "--certificates", str(tls or self.tls / "client"))
        return self.machine.run("builder.create", name, *words, *more, **(env or {}))

    def builder(self) -> str:
        """Create a builder with both nodes, one per platform."""
        name = f"farm{secrets.token_hex(3)}"
        for number, platform in enumerate(("amd64", "arm64")):
            more = ["--append"] if number else []
            done = self.add(name, self.nodes[number], "--platform", platform, *more)
            assert done.code == 0, done.all
        return name

    def mounts(self, name: str) -> list[set[str]]:
        """Return the project's target mounts on each node."""
        nodes = self.machine.document("cache", "--builder", name)["nodes"]
        scope = self.machine.site.scope
        return [{m["platform"] for m in n["mounts"] if m["project"] == scope and m["kind"] == "target"} for n in nodes]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Machine]:
    site = cache_site.make_rust(tmp_path_factory.mktemp("builders"), base_images)
    home = tmp_path_factory.mktemp("home")
    more = {"BUILDX_CONFIG": str(home / "buildx"), "BUILDX_BUILDER": None, "DOCKER_CONFIG": str(home / "docker")}
    yield Machine(site, home, more)
    site.remove_images()
    site.clear()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    program = oci_registry.program()
    with oci_registry.running(program, tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def farm(machine: Machine, buildkit_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    tls = tmp_path_factory.mktemp("tls")
    place = tmp_path_factory.mktemp("nodes")
    machine.document("builder.certificates", "--host", "127.0.0.1", "--out", str(tls))
    own = tls / "127.0.0.1"
    server = Certificate(own / "ca.pem", own / "cert.pem", own / "key.pem")
    with (
        buildkit_nodes.running(buildkit_image, place / "one", server) as one,
        buildkit_nodes.running(buildkit_image, place / "two", server) as two,
    ):
        yield Farm(machine, (one, two), tls)


@contextmanager
def edited(machine: Machine, path: str, old: str, new: str) -> Iterator[None]:
    """Change the text of a file temporarily."""
    file = machine.site.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    try:
        yield
    finally:
        file.write_text(text)


def test_each_platform_is_built_by_its_node_and_joined(farm: Farm, registry: Registry, tmp_path: Path) -> None:
    machine, name = farm.machine, farm.builder()
    words = ("build", "--builder", name, "--platform", "amd64,arm64", "--push", f"{registry.host}/team")
    built = machine.document(*words)
    assert {"common", "api", "worker"} <= {*built["cargo"]["compiled"]}
    assert farm.mounts(name) == [{"linux/amd64"}, {"linux/arm64"}]
    raw = process.ok(
        ["docker", "buildx", "imagetools", "inspect", "--raw", f"{registry.host}/team/worker:dev"], tmp_path
    )
    listed = [m["platform"] for m in json.loads(raw.out)["manifests"]]
    assert [f"{p['os']}/{p['architecture']}" for p in listed] == ["linux/amd64", "linux/arm64"]
    builder = machine.document("builder.inspect", name)["builder"]
    assert [len(node["mounts"]) for node in builder["nodes"]] == [3, 3]
    assert [b["name"] for b in machine.document("builder")["builders"]].count(name) == 1


def test_an_edit_compiles_one_crate_on_a_node_and_the_image_comes_home(farm: Farm) -> None:
    """Outside the engine, BuildKit adds a trace variable to each step's environment: it must not mark anything."""
    machine, name = farm.machine, farm.builder()
    machine.document("build", "--builder", name)
    assert machine.says() == "worker 8! 1.5\n"
    with edited(machine, "services/worker/src/main.rs", "worker {}", "edited {}"):
        built = machine.document("build", "--builder", name)
        assert built["cargo"]["compiled"] == ["worker"]
        assert machine.says() == "edited 8! 1.5\n"
        assert machine.run("verify", "--service", "worker").code == 0


def test_base_images_go_through_a_registry_where_one_is_named(farm: Farm, registry: Registry) -> None:
    machine, name = farm.machine, farm.builder()
    place = f"{registry.host}/team/nodes"
    built = machine.document("build", "--builder", name, "--no-cache", BUILDKIT_TASKS_BUILDERS_REPOSITORY=place)
    assert len(built["targets"]) == 2
    if machine.site.bases:
        tags = process.ok(
            ["ls", str(registry.data / "docker/registry/v2/repositories/team/nodes/_manifests/tags")], registry.data
        )
        assert {tag.rsplit("-", 1)[0] for tag in tags.out.split()} == {
            "node-rust_1_bookworm",
            "node-debian_bookworm_slim",
        }


def test_a_node_that_joins_starts_warm(farm: Farm, registry: Registry) -> None:
    machine = farm.machine
    remote = {
        "BUILDKIT_TASKS_PACKS_REPOSITORY": f"{registry.host}/team/cache",
        "BUILDKIT_TASKS_PACKS_PULL": "never",
        "BUILDKIT_TASKS_BUILD_INCREMENTAL": "off",
    }
    name = f"farm{secrets.token_hex(3)}"
    assert farm.add(name, farm.nodes[0]).code == 0
    # --no-cache: a pack contains what is in the mount, so the build must not use layers
    machine.document("build", "--builder", name, "--no-cache", **remote)
    machine.document("cache.push", "--builder", name, "--force", **remote)
    fresh = {**remote, "BUILDKIT_TASKS_CACHES_NAMESPACE": f"t{secrets.token_hex(4)}"}
    done = farm.add(name, farm.nodes[1], "--append", env=fresh)
    assert done.code == 0, done.all
    assert "  warmed: " in done.err
    single = f"{name}.{name}1"
    built = machine.document("build", "--builder", single, "--no-cache", **fresh)
    assert built["cargo"]["compiled"] == []


def test_a_node_killed_in_the_middle_of_a_build(farm: Farm) -> None:
    machine, name = farm.machine, farm.builder()
    one, _ = farm.nodes
    machine.document("build", "--builder", name)
    with edited(
        machine, "services/common/build.rs", machine.site.root.joinpath("services/common/build.rs").read_text(), SLOW
    ):
        words: list[str | Path] = [process.BIN / "invoke", "build", "--builder", name, "--progress", "verbose"]
        building = process.start(words, machine.site.root, machine.env)
        assert building.stderr is not None
        said = []
        for line in building.stderr:
            said.append(line)
            if "Compiling common" in line:
                break
        one.kill()
        try:
            out, rest = building.communicate(timeout=300)
        finally:
            one.start()
        shown = "".join(said) + rest
        assert building.returncode == 0, shown + out
        assert f"builder {name}: {name}0 ({one.address}) is down; building on the node {name}1" in shown
        assert machine.says() == "worker 8! 1.5\n"


def test_a_client_of_another_authority_is_refused_and_leaves_nothing(farm: Farm, tmp_path: Path) -> None:
    machine = farm.machine
    machine.document("builder.certificates", "--host", "127.0.0.1", "--out", str(tmp_path / "other"))
    name = f"farm{secrets.token_hex(3)}"
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    # the client trusts the node, but the node does not trust the client
    (stranger / "ca.pem").write_bytes((farm.tls / "client/ca.pem").read_bytes())
    for file in ("cert.pem", "key.pem"):
        (stranger / file).write_bytes((tmp_path / "other/client" / file).read_bytes())
    # the message of buildx, or of our own handshake if buildx missed the reason
    for tls, words in (
        (stranger, "certificate required|tls: unknown ca"),
        (tmp_path / "other/client", "unknown authority"),
    ):
        done = farm.add(name, farm.nodes[0], tls=tls)
        assert done.code == 50, done.all
        assert "error[builder-refused]" in done.err
        assert re.search(words, done.err), done.err
    assert name not in process.ok(["docker", "buildx", "ls"], tmp_path, machine.env).out


def test_a_builder_beside_the_engine(machine: Machine, buildkit_image: str, tmp_path: Path) -> None:
    name = f"bt{secrets.token_hex(3)}"
    done = machine.run("builder.create", name)
    try:
        assert done.code == 0, done.all
        machine.document("build", BUILDKIT_TASKS_BUILDERS_NAME=name)
        assert machine.says() == "worker 8! 1.5\n"
        mounts = machine.document("cache", BUILDKIT_TASKS_BUILDERS_NAME=name)["mounts"]
        assert {m["kind"] for m in mounts if m["project"] == machine.site.scope} == {
            "target",
            "cargo-registry",
            "cargo-git",
        }
        assert machine.refused("builder.create", name) == "bad-argument"
        assert machine.run("builder.remove", name).code == 18, "it asks before it deletes caches"
    finally:
        done = machine.run("builder.remove", name, "--yes")
    assert done.code == 0, done.all
    for kind in (["ps", "--all"], ["volume", "ls"]):
        left = process.ok(["docker", *kind, "--quiet", "--filter", f"name=buildx_buildkit_{name}"], tmp_path)
        assert left.out == ""
