"""The image of a pack: layers that are tars of one file, and the documents that refer to them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from buildkit_tasks.packs import image as pack_image


@pytest.mark.parametrize("size", [0, 1, 512, 3_000_000])
def test_a_layer_is_a_tar_of_its_part_and_its_digest_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    part = tmp_path / "deps-1.tar.zst"
    part.write_bytes(os.urandom(size))
    layer = pack_image.layer(part)
    content = b"".join(layer.read())
    assert layer.size == len(content)
    assert layer.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None
        assert (member.name, file.read()) == (part.name, part.read_bytes())


def test_a_layer_says_nothing_of_who_packed_it_and_when(tmp_path: Path) -> None:
    part = tmp_path / "rest.tar.gz"
    part.write_bytes(b"the same")
    first = pack_image.layer(part)
    part.chmod(0o600)
    os.utime(part, (1, 1))
    assert pack_image.layer(part).digest == first.digest


def test_configuration_and_manifest_name_the_layers_in_their_order(tmp_path: Path) -> None:
    parts = [tmp_path / name for name in ("registry.tar.gz", "rest.tar.gz")]
    for part in parts:
        part.write_bytes(part.name.encode())
    layers = [pack_image.layer(part) for part in parts]
    about = pack_image.config("arm/v7", layers, {"label": "value"})
    said = json.loads(b"".join(about.read()))
    assert (said["os"], said["architecture"], said["variant"]) == ("linux", "arm", "v7")
    assert said["config"]["Labels"] == {"label": "value"}
    assert said["rootfs"]["diff_ids"] == [layer.digest for layer in layers]
    made = pack_image.manifest(about, layers)
    text = b"".join(made.read())
    assert made.digest == f"sha256:{hashlib.sha256(text).hexdigest()}"
    listed = json.loads(text)
    assert listed["config"]["digest"] == about.digest
    assert [(one["digest"], one["size"]) for one in listed["layers"]] == [(blob.digest, blob.size) for blob in layers]
