"""Check the SBOM against the official schema, and its packages, crates and programs."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from buildkit_tasks.audit import archive, crates, packages, sbom
from buildkit_tasks.audit.facts import Image
from buildkit_tasks.audit.secrets import Search
from tests.support.saved_images import File, Saved, layer, member

DEBIAN = b'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n'
STATUS = b"""\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36-9)
Version: 2.36-9+deb12u10
Description: GNU C Library
 Package: not-a-package

Package: gone
Status: deinstall ok config-files
Version: 1

Package: login
Status: install ok installed
Architecture: amd64
Version: 1:4.13+dfsg1-1
"""
COPYRIGHT = b"Format: https://x\n\nFiles: *\nLicense: LGPL-2.1+\n text\n\nFiles: a\nLicense: BSD-3-Clause\n"
APK = (
    b"C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\nF:lib\nR:ld-musl.so\n\n"
    b"P:busybox\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\n"
)
ROOT_TOML = '[workspace]\nmembers = ["api", "common"]\n'
API_TOML = (
    '[package]\nname = "api"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ncommon = { path = "../common" }\n'
    'serde = "1"\nforked = { git = "https://example.com/forked" }\n[dev-dependencies]\nproptest = "1"\n'
)
COMMON_TOML = '[package]\nname = "common"\nversion = "0.2.0"\nedition = "2021"\n'
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
LOCK = f"""\
version = 4
[[package]]
name = "api"
version = "0.1.0"
dependencies = ["common", "forked", "proptest", "serde"]
[[package]]
name = "common"
version = "0.2.0"
[[package]]
name = "forked"
version = "0.3.0"
source = "git+https://example.com/forked#abc"
[[package]]
name = "proptest"
version = "1.0.0"
source = "{REGISTRY}"
checksum = "{"b" * 64}"
[[package]]
name = "serde"
version = "1.0.0"
source = "{REGISTRY}"
checksum = "{"a" * 64}"
[[package]]
name = "unrelated"
version = "9.0.0"
source = "{REGISTRY}"
checksum = "{"c" * 64}"
"""
PROGRAM = b"\x7fELF the program"


def manifest(**more: Any) -> bytes:
    content = {
        "format": 1,
        "crate": "api",
        "binary": "api",
        "features": [],
        "profile": "release",
        "incremental": False,
        "rustflags": "",
        "toolchain": {"key": "k", "rustc": "r", "host": "h"},
        "lock": f"sha256:{hashlib.sha256(LOCK.encode()).hexdigest()}",
        "source": "",
        "workspace": ".",
        "script": "docker/compile.rs",
        "packages": ["api", "common"],
        "files": {},
    }
    return json.dumps({**content, **more}).encode()


def debian(**more: File) -> dict[str, File]:
    return {
        "usr/lib/os-release": DEBIAN,
        "etc/os-release": member("etc/os-release", b"2", linkname="../usr/lib/os-release"),
        "var/lib/dpkg/status": STATUS,
        "usr/share/doc/libc6/copyright": COPYRIGHT,
        "usr/local/bin/service": (PROGRAM, 0o755),
        "usr/local/share/buildkit-tasks/manifest.json": manifest(),
        **more,
    }


def image(files: dict[str, File], config: dict[str, Any] | None = None, name: str = "shop/api:dev") -> Image:
    saved, search = Saved(), Search({})
    identity = saved.image([layer(files)], config or {"Entrypoint": ["/usr/local/bin/service"]})
    (found,) = archive.images(archive.read(io.BytesIO(saved.oci()), search), name, identity, search)
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name, text in {
        "Cargo.toml": ROOT_TOML,
        "Cargo.lock": LOCK,
        "api/Cargo.toml": API_TOML,
        "api/src/main.rs": "fn main() {}\n",
        "common/Cargo.toml": COMMON_TOML,
        "common/src/lib.rs": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def document(of: Image, context: Path | None = None) -> dict[str, Any]:
    shipped = crates.Workspaces().shipped(crates.recorded(of.texts), context)
    made = sbom.document(of, shipped, [sbom.started(of)], version="0.2.0", made="2026-01-02T03:04:05Z")
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made))
    assert error is None, error
    return made


def purls(made: dict[str, Any]) -> list[str]:
    return [c["purl"] for c in made["components"] if "purl" in c]


def test_debian_packages_the_crates_of_the_program_and_its_digest(workspace: Path) -> None:
    made = document(image(debian()), workspace)
    assert purls(made) == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc",
        "pkg:deb/debian/login@1:4.13%2Bdfsg1-1?arch=amd64&distro=debian-12",
        "pkg:cargo/api@0.1.0",
        "pkg:cargo/common@0.2.0",
        "pkg:cargo/forked@0.3.0?vcs_url=git%2Bhttps://example.com/forked%23abc",
        "pkg:cargo/serde@1.0.0",
    ]
    by_name = {c["name"]: c for c in made["components"]}
    assert by_name["libc6"]["licenses"] == [
        {"license": {"name": "LGPL-2.1+"}},
        {"license": {"name": "BSD-3-Clause"}},
    ]
    assert by_name["serde"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert by_name["api"]["type"] == "application"
    program = by_name["/usr/local/bin/service"]
    assert program["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(PROGRAM).hexdigest()}]
    root = made["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("container", "shop/api", "dev")
    assert root["purl"].startswith("pkg:oci/api@sha256:")
    needs = {d["ref"]: d["dependsOn"] for d in made["dependencies"]}
    assert "pkg:cargo/serde@1.0.0" in needs["pkg:cargo/api@0.1.0"]
    assert "pkg:cargo/api@0.1.0" in needs[root["bom-ref"]]
    properties = {p["name"]: p["value"] for p in made["metadata"]["properties"]}
    assert properties["buildkit-tasks:crates"].startswith("all dependencies of the crate in Cargo.lock")
    assert "changed" not in properties["buildkit-tasks:crates"]


def how(made: dict[str, Any]) -> str:
    return next(str(p["value"]) for p in made["metadata"]["properties"] if p["name"] == "buildkit-tasks:crates")


def test_what_is_not_known_is_written_down(workspace: Path) -> None:
    assert "no program manifest" in how(document(image({"a": b"1"}), workspace))
    assert "Cargo.lock is unknown" in how(document(image(debian())))
    place = "usr/local/share/buildkit-tasks/manifest.json"
    assert "contains exactly one package for web" in how(
        document(image(debian(**{place: manifest(binary="web")})), workspace)
    )
    (workspace / "Cargo.lock").write_text(LOCK + "\n")
    assert how(document(image(debian()), workspace)).endswith("Cargo.lock has changed since the image was built")
    assert "no program manifest" in how(document(image({place: b"[1]"}), workspace))


def test_alpine_packages_and_a_program_on_path() -> None:
    files: dict[str, File] = {
        "etc/os-release": b"ID=alpine\nVERSION_ID=3.20.1\n",
        "lib/apk/db/installed": APK,
        "opt/bin/run": (b"#!/bin/sh\n", 0o755),
    }
    made = document(image(files, {"Cmd": ["run"], "Env": ["PATH=/usr/bin:/opt/bin"]}, "alpine"))
    assert purls(made) == [
        "pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1",
        "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1",
    ]
    assert made["components"][-1]["name"] == "/opt/bin/run"
    assert made["components"][1]["licenses"] == [{"license": {"name": "MIT"}}]


def test_distroless_packages_and_a_database_that_a_later_layer_deletes() -> None:
    files: dict[str, File] = {
        "etc/os-release": DEBIAN,
        "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
        "var/lib/dpkg/status.d/tzdata.md5sums": b"0123  usr/share/zoneinfo/UTC\n",
    }
    assert purls(document(image(files))) == ["pkg:deb/debian/tzdata@2024a?arch=all&distro=debian-12"]
    saved, search = Saved(), Search({})
    identity = saved.image([layer({"var/lib/dpkg/status": STATUS}), layer({"var/lib/dpkg/.wh.status": b""})])
    (found,) = archive.images(archive.read(io.BytesIO(saved.oci()), search), "x", identity, search)
    assert packages.installed(found.texts) == ()


def test_corrupt_databases_are_valid_documents() -> None:
    files: dict[str, File] = {
        "etc/os-release": b"\xff\xfe ID=\x00",
        "var/lib/dpkg/status": b"Package: a\xff b\nVersion: \x1b[2J\n\nPackage\n:\n\n",
        "lib/apk/db/installed": b"P:\nV:1\n\nP:x\nV:\xff\n",
    }
    assert len(document(image(files))["components"]) == 2


@pytest.mark.parametrize(
    ("name", "several", "expected"),
    [
        ("ghcr.io/shop/api:dev", False, "ghcr.io-shop-api-dev.cdx.json"),
        ("api", True, "api-amd64.cdx.json"),
        ("../x", False, "x.cdx.json"),
        ("sha256:abc", False, "sha256-abc.cdx.json"),
    ],
)
def test_names_of_files(name: str, several: bool, expected: str) -> None:
    assert sbom.file_name(image({"a": b""}, name=name), several) == expected
