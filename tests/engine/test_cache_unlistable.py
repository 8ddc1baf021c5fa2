"""A single path that is too long prevents the engine from listing any cache; clearing the mount fixes this.

Runs on a second engine, because other tests could not use the shared one in the meantime.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.engine import cache_site
from tests.engine.cache_site import Site
from tests.engine.machines import Machine
from tests.support import oci_registry, process, second_engine
from tests.support.second_engine import SecondEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow]  # `nox -s travel`

BASE = "debian:bookworm-slim"

#: 30 nested directories with 200 characters each; `cd -P` one name at a time, because the whole path is too long.
TOO_LONG = "name=$(printf 'd%.0s' $(seq 200)); for n in $(seq 30); do mkdir $name && cd -P $name || exit 1; done"


@pytest.fixture(scope="module")
def second(base_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondEngine]:
    binary = oci_registry.program()
    place = tmp_path_factory.mktemp("second")
    base = base_images.get(BASE, BASE)
    with second_engine.running(base, place, binary) as started:
        process.ok(["docker", "save", "-o", str(place / "base.tar"), base], place)
        process.ok(["docker", "load", "-i", str(place / "base.tar")], place, {"DOCKER_HOST": started.socket})
        yield started


def site_on(second: SecondEngine, folder: Path, bases: Mapping[str, str]) -> tuple[Site, Machine]:
    """Create a project with three filled mounts on the second engine."""
    site = cache_site.make(folder, bases)
    machine = Machine(site, folder, {"DOCKER_HOST": second.socket})
    step(machine, "for m in registry git build; do echo x > $m-x; cp $m-x $m/; done")
    return site, machine


def step(machine: Machine, script: str) -> None:
    """Run a script in /mnt, which contains the three mounts."""
    argv = machine.site.step_argv(f"cd /mnt; ({script}); find /mnt -name d* -prune", machine.home / "out")
    process.ok(argv, machine.site.root, machine.env)


def du(machine: Machine) -> process.Done:
    return process.run(["docker", "buildx", "du"], machine.site.root, machine.env)


@pytest.fixture
def broken(second: SecondEngine, tmp_path: Path, base_images: Mapping[str, str]) -> Machine:
    """Return a machine whose engine cannot list its caches, because of this project's target mount."""
    _, machine = site_on(second, tmp_path, base_images)
    site = machine.site
    # the step of the site prints digests, which would need the path
    text = (site.root / "docker/Dockerfile").read_text()
    (site.root / "docker/Dockerfile").write_text(text.replace("find . -type f", "find registry git -type f"))
    step(machine, f"cd build && {TOO_LONG}")
    assert "file name too long" in du(machine).err
    return machine


def test_clearing_empties_the_mount_that_cannot_be_listed_and_goes_on(broken: Machine) -> None:
    assert broken.refused("cache") == "cache-unlistable"
    assert broken.refused("cache.clear", "--dry-run") == "cache-unlistable"
    done = broken.run("cache.clear", "--yes")
    assert done.code == 0, done.all
    assert f"emptied {broken.site.scope}-target-" in done.err
    assert du(broken).code == 0
    assert [m for m in broken.document("cache")["mounts"] if m["project"] == broken.site.scope] == []


@pytest.mark.parametrize("words", [("cache.trim",), ("prune", "--older", "1d")])
def test_trim_and_prune_empty_it_too_and_leave_the_other_mounts(broken: Machine, words: tuple[str, ...]) -> None:
    done = broken.run(*words, "--yes")
    assert done.code == 0, done.all
    assert f"emptied {broken.site.scope}-target-" in done.err
    mine = {m["kind"]: m for m in broken.document("cache")["mounts"] if m["project"] == broken.site.scope}
    assert {"cargo-registry", "cargo-git", "target"} <= {*mine}
    broken.run("cache.clear", "--yes")


def test_another_projects_mount_is_named_by_its_project_or_goes_with_everything(
    broken: Machine, second: SecondEngine, tmp_path: Path, base_images: Mapping[str, str]
) -> None:
    (tmp_path / "other").mkdir()
    _, other = site_on(second, tmp_path / "other", base_images)
    assert other.refused("cache.clear", "--yes") == "cache-unlistable"
    assert du(other).code != 0
    done = other.run("cache.clear", "--project", broken.site.scope, "--yes")
    assert done.code == 0, done.all
    assert du(other).code == 0
    step(broken, f"cd build && {TOO_LONG}")
    assert du(other).code != 0
    done = other.run("cache.clear", "--everything", "--confirm", "everything", "--json")
    assert done.code == 0, done.all
    assert json.loads(done.out)["freed"] is None
    assert du(other).code == 0
