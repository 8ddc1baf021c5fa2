"""Reading OCI archives: platforms, nested indexes, attestations, programs of every kind and byte order."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_tasks.registry import archive as image_archive


def elf(machine: int, *, big: bool = False) -> bytes:
    """Return the header of a program for a processor."""
    order = b"\x02" if big else b"\x01"
    return b"\x7fELF\x02" + order + b"\x01" + bytes(9) + struct.pack(">HH" if big else "<HH", 2, machine) + bytes(40)


class Layout:
    """An archive that is being created."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def blob(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest

    def image(self, arch: str, files: dict[str, bytes], *, packed: bool = True) -> dict[str, Any]:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for name, content in files.items():
                item = tarfile.TarInfo(name)
                item.size = len(content)
                tar.addfile(item, io.BytesIO(content))
            link = tarfile.TarInfo("bin")
            link.type, link.linkname = tarfile.SYMTYPE, "usr/bin"
            tar.addfile(link)
        layer = self.blob(gzip.compress(raw.getvalue()) if packed else raw.getvalue())
        config = {"os": "linux", "architecture": arch, "config": {"Entrypoint": ["/bin/service"]}}
        manifest = {"config": {"digest": self.blob(json.dumps(config).encode())}, "layers": [{"digest": layer}]}
        return {"digest": self.blob(json.dumps(manifest).encode()), "platform": {"architecture": arch}}

    def write(self, path: Path, manifests: list[dict[str, Any]]) -> Path:
        index = json.dumps({"manifests": manifests}).encode()
        names = {f"blobs/{d.replace(':', '/')}": c for d, c in self.blobs.items()} | {"index.json": index}
        with tarfile.open(path, "w") as tar:
            for name, content in names.items():
                item = tarfile.TarInfo(name)
                item.size = len(content)
                tar.addfile(item, io.BytesIO(content))
        return path


def test_platforms_programs_and_what_is_wrong(tmp_path: Path) -> None:
    layout = Layout()
    arm = layout.image("arm64", {"./bin/service": elf(183), "etc/motd": b"hello", "lib/old.so": elf(62)})
    amd = layout.image("amd64", {"bin/service": elf(62), "short": b"\x7fELF"}, packed=False)
    unknown = {"digest": "sha256:0", "platform": {"architecture": "unknown"}}
    nested = layout.blob(json.dumps({"manifests": [arm, unknown]}).encode())
    found = image_archive.read(layout.write(tmp_path / "a.tar", [{"digest": nested}, amd]))
    assert [image.platform for image in found] == ["linux/arm64", "linux/amd64"]
    assert found[0].start == "/bin/service"
    assert found[0].programs == {"/bin/service": "arm64", "/lib/old.so": "amd64"}
    assert found[0].wrong == ("/lib/old.so is for amd64",)
    assert found[1].wrong == ()


def test_big_endian_and_unknown_processors(tmp_path: Path) -> None:
    layout = Layout()
    image = layout.image("s390x", {"a": elf(22, big=True), "b": elf(4711)})
    (found,) = image_archive.read(layout.write(tmp_path / "a.tar", [image]))
    assert found.wrong == ("/b is for machine 4711",)


def test_what_is_no_oci_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"index\.json"):
        image_archive.read(_empty(tmp_path))


def _empty(folder: Path) -> Path:
    with tarfile.open(folder / "b.tar", "w"):
        return folder / "b.tar"


def test_a_layer_in_an_unknown_compression_is_told(tmp_path: Path) -> None:
    layout = Layout()
    config = layout.blob(json.dumps({"os": "linux", "architecture": "amd64"}).encode())
    layer = layout.blob(b"\x28\xb5\x2f\xfd" + bytes(100))
    manifest = json.dumps({"config": {"digest": config}, "layers": [{"digest": layer}]}).encode()
    with pytest.raises(ValueError, match="cannot read a layer"):
        image_archive.read(layout.write(tmp_path / "a.tar", [{"digest": layout.blob(manifest)}]))


@pytest.mark.parametrize(
    ("head", "starter"),
    [
        (b"", ("", "")),
        (b"#!/bin/sh -e\necho\n", ("", "/bin/sh")),
        (b"#!", ("", "")),
        (b"\x7fELF", ("", "")),
        (elf(183), ("arm64", "")),
        (elf(62)[:30], ("amd64", "")),
        (b"\x7fELF\x02\x01" + b"\xff" * 200, ("machine 65535", "")),
    ],
)
def test_what_starts_a_program(head: bytes, starter: tuple[str, str]) -> None:
    assert image_archive.starts_by(head) == starter


def test_what_starts_a_program_of_this_machine() -> None:
    """The kernel's loader exists."""
    machine, loader = image_archive.starts_by(Path("/bin/ls").read_bytes()[:65536])
    assert machine in image_archive.MACHINES.values()
    assert Path(loader).is_file()


@settings(max_examples=300)
@given(st.binary(max_size=400), st.sampled_from([b"\x7fELF\x01\x01", b"\x7fELF\x02\x01", b"\x7fELF\x02\x02", b"#!"]))
def test_any_bytes_are_read(body: bytes, magic: bytes) -> None:
    image_archive.starts_by(magic + body)
