"""Parses a registry's responses: bytes in, typed values out. Anything invalid raises `Malformed`. Pure.

https://github.com/opencontainers/image-spec: manifest.md, image-index.md, config.md, descriptor.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from .names import Config, Descriptor, Digest, Malformed, Manifest, Tag, printable

#: Maximum size in bytes of a JSON response: Python objects may take thirty times as much memory.
LIMIT = 1 << 20

#: Maximum number of layers in an image, images in an index, labels in a configuration; real ones have far fewer.
MANY = 1000

#: The largest number accepted as a size.
HUGE = 1 << 50

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)

_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_MEDIA_TYPE = re.compile(r"[a-z0-9]+/[A-Za-z0-9][A-Za-z0-9.+_-]{0,126}")

T = TypeVar("T")


def document(body: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object strictly: UTF-8, no duplicate names, no number with more digits than `HUGE`, no NaN."""
    if len(body) > LIMIT:
        raise Malformed(f"{what}: more than {LIMIT} bytes")
    try:
        content = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_int=_number, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what}: invalid JSON ({printable(error, 80)})") from None
    return mapping(content, what)


def manifest(body: bytes, content_type: str = "") -> Manifest | Descriptor:
    """Return an image's manifest, or the descriptor of an index's first image. Computes the digest from the bytes."""
    content = document(body, "manifest")
    _version(content)
    kind = _kind(content, content_type)
    if kind in INDEXES:
        images = [_descriptor(item, "index") for item in sequence(content.get("manifests"), "index: manifests")]
        found = next((image for image in images if image.media_type in MANIFESTS), None)
        if found is None:
            raise Malformed("index: contains no image")
        return found
    config = _descriptor(content.get("config"), "manifest: config")
    if config.media_type not in _CONFIGS:
        raise Malformed(f"manifest: {printable(config.media_type)!r} is not an image configuration")
    layers = tuple(_descriptor(item, "manifest: layer") for item in sequence(content.get("layers"), "manifest: layers"))
    return Manifest(Digest.of(body), layers, config)


def config(body: bytes) -> Config:
    """Return an image's configuration: labels, and the digests of its uncompressed layers."""
    content = document(body, "configuration")
    inner = mapping(content.get("config") or {}, "configuration: config")
    labels = mapping(inner.get("Labels") or {}, "configuration: Labels")
    rootfs = mapping(content.get("rootfs") or {}, "configuration: rootfs")
    ids = sequence(rootfs.get("diff_ids") or [], "configuration: diff_ids")
    return Config({text(n, "label"): text(v, "label") for n, v in labels.items()}, tuple(Digest(i) for i in ids))


def tags(body: bytes) -> tuple[Tag, ...]:
    """Return one page of a tag list; some registries send `null` for an empty list."""
    content = document(body, "tag list")
    return tuple(Tag(item) for item in sequence(content.get("tags") or [], "tag list: tags", most=LIMIT))


def token(body: bytes) -> str:
    """Return the token in a token server's response, validated because it is used in a header."""
    content = document(body, "token")
    found = content.get("token") or content.get("access_token")
    if not (isinstance(found, str) and re.fullmatch(r"[\x21-\x7e]{1,65536}", found)):
        raise Malformed("token: the response contains no token")
    return found


# ---- structure


def mapping(value: object, what: str) -> dict[str, Any]:
    """Return the value, if it is an object."""
    return _of(dict, value, what)


def sequence(value: object, what: str, most: int = MANY) -> Sequence[Any]:
    """Return the value, if it is a list with at most `most` items."""
    found: list[Any] = _of(list, value, what)
    if len(found) > most:
        raise Malformed(f"{what}: more than {most}")
    return found


def text(value: object, what: str) -> str:
    """Return the value, if it is a valid Unicode string: no lone surrogates."""
    found: str = _of(str, value, what)
    if any("\ud800" <= char <= "\udfff" for char in found):
        raise Malformed(f"{what}: not valid Unicode")
    return found


def size(value: object, what: str) -> int:
    """Return the value, if it is a size: a nonnegative integer, not true or false."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HUGE:
        raise Malformed(f"{what}: {printable(value, 40)!r} is not a size")
    return value


def _of(kind: type[T], value: object, what: str) -> T:
    if not isinstance(value, kind):
        raise Malformed(f"{what}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _descriptor(value: object, what: str) -> Descriptor:
    content = mapping(value, what)
    media_type = text(content.get("mediaType"), f"{what}: mediaType")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise Malformed(f"{what}: {printable(media_type)!r} is not a media type")
    if content.get("urls"):  # an engine would fetch the content from these, from inside the company's network
        raise Malformed(f"{what}: the content is stored outside the registry")
    return Descriptor(media_type, Digest(content.get("digest")), size(content.get("size"), f"{what}: size"))


def _version(content: Mapping[str, Any]) -> None:
    if content.get("schemaVersion") != 2 or isinstance(content.get("schemaVersion"), bool):
        raise Malformed("manifest: schemaVersion is not 2")


def _kind(content: Mapping[str, Any], content_type: str) -> str:
    """Return the media type. Rejects a contradictory header, and a document that is both a manifest and an index.

    https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m
    """
    header = content_type.partition(";")[0].strip()
    inside = content.get("mediaType", "")
    known = {kind for kind in (header, inside) if kind in MANIFESTS or kind in INDEXES}
    if inside not in ("", *MANIFESTS, *INDEXES) or len(known) > 1:
        raise Malformed(f"manifest: conflicting media types {printable(inside)!r} and {printable(header)!r}")
    shape = OCI_INDEX if "manifests" in content else OCI_MANIFEST
    if "manifests" in content and ("layers" in content or "config" in content):
        raise Malformed("manifest: the document is both an image and an index")
    kind = next(iter(known), shape)
    if (kind in INDEXES) != (shape in INDEXES):
        raise Malformed(f"manifest: not a {printable(kind)!r}")
    return kind


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    items = list(pairs)
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("duplicate name")
    return found


def _number(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"a number with {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
