"""Reads what `docker image save` writes, from a stream: an OCI layout (Docker 25 and newer) or the older archive.

Layers may precede the documents that refer to them, so each blob is read according to its content, and the parts are
combined at the end. Formats: https://github.com/opencontainers/image-spec/blob/main/image-layout.md and
https://github.com/moby/docker-image-spec.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildkit_tasks.core import shapes
from buildkit_tasks.registry.layer_stream import Ahead, Forward, Part, Refused, Source, members

from . import layers
from .facts import Image, Layer
from .secrets import Search

#: Maximum number of members of an archive, and maximum bytes of one document and of all documents.
MOST_MEMBERS, MOST_DOCUMENT, MOST_DOCUMENTS = 100_000, 8 << 20, 64 << 20

#: Maximum number of files in all layers, and maximum bytes of package databases.
MOST_FILES, MOST_TEXTS = 10_000_000, 256 << 20

#: Maximum bytes after the last member: tar pads with zeros, usually to 10 KiB.
MOST_PADDING = 1 << 20

#: Maximum number of layers in an image, and of levels of nested indexes.
MOST_LAYERS, MOST_NESTED = 1000, 3

_CONFIG = {
    "architecture": str,
    "os": str,
    "variant": str,
    "config": {
        "User": str,
        "Env": [str],
        "Labels": {"*": str},
        "Entrypoint": [str],
        "Cmd": [str],
        "Healthcheck": {"Test": [str]},
    },
    "history": [{"created_by": str, "empty_layer": bool, "comment": str}],
    "rootfs": {"diff_ids": [str]},
}
_MANIFEST = {"config": {"digest": str}, "layers": [{"digest": str}], "manifests": [{"digest": str}]}
_SAVED = [{"Config": str, "Layers": [str], "RepoTags": [str]}]


@dataclass
class Archive:
    """The members of an archive: documents and layers by name, and links between names."""

    documents: dict[str, bytes] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the files in all layers."""
        return sum(layer.size for layer in self.layers.values())


def read(source: Source, search: Search) -> Archive:
    """Read an archive to its end. Raises Refused if it is corrupt or exceeds the limits."""
    archive = Archive()
    held = files = texts = 0
    for member, part in members(Forward(source), MOST_MEMBERS):
        name = posixpath.normpath(member.name)
        if member.issym() or member.islnk():
            at = posixpath.dirname(name) if member.issym() else ""
            archive.links[name] = posixpath.normpath(posixpath.join(at, member.linkname))
        if not part.left or posixpath.basename(name) in ("VERSION", "oci-layout", "repositories"):
            continue
        ahead = Ahead(part)
        if ahead.head.lstrip()[:1] in (b"{", b"["):
            held += part.left + len(ahead.head)
            if part.left > MOST_DOCUMENT or held > MOST_DOCUMENTS:
                raise Refused(f"the file {name} is larger than {MOST_DOCUMENT >> 20} MiB")
            archive.documents[name] = _whole(ahead, part)
        else:
            made = archive.layers[name] = layers.read(name, ahead, search)
            files += made.files
            texts += sum(map(len, made.texts.values()))
            if files > MOST_FILES or texts > MOST_TEXTS:
                raise Refused(f"it has more than {MOST_FILES} files or {MOST_TEXTS >> 20} MiB of package databases")
    # the padding, too: docker would fail if its output was closed while it was still writing
    left = MOST_PADDING
    while left > 0 and (data := source.read(min(left, 1 << 16))):
        left -= len(data)
    return archive


def _whole(ahead: Ahead, part: Part) -> bytes:
    parts = [ahead.read(len(ahead.head))]
    while data := part.read(1 << 16):
        parts.append(data)
    return b"".join(parts)


@dataclass(frozen=True)
class _Found:
    """A configuration, and the names of its layers in the archive."""

    config: Mapping[str, Any]
    layers: Sequence[str]


