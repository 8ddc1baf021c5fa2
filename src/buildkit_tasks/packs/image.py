"""The image format of a pack: one layer per part, each a tar that contains only the part.

The parts are already compressed, so the layers are not. Any registry can store the image, and BuildKit can mount it.
https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from buildkit_tasks.core import units
from buildkit_tasks.registry.names import Blob, Config, Digest, Manifest, printable
from buildkit_tasks.registry.reader import OCI_MANIFEST

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_PIECE = 1 << 20

#: Maximum difference between a layer and its part, in bytes.
_FRAME = 4 * tarfile.BLOCKSIZE


def layer(part: Path) -> Blob:
    """Wrap a part as a layer. The bytes depend only on the part, not on the owner or time of its file."""
    digest = hashlib.sha256()
    size = 0
    for piece in _read(part):
        digest.update(piece)
        size += len(piece)
    return Blob(Digest(f"sha256:{digest.hexdigest()}"), size, partial(_read, part))


def watched(blob: Blob, look: Callable[[], None]) -> Blob:
    """Wrap the blob to call `look` before each piece is read. If `look` raises an exception, the upload is aborted."""

    def read() -> Iterator[bytes]:
        for piece in blob.read():
            look()
            yield piece

    return replace(blob, read=read)


def config(platform: str, layers: Sequence[Blob], labels: Mapping[str, str]) -> Blob:
    """Return the image's configuration; `platform` as arm64 or arm/v7."""
    architecture, _, variant = platform.partition("/")
    return _json(
        {
            "architecture": architecture,
            **({"variant": variant} if variant else {}),
            "os": "linux",
            "config": {"Labels": dict(labels)},
            "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in layers]},
        }
    )


def manifest(about: Blob, layers: Sequence[Blob]) -> Blob:
    """Return the image's manifest. `about`: its configuration. `layers`: its layers, in order."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(_CONFIG, about),
            "layers": [_descriptor(_LAYER, blob) for blob in layers],
        }
    )


def objections(found: Manifest, about: Config, parts: int, limit: int) -> list[str]:
    """Return reasons not to fetch an image as a pack with `parts` parts, regardless of its labels.

    `limit`: the maximum size in bytes. Compressed layers are rejected, because their size cannot be checked before
    unpacking.
    """
    reasons = []
    if kinds := {layer.media_type for layer in found.layers} - {_LAYER}:
        reasons.append(
            f"a layer has the media type {printable(sorted(kinds)[0])}, but packs use uncompressed tar layers"
        )
    if len(found.layers) != parts:
        reasons.append(f"the pack has {units.counted(len(found.layers), 'layer')} for {units.counted(parts, 'part')}")
    if found.size > limit + parts * _FRAME:
        reasons.append(f"the layers total {units.human(found.size)}, but packs.limit is {units.human(limit)}")
    if about.diff_ids != tuple(layer.digest for layer in found.layers):
        reasons.append("the configuration and the manifest list different layers")
    return reasons


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _json(content: Mapping[str, object]) -> Blob:
    text = json.dumps(content, separators=(",", ":")).encode()
    return Blob(Digest.of(text), len(text), lambda: (text,))


def _read(part: Path) -> Iterator[bytes]:
    """Read the tar: a header, the file, zeros up to a full block, and two more blocks."""
    member = tarfile.TarInfo(part.name)
    member.size = part.stat().st_size
    yield member.tobuf(tarfile.GNU_FORMAT)
    yield from _pieces(part)
    yield bytes(-member.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _pieces(part: Path) -> Iterable[bytes]:
    with part.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
