"""Reading OCI archives: platforms, nested indexes, attestations, programs of every kind and byte order."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
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


def _with(folder: Path, **documents: Any) -> Path:
    """Return an archive with these values in place of its index, its manifest or its configuration."""
    layout = Layout()
    layer = layout.blob(gzip.compress(bytes(1024)))
    config = {"os": "linux", "architecture": "amd64", **documents.get("config", {})}
    manifest = {"config": {"digest": layout.blob(json.dumps(config).encode())}, "layers": [{"digest": layer}]}
    content = json.dumps({**manifest, **documents.get("manifest", {})}).encode()
    return layout.write(folder / "a.tar", documents.get("index", [{"digest": layout.blob(content)}]))


VALUES: tuple[Any, ...] = (None, 7, {}, ["x"], [None])
INDEXES: tuple[Any, ...] = (
    *(*VALUES, [{"digest": [1]}], [{"platform": None}], [{}], [{"platform": 7}]),
    [{"digest": "..:index.json"}],
)


@pytest.mark.parametrize(
    "documents",
    [
        *({"index": index} for index in INDEXES),
        *({"config": {"architecture": arch}} for arch in VALUES),
        *({"config": {"config": {"Cmd": command}}} for command in (*VALUES, "sh", [7])),
        *({"manifest": {"layers": layers}} for layers in (*VALUES, [{"digest": None}], [{"digest": "sha256:1"}])),
        {"manifest": {"config": []}},
        {"manifest": {"manifests": [{"digest": "sha256:1"}]}},
    ],
)
def test_documents_of_any_shape_are_invalid_archives(tmp_path: Path, documents: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        for image in image_archive.read(_with(tmp_path, **documents)):
            assert isinstance(image.foreign, bool)


def test_nested_indexes_are_limited(tmp_path: Path) -> None:
    layout = Layout()
    digest = "sha256:1"
    for _ in range(2000):
        digest = layout.blob(json.dumps({"manifests": [{"digest": digest}]}).encode())
    with pytest.raises(ValueError, match="nested too deeply"):
        image_archive.read(layout.write(tmp_path / "a.tar", [{"digest": digest}]))


def _headers(*sizes: int) -> bytes:
    """Return a compressed layer with a PAX header of each size."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as layer:
        for size in sizes:
            head = tarfile.TarInfo("x")
            head.type, head.size = b"x", size
            layer.write(head.tobuf(tarfile.USTAR_FORMAT))
            start = f"{size} comment=".encode()
            layer.write(start + b"a" * (size - len(start) - 1) + b"\n" + bytes(-size % 512))
            layer.write(tarfile.TarInfo("f").tobuf(tarfile.USTAR_FORMAT))
        layer.write(bytes(1024))
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: _headers(100 << 20), "a header is larger than"),
        (lambda: gzip.compress(b"x" * 9999), "invalid header"),
        (lambda: b"\x1f\x8b" + bytes(99), "corrupt"),
        (lambda: _headers(1024)[:-40], "truncated"),
    ],
)
def test_a_layer_from_a_malicious_base_image_takes_little_memory(
    tmp_path: Path, make: Callable[[], bytes], words: str
) -> None:
    layer = make()
    layout = Layout()
    config = layout.blob(json.dumps({"os": "linux", "architecture": "arm64"}).encode())
    manifest = {"config": {"digest": config}, "layers": [{"digest": layout.blob(layer)}]}
    path = layout.write(tmp_path / "a.tar", [{"digest": layout.blob(json.dumps(manifest).encode())}])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"cannot read a layer: .*{words}"):
            image_archive.read(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_the_files_of_a_layer_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout()
    files = {f"usr/share/{number}": b"x" for number in range(20_000)}
    path = layout.write(tmp_path / "a.tar", [layout.image("amd64", files)])
    tracemalloc.start()
    try:
        image_archive.read(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
    monkeypatch.setattr(image_archive, "MOST_FILES", 1000)
    with pytest.raises(ValueError, match="more than 1000 files"):
        image_archive.read(path)


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