def images(archive: Archive, name: str, identity: str, search: Search) -> tuple[Image, ...]:
    """Return the images with this id, one per platform that the archive has. Raises Refused if it has none."""
    found = list(_of_index(archive, identity, 0)) or list(_saved(archive, identity))
    if not found:
        raise Refused("the image is not in the archive")
    return tuple(_image(archive, one, name, identity, search) for one in found)


def _document(archive: Archive, name: str, shape: shapes.Shape, kind: type[Any]) -> Any:
    data = archive.documents.get(name)
    if data is None:
        return None
    try:
        content = shapes.loads(data, kind)
        shapes.check(content, shape)
    except ValueError as error:
        raise Refused(f"its {name} is invalid: {error}") from None
    return content


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _of_index(archive: Archive, digest: str, depth: int) -> Iterator[_Found]:
    """Yield images by the digest of an index or a manifest, which is the id of an image in containerd's store."""
    content = _document(archive, _blob(digest), _MANIFEST, dict)
    if content is None or depth > MOST_NESTED:
        return
    for entry in content.get("manifests") or ():
        yield from _of_index(archive, str((entry or {}).get("digest", "")), depth + 1)
    config = (content.get("config") or {}).get("digest")
    if isinstance(config, str):
        values = _document(archive, _blob(config), _CONFIG, dict)
        if values and values.get("architecture") != "unknown":  # an attestation
            listed = content.get("layers") or ()
            yield _Found(values, [_blob(str((layer or {}).get("digest", ""))) for layer in listed[: MOST_LAYERS + 1]])


def _saved(archive: Archive, identity: str) -> Iterator[_Found]:
    """Yield images by the digest of the configuration, which is the id of an image in docker's own store."""
    for entry in _document(archive, "manifest.json", _SAVED, list) or ():
        name = str((entry or {}).get("Config") or "")
        hexadecimal = posixpath.basename(name).removesuffix(".json")
        if f"sha256:{hexadecimal}" == identity:
            values = _document(archive, name, _CONFIG, dict)
            if values:  # two entries with the same configuration are one image
                yield _Found(values, [str(layer) for layer in (entry.get("Layers") or ())[: MOST_LAYERS + 1]])
                return


def _image(archive: Archive, found: _Found, name: str, identity: str, search: Search) -> Image:
    if len(found.layers) > MOST_LAYERS:
        raise Refused(f"it has more than {MOST_LAYERS} layers")
    values = found.config
    variant = f"/{values['variant']}" if values.get("variant") and values.get("architecture") != "arm64" else ""
    history = [entry or {} for entry in values.get("history") or ()]
    made = [str(entry.get("created_by") or "") for entry in history if not entry.get("empty_layer")]
    steps = [step(words, search) for words in made] if len(made) == len(found.layers) else [""] * len(found.layers)
    return Image(
        name,
        identity,
        f"{values.get('os') or 'linux'}/{values.get('architecture') or '?'}{variant}",
        values.get("config") or {},
        [str(entry.get("created_by") or "") for entry in history],
        [_layer(archive, layer) for layer in found.layers],
        steps,
    )


def _layer(archive: Archive, name: str) -> Layer:
    name = posixpath.normpath(name)
    for _ in range(3):
        if name in archive.layers:
            return archive.layers[name]
        if name not in archive.links:
            break
        name = archive.links[name]
    return Layer(name, unread="it is not in the archive")


#: How builders record a step in the history.
_NOP = re.compile(r"^/bin/sh -c #\(nop\)\s+")
_ARGUMENTS = re.compile(r"^(?:RUN )?\|\d+ .*?(?=(?:/bin/sh|/bin/bash|/bin/ash|\S*/sh) -\w+ )", re.DOTALL)
_SHELL = re.compile(r"^(?:RUN )?/bin/(?:sh|ash|bash) -\w+ ")


def step(words: str, search: Search) -> str:
    """Return a step of the history as in a Dockerfile, without the values of arguments and secrets."""
    words = words.removesuffix("# buildkit").strip()
    if _NOP.match(words):
        words = _NOP.sub("", words)
    else:
        words = _ARGUMENTS.sub("", words)
        words = _SHELL.sub("RUN ", words)
    return " ".join(search.redacted(words).split())
