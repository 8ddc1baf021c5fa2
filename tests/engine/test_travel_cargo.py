"""Shared volumes of cargo tasks: a new machine's first test run compiles only the workspace's own crates."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.engine import cache_site
from tests.engine.cache_site import CRATES, Site
from tests.engine.machines import Machine
from tests.support import oci_registry, process
from tests.support.oci_registry import Registry

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    binary = oci_registry.program()
    with oci_registry.running(binary, tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Site]:
    made = cache_site.make_rust(tmp_path_factory.mktemp("travel"), base_images)
    yield made
    made.invoke("cargo.clean", "--all")
    listed = ["docker", "image", "ls", "--quiet", "--filter", f"reference=localhost/buildkit-tasks-cargo/{made.scope}"]
    for image in process.run(listed, made.root).out.split():
        process.run(["docker", "image", "rm", image], made.root)


@pytest.fixture
def machine(site: Site, registry: Registry, tmp_path: Path) -> Machine:
    """Create a machine with empty volumes; it uses this engine's images."""
    site.invoke("cargo.clean", "--all")
    repository = f"{registry.host}/team/{secrets.token_hex(4)}"
    return Machine(site, tmp_path, {"BUILDKIT_TASKS_PACKS_REPOSITORY": repository, "CARGO_TERM_COLOR": "never"})


def compiled(said: str) -> set[str]:
    """Return the crates that cargo compiles or checks."""
    return set(re.findall(r"^ *(?:Compiling|Checking) (\S+) v", said, re.MULTILINE))


def test_the_first_test_run_of_a_machine_compiles_only_the_workspace(machine: Machine) -> None:
    everything = compiled(machine.ok("cache.warm", "--cargo").err)
    assert everything > set(CRATES)
    pushed = machine.document("cache.push", "--cargo", "--force")["pack"]
    assert pushed["pushed"]
    assert pushed["tag"].startswith("cargo-")
    assert machine.document("cache.push", "--cargo")["pack"] == {"pushed": False, "tag": pushed["tag"]}
    assert [one["scope"] for one in machine.document("cache.list")["packs"]] == ["cargo"]

    machine.site.invoke("cargo.clean", "--all")
    assert "nothing to do" in machine.ok("cache.warm", "--cargo").err
    done = machine.ok("cargo.test")
    assert "pulled the shared cache" in done.err
    assert compiled(done.err) == set(CRATES)
    assert compiled(machine.ok("cargo.check").err) == set(CRATES)
    # pulled objects are still never stale
    source = machine.site.root / "services/common/src/lib.rs"
    before = source.read_text()
    source.write_text(before + "#[test] fn fails() { panic!() }\n")
    try:
        assert machine.run("cargo.test").code == 101
    finally:
        source.write_text(before)

    machine.site.invoke("cargo.clean", "--all")
    done = machine.ok("cargo.check", BUILDKIT_TASKS_PACKS_LIMIT="1000")
    assert "nothing pulled: " in done.err
    assert compiled(done.err) > set(CRATES)

    # filled volumes are not replaced unless requested
    assert not machine.document("cache.pull", "--cargo")["pull"]["unpacked"]
    assert machine.document("cache.pull", "--cargo", "--replace")["pull"]["unpacked"]
    assert compiled(machine.ok("cargo.test").err) == set(CRATES)


def test_nothing_to_push(machine: Machine) -> None:
    assert machine.refused("cache.push", "--cargo") == "pack-empty"
    assert machine.refused("cache.pull", "--cargo") == "pack-missing"
