"""Packs through a real registry: a machine that has never built only compiles the workspace's own crates."""

from __future__ import annotations

import io
import json
import secrets
import shutil
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.core.world import World
from buildkit_tasks.packs import pack as pack_model
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import reference
from tests.engine import cache_site
from tests.engine.cache_site import CRATES, Site
from tests.engine.machines import Machine
from tests.support import oci_registry, process
from tests.support.oci_registry import Registry

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def registry_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oci_registry.program()


@pytest.fixture(scope="module")
def registry(registry_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with oci_registry.running(registry_program, tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Site]:
    made = cache_site.make_rust(tmp_path_factory.mktemp("travel"), base_images)
    yield made
    made.remove_images()
    made.clear()


@pytest.fixture
def machine(site: Site, registry: Registry, tmp_path: Path) -> Machine:
    """Create a machine that has never built."""
    return fresh(site, registry, tmp_path)


def fresh(site: Site, registry: Registry, folder: Path) -> Machine:
    namespace = f"t{secrets.token_hex(4)}"
    home = folder / namespace
    home.mkdir()
    more = {
        "BUILDKIT_TASKS_CACHES_NAMESPACE": namespace,
        "BUILDKIT_TASKS_PACKS_REPOSITORY": f"{registry.host}/team/cache",
        "BUILDKIT_TASKS_PACKS_PULL": "never",
        "BUILDKIT_TASKS_PACKS_SCOPE": "deps",
        "DOCKER_CONFIG": str(registry.config),
    }
    return Machine(site, home, more)


@pytest.fixture(scope="module")
def first(site: Site, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Create the machine that builds and pushes."""
    made = fresh(site, registry, tmp_path_factory.mktemp("first"))
    assert made.compiles() != []
    pushed = made.document("cache.push", "--force")["pack"]
    assert pushed["pushed"]
    assert pushed["units"] >= 4
    assert kinds(pushed) == {"registry", "deps"}
    return made


def kinds(pushed: Mapping[str, Any]) -> set[str]:
    """Return the kinds of a pack's parts."""
    return {name.partition(".")[0].partition("-")[0] for name in pushed["parts"]}


def test_a_machine_that_never_built_compiles_the_workspaces_own_crates_only(first: Machine, machine: Machine) -> None:
    pulled = machine.document("cache.pull")["pull"]
    assert pulled["unpacked"]
    assert pulled["why"].startswith("the same lock file")
    assert machine.compiles() == sorted(CRATES)
    done = machine.run("verify", "--service", "worker")
    assert done.code == 0, done.all


def test_a_push_before_the_first_build_says_what_to_do(machine: Machine) -> None:
    done = machine.run("cache.push", "--force")
    assert done.code == 59, done.all
    assert "error[pack-empty]: Nothing to pack." in done.err
    assert "RUN" not in done.err.split("error[pack-empty]")[1]
    assert "hint: run `invoke build`, then `invoke cache.push`" in done.err


def test_a_push_of_what_is_there_sends_nothing(first: Machine) -> None:
    again = first.document("cache.push", "--force")["pack"]
    assert again["bytes_sent"] == 0
    assert again["bytes_stored"] > 100_000


def test_a_pull_into_filled_mounts_changes_nothing_unless_asked(first: Machine, machine: Machine) -> None:
    assert "itoa" in machine.compiles()
    done = machine.run("cache.pull")
    assert done.code == 0, done.all
    assert "the mounts are already filled (use --replace" in done.err
    assert not machine.document("cache.pull")["pull"]["unpacked"]
    assert machine.document("build", "--no-cache")["cargo"]["compiled"] == []
    assert machine.document("cache.pull", "--replace")["pull"]["unpacked"]
    assert sorted(machine.document("build", "--no-cache")["cargo"]["compiled"]) == sorted(CRATES)


def test_a_build_with_empty_mounts_pulls_by_itself_and_a_warm_one_asks_nobody(
    first: Machine, machine: Machine, registry: Registry
) -> None:
    on = {"BUILDKIT_TASKS_PACKS_PULL": "when-empty"}
    assert machine.compiles(**on) == sorted(CRATES)
    # a registry that would block: a warm machine does not notice
    gone = {**on, "BUILDKIT_TASKS_PACKS_REPOSITORY": f"{registry.host}/team/cache"}
    done = machine.run("build", **gone)
    assert "pull" not in done.err


def test_another_lock_file_takes_the_newest_of_the_toolchain(
    first: Machine, registry: Registry, tmp_path: Path, base_images: Mapping[str, str]
) -> None:
    copy = shutil.copytree(first.site.root, tmp_path / first.site.scope)
    manifest = copy / "services/common/Cargo.toml"
    manifest.write_text(manifest.read_text().replace('itoa = "=1.0.10"', 'itoa = "=1.0.11"'))
    cache_site.cargo(copy / "services", base_images, "update", "--workspace")
    other = fresh(replace(first.site, root=copy), registry, tmp_path)
    pulled = other.document("cache.pull")["pull"]
    assert "newest pack for this toolchain" in pulled["why"]
    assert other.compiles() == sorted([*CRATES, "itoa"])
    # now there are two packs; the newest for the toolchain is this one, and the exact one does not change
    assert other.document("cache.push", "--force")["pack"]["pushed"]
    packs = first.document("cache.list")["packs"]
    assert [pack["scope"] for pack in packs] == ["deps", "deps"]
    assert packs[0]["lock"] != packs[1]["lock"]
    assert first.document("cache.expire", "--keep", "1", "--older", "1d", "--yes")["expired"] == []
    gone = first.document("cache.expire", "--keep", "1", "--older", "0d", "--yes")["expired"]
    assert [pack["digest"] for pack in gone] == [packs[1]["digest"]]
    assert first.document("cache.list")["packs"] == packs[:1]
    assert first.document("cache.push", "--force")["pack"]["pushed"]


def test_a_pack_of_another_toolchain_is_not_taken_and_what_differs_is_told(
    first: Machine, machine: Machine, tmp_path: Path
) -> None:
    copy = shutil.copytree(first.site.root, tmp_path / first.site.scope)
    dockerfile = copy / "docker/Dockerfile"
    text = dockerfile.read_text().replace(
        "ENV CARGO_HOME", "RUN echo '#define ODD 1' > /usr/include/odd.h\nENV CARGO_HOME", 1
    )
    dockerfile.write_text(text)
    other = replace(machine, site=replace(first.site, root=copy))
    done = other.run("cache.pull")
    assert done.code != 0
    assert "built with a different toolchain image" in done.err
    assert "files in /usr differ" in done.err


def test_secrets_that_lie_in_the_mounts_do_not_travel(
    first: Machine, registry: Registry, base_images: Mapping[str, str]
) -> None:
    secret = f"very-secret-{secrets.token_hex(8)}"
    plant = (
        f"printf %s {secret} > /mnt/registry/credentials.toml; printf %s {secret} > /mnt/git/.netrc; "
        f"for d in /mnt/build/1-*/target; do printf %s {secret} > $d/release/token; printf %s {secret} > $d/.env; done"
    )
    first.site.in_mounts(plant, str(first.more["BUILDKIT_TASKS_CACHES_NAMESPACE"]))
    first.document("cache.push", "--force")
    # "libitoa" proves that this search finds what is in a pack
    assert words_in(registry, base_images, first.site.root, secret, "libitoa") == ["libitoa"]


def words_in(registry: Registry, bases: Mapping[str, str], cwd: Path, *words: str) -> list[str]:
    """Return which of the words any pack in the registry contains: blobs are tars of compressed parts."""
    patterns = " ".join(f"-e {word}" for word in words)
    look = (
        "for blob in $(find /registry -name data); do tar -xOf $blob > /tmp/part 2>/dev/null || continue; "
        f"{{ zstd -dc /tmp/part || gzip -dc /tmp/part; }} 2>/dev/null | grep -a -o {patterns}; "
        "done | sort -u"
    )
    image = bases.get("rust:1-bookworm", "rust:1-bookworm")
    argv = ["docker", "run", "--rm", "-v", f"{registry.data}:/registry:ro", image, "sh", "-c", look]
    return process.ok(argv, cwd).out.split()


#: Files of a careless repository, with their text around the secret.
SECRETS = {
    ".env": "PASSWORD={}",
    ".git/config": "[http]\n\textraheader = AUTHORIZATION: basic {}",
    "services/api/.env.local": "PASSWORD={}",
    "services/api/deploy.key": "{}",
    "services/worker/.npmrc": "//r.example/:_authToken={}",
    "services/worker/.aws/config": "aws_secret_access_key = {}",
    "services/common/notes.txt": "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----",
}


@pytest.mark.parametrize("copied", [False, True])
def test_secrets_of_a_repository_without_dockerignore_do_not_travel_with_its_sources(
    first: Machine, registry: Registry, base_images: Mapping[str, str], tmp_path: Path, copied: bool
) -> None:
    """`copied`: a build script has copied one of the files to its output directory."""
    secret = f"very-secret-{secrets.token_hex(8)}"
    copy = shutil.copytree(first.site.root, tmp_path / first.site.scope)
    (copy / ".dockerignore").unlink()
    for path, text in SECRETS.items():
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(text.format(secret))
    if copied:
        line = 'std::fs::copy("../../.env", std::env::var("OUT_DIR").unwrap() + "/.env").ok();'
        script = copy / "services/common/build.rs"
        script.write_text(script.read_text().replace("fn main() {", f"fn main() {{ {line}"))
    other = fresh(replace(first.site, root=copy), registry, tmp_path)
    everything = {"BUILDKIT_TASKS_PACKS_SCOPE": "all"}
    other.compiles()
    done = other.run("cache.push", "--force", **everything)
    assert done.code == 0, done.all
    assert f"({len(SECRETS)} in all)" in done.err
    present = ["fingerprint/worker", "state/tree"]
    # the record of the sources does not mention them either
    assert words_in(registry, base_images, copy, secret, "deploy.key", *present) == present
    # a clone has none of the files, and nothing is recompiled because of that
    for path in SECRETS:
        (copy / path).unlink()
    for directory in (".git", "services/worker/.aws"):
        (copy / directory).rmdir()
    clone = fresh(replace(first.site, root=copy), registry, tmp_path)
    assert clone.document("cache.pull", **everything)["pull"]["unpacked"]
    assert clone.compiles() == (sorted(CRATES) if copied else [])


def test_a_forged_pack_is_refused_and_a_build_goes_on_without(
    first: Machine, machine: Machine, registry: Registry, tmp_path: Path
) -> None:
    """Anyone who can push can push anything: the right tag, the right label, and a tar that escapes its directory."""
    first.document("cache.push", "--force")
    exact = str(first.document("cache.list")["packs"][0]["tags"][-1])
    name = f"{registry.host}/team/cache:{exact}"
    client = Client(World(env={}, cwd=tmp_path, home=tmp_path), reference(f"{registry.host}/team/cache"))
    sound = client.manifest(exact)
    assert sound is not None
    # identical to our own in everything that is checked before it is fetched
    label = json.dumps({**json.loads(client.labels(sound)[pack_model.LABEL]), "parts": {"deps-1.tar.gz": 9}})
    with tarfile.open(tmp_path / "deps-1.tar.gz", "w:gz") as tar:
        item = tarfile.TarInfo("../../../../usr/local/cargo/registry/evil")
        tar.addfile(item, io.BytesIO())
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY deps-1.tar.gz /\n")
    output = f"type=image,name={name},push=true,oci-mediatypes=true,compression=uncompressed,force-compression=true"
    argv = ["docker", "buildx", "build", "-q", "--provenance=false", "--output", output]
    process.ok([*argv, "--label", f"{pack_model.LABEL}={label}", str(tmp_path)], tmp_path, first.env)
    process.run(["docker", "image", "rm", name], tmp_path)
    try:
        assert machine.refused("cache.pull") == "pack-refused"
        built = machine.build(BUILDKIT_TASKS_PACKS_PULL="when-empty")
        assert "itoa" in built["cargo"]["compiled"]
        assert "contains unexpected files" in "; ".join(built["pull"]["why_not"])
        assert "evil" not in first.site.in_mounts("true", str(machine.more["BUILDKIT_TASKS_CACHES_NAMESPACE"]))
    finally:
        first.document("cache.push", "--force")


@pytest.mark.parametrize("kind", ["tls", "password"])
def test_registries_with_tls_and_with_passwords(
    site: Site, registry_program: Path, tmp_path: Path, first: Machine, kind: str
) -> None:
    with oci_registry.running(
        registry_program, tmp_path / "r", tls=kind == "tls", password=kind == "password"
    ) as other:
        more = {"BUILDKIT_TASKS_PACKS_REPOSITORY": f"{other.host}/team/cache", "DOCKER_CONFIG": str(other.config)}
        if kind == "tls":
            more["BUILDKIT_TASKS_BUILD_CA_BUNDLE"] = str(tmp_path / "r/ca.pem")
        sender = replace(first, more={**first.more, **more})
        assert sender.document("cache.push", "--force")["pack"]["bytes_sent"] > 100_000
        reader = fresh(site, other, tmp_path)
        reader = replace(reader, more={**reader.more, **more})
        assert reader.document("cache.pull")["pull"]["unpacked"]
        if kind == "password":
            empty = tmp_path / "nobody"
            empty.mkdir()
            nobody = {"DOCKER_CONFIG": str(empty)}
            assert reader.refused("cache.pull", "--replace", **nobody) == "registry-denied"
            # a build continues without it: everything is compiled, and it prints why
            stranger = fresh(site, other, tmp_path)
            built = stranger.build(**{**more, **nobody, "BUILDKIT_TASKS_PACKS_PULL": "when-empty"})
            assert "itoa" in built["cargo"]["compiled"]
            assert "denied access" in "; ".join(built["pull"]["why_not"])


def test_two_pulls_at_once_leave_one_whole_cache(first: Machine, machine: Machine) -> None:
    done: list[process.Done] = []
    threads = [threading.Thread(target=lambda: done.append(machine.run("cache.pull"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(d.code == 0 for d in done), [d.all for d in done]
    assert machine.compiles() == sorted(CRATES)


def test_a_pack_of_all_leaves_only_what_was_edited_to_compile(first: Machine, machine: Machine) -> None:
    everything = {"BUILDKIT_TASKS_PACKS_SCOPE": "all"}
    pushed = first.document("cache.push", "--force", **everything)["pack"]
    assert kinds(pushed) == {"registry", "deps", "rest"}
    assert machine.document("cache.pull", **everything)["pull"]["unpacked"]
    assert machine.compiles() == []
    source = first.site.root / "services/worker/src/main.rs"
    text = source.read_text()
    source.write_text(text.replace("worker {}", f"edited {secrets.token_hex(4)} {{}}"))
    try:
        assert machine.document("build", "--no-cache")["cargo"]["compiled"] == ["worker"]
        assert machine.says().startswith("edited ")
    finally:
        source.write_text(text)
