"""Images for another platform on a real engine: cross-compiled, inspected, started under QEMU."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.engine import cache_site
from tests.engine.machines import Machine
from tests.support import oci_registry, process

pytestmark = pytest.mark.engine

#: The first byte of the digest of common::number(8).
SAYS = f"worker {hashlib.sha256(b'8!').hexdigest()[:2]} zlib 1.\n"

BOTH = ("linux/amd64", "linux/arm64")

#: C and assembly for the target (ring), and a C library compiled from source (zlib).
MANIFEST = (
    '[dependencies]\ncommon = { path = "../common" }\nring = "0.17"\n'
    'libz-sys = { version = "1", default-features = false, features = ["libc", "static"] }\n'
)
SOURCE = """\
fn main() {
    let digest = ring::digest::digest(&ring::digest::SHA256, common::number(8).as_bytes());
    let zlib = unsafe { std::ffi::CStr::from_ptr(libz_sys::zlibVersion()) };
    println!("worker {:02x} zlib {}", digest.as_ref()[0], &zlib.to_str().unwrap()[..2]);
}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Machine]:
    """Create a workspace with a worker that needs a C compiler for its platform."""
    site = cache_site.make_rust(tmp_path_factory.mktemp("platforms"), base_images)
    (site.root / "services/worker/Cargo.toml").write_text(
        f'[package]\nname = "worker"\nversion = "0.1.0"\nedition = "2021"\n{MANIFEST}'
    )
    (site.root / "services/worker/src/main.rs").write_text(SOURCE)
    cache_site.cargo(site.root / "services", base_images, "generate-lockfile")
    yield Machine(site, tmp_path_factory.mktemp("home"), {})
    site.remove_images()
    site.clear()


def run_arm(machine: Machine) -> str:
    """Return what the worker for arm64 prints, under the emulator that `images.check` uses."""
    found = process.run(["sh", "-c", "command -v qemu-aarch64-static"], machine.home).out.strip()
    emulator = found or str(machine.home / "state/buildkit-tasks/qemu/qemu-aarch64-static")
    mount = ["--mount", f"type=bind,source={emulator},target=/emulator,readonly", "--entrypoint", "/emulator"]
    argv = ["docker", "run", "--rm", "--platform", "linux/arm64", *mount, f"{machine.site.scope}/worker:dev"]
    return process.ok([*argv, "/usr/local/bin/service"], machine.home).out


def test_one_image_for_both_platforms_with_c_in_it(machine: Machine) -> None:
    built = machine.document("build", "--platform", "amd64,arm64")
    assert {"ring", "libz-sys", "worker"} <= {*built["cargo"]["compiled"]}
    rows = machine.document("images.check", "--platform", "amd64,arm64")["images"]
    assert sorted((r["service"], r["platform"]) for r in rows) == [(s, p) for s in ("api", "worker") for p in BOTH]
    assert all(row["started"] for row in rows)
    assert machine.says() == run_arm(machine) == SAYS


def test_an_edit_compiles_one_crate_for_each_platform(machine: Machine) -> None:
    source = machine.site.root / "services/worker/src/main.rs"
    source.write_text(SOURCE.replace("worker {", f"edited {secrets.token_hex(4)} {{"))
    try:
        built = machine.document("build", "--platform", "arm64")
        assert built["cargo"]["compiled"] == ["worker"]
        assert run_arm(machine).startswith("edited ")
    finally:
        source.write_text(SOURCE)


def test_a_program_of_the_wrong_processor_is_found(machine: Machine) -> None:
    dockerfile = machine.site.root / "docker/Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace("USER 65532:65532", "COPY --from=toolchain /usr/bin/mawk /opt/awk\nUSER 65532"))
    try:
        machine.document("build", "--service", "api", "--platform", "arm64")
        done = machine.run("images.check", "--service", "api")
        assert done.code == 48, done.all
        assert "/opt/awk is for amd64" in done.err
    finally:
        dockerfile.write_text(text)


def test_a_pushed_manifest_list_comes_back_for_both_platforms(machine: Machine, tmp_path: Path) -> None:
    program = oci_registry.program()
    with oci_registry.running(program, tmp_path / "registry") as registry:
        machine.document("build", "--service", "worker", "--platform", "amd64,arm64", "--push", f"{registry.host}/team")
        image = f"{registry.host}/team/worker:dev"
        process.run(["docker", "image", "rm", image], tmp_path)
        try:
            for platform in BOTH:
                process.ok(["docker", "pull", "-q", "--platform", platform, image], tmp_path)
                found = process.ok(["docker", "image", "inspect", "--format", "{{json .Os}}", image], tmp_path)
                assert json.loads(found.out) == "linux"
            raw = process.ok(["docker", "buildx", "imagetools", "inspect", "--raw", image], tmp_path).out
            listed = [m["platform"] for m in json.loads(raw)["manifests"]]
            assert {f"{p['os']}/{p['architecture']}" for p in listed} >= {*BOTH}
        finally:
            process.run(["docker", "image", "rm", image], tmp_path)


def test_a_pack_is_for_one_platform(machine: Machine, tmp_path: Path) -> None:
    program = oci_registry.program()
    with oci_registry.running(program, tmp_path / "registry") as registry:
        remote = {
            "BUILDKIT_TASKS_PACKS_REPOSITORY": f"{registry.host}/team/cache",
            "BUILDKIT_TASKS_PACKS_PULL": "never",
            "DOCKER_CONFIG": str(registry.config),
        }
        pushed = machine.document("cache.push", "--force", "--platform", "arm64", **remote)["pack"]
        assert pushed["tag"].startswith("all-arm64-")
        empty = {**remote, "BUILDKIT_TASKS_CACHES_NAMESPACE": f"t{secrets.token_hex(4)}"}
        assert machine.refused("cache.pull", **empty) == "pack-missing"
        assert machine.document("cache.pull", "--platform", "arm64", **empty)["pull"]["unpacked"]
        assert machine.document("build", "--platform", "arm64", "--no-cache", **empty)["cargo"]["compiled"] == []


def test_a_static_program_runs_where_there_is_nothing_else(machine: Machine) -> None:
    compose = machine.site.root / "compose.yaml"
    text = compose.read_text()
    project = json.loads(text)
    project["services"]["worker"]["build"]["args"]["RUNTIME_IMAGE"] = "scratch"
    compose.write_text(json.dumps(project))
    try:
        machine.document("build", "--service", "worker", BUILDKIT_TASKS_BUILD_STATIC="gnu")
        assert machine.says() == SAYS
        done = machine.run("build", "--service", "worker", BUILDKIT_TASKS_BUILD_STATIC="musl")
        assert done.code != 0
        assert "has no standard library for x86_64-unknown-linux-musl" in done.err
    finally:
        compose.write_text(text)
