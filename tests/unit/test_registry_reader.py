"""The typed reader: any input results in a value of a known form, or in `Malformed`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.packs import image as pack_image
from buildkit_tasks.registry import reader as registry_reader
from buildkit_tasks.registry.names import (
    Config,
    Descriptor,
    Digest,
    Malformed,
    Manifest,
    Reference,
    Tag,
    is_loopback,
    printable,
    proxy_for,
)

D = "sha256:" + "0" * 64
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": D, "size": 2}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": D, "size": 7}
IMAGE: dict[str, Any] = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]}
ENTRY = {"mediaType": registry_reader.OCI_MANIFEST, "digest": D, "size": 9}
INDEX: dict[str, Any] = {"schemaVersion": 2, "manifests": [ENTRY]}
ABOUT: dict[str, Any] = {"config": {"Labels": {"k": "v"}}, "rootfs": {"diff_ids": [D]}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([D, 2, "latest"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from(
                [
                    *("schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "Labels"),
                    *("rootfs", "diff_ids", "tags", "token", "access_token"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
READERS: list[Callable[[bytes], object]] = [
    registry_reader.manifest,
    registry_reader.config,
    registry_reader.tags,
    registry_reader.token,
]


def well_formed(value: object) -> bool:
    """Return whether no part of the value could do harm in a Dockerfile, a header or a terminal."""
    if isinstance(value, Manifest):
        return well_formed(value.config) and all(map(well_formed, value.layers)) and well_formed(value.digest)
    if isinstance(value, Descriptor):
        fine = re.fullmatch(r"[\w/.+-]+", value.media_type) and value.size >= 0
        return bool(fine) and well_formed(value.digest)
    if isinstance(value, Config):
        texts = [*value.labels.keys(), *value.labels.values()]
        return all(isinstance(t, str) and t.encode() is not None for t in texts) and all(
            map(well_formed, value.diff_ids)
        )
    if isinstance(value, Digest):
        return bool(re.fullmatch(r"sha256:[0-9a-f]{64}", value))
    if isinstance(value, Tag):
        return bool(re.fullmatch(r"[\w.-]{1,128}", value, re.ASCII))
    if isinstance(value, tuple):
        return all(map(well_formed, value))
    return isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value


def check(body: bytes) -> None:
    for read in READERS:
        try:
            found = read(body)
        except Malformed:
            continue
        assert well_formed(found), (read, found)


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    check(body)


@given(JSON)
def test_any_json(value: object) -> None:
    check(json.dumps(value).encode())


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        found += [p for name, item in value.items() for p in places(item, (*path, name))]
    if isinstance(value, list):
        found += [p for number, item in enumerate(value) for p in places(item, (*path, number))]
    return found


@given(st.sampled_from([IMAGE, INDEX, ABOUT, {"tags": ["a"]}, {"token": "x"}]), st.data(), JSON)
def test_a_sound_answer_with_one_place_changed(sound: dict[str, Any], data: st.DataObject, other: object) -> None:
    copy = json.loads(json.dumps(sound))
    path = data.draw(st.sampled_from([p for p in places(sound) if p]))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if data.draw(st.booleans()):
        place[path[-1]] = other
    else:
        del place[path[-1]]
    check(json.dumps(copy).encode())


def test_sound_answers_are_read() -> None:
    body = json.dumps(IMAGE).encode()
    found = registry_reader.manifest(body, registry_reader.OCI_MANIFEST)
    assert isinstance(found, Manifest)
    assert (found.digest, found.size, found.config.digest) == (Digest.of(body), 7, D)
    assert registry_reader.manifest(json.dumps(INDEX).encode()) == Descriptor(
        registry_reader.OCI_MANIFEST, Digest(D), 9
    )
    assert registry_reader.config(json.dumps(ABOUT).encode()) == Config({"k": "v"}, (Digest(D),))
    assert registry_reader.config(b'{"config":null}') == Config()
    assert registry_reader.tags(b'{"tags":null}') == ()
    assert registry_reader.token(b'{"access_token":"x"}') == "x"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({**IMAGE, "mediaType": registry_reader.OCI_INDEX}, ""),
        (IMAGE, registry_reader.OCI_INDEX),
        ({**IMAGE, "mediaType": registry_reader.OCI_MANIFEST}, registry_reader.DOCKER_MANIFEST),
        ({**IMAGE, "manifests": [ENTRY]}, ""),
        ({**INDEX, "mediaType": "text/plain"}, ""),
        ({**INDEX, "manifests": []}, ""),
        ({**INDEX, "manifests": [ENTRY] * 1001}, ""),
        ({**IMAGE, "layers": [LAYER] * 1001}, ""),
        ({**IMAGE, "schemaVersion": 1}, ""),
        ({**IMAGE, "schemaVersion": True}, ""),
        ({**IMAGE, "config": {**CONFIG, "mediaType": "application/vnd.in-toto+json"}}, ""),
        *(({**IMAGE, "layers": [{**LAYER, "size": size}]}, "") for size in (-1, 1.0, "7", True, 2**60, 10**19)),
        *(({**IMAGE, "layers": [{**LAYER, "digest": d}]}, "") for d in ("", D + "0", D.upper(), f"{D}\n", f"{D},a=b")),
    ],
)
def test_what_is_no_manifest_is_malformed(content: object, kind: str) -> None:
    with pytest.raises(Malformed):
        registry_reader.manifest(json.dumps(content).encode(), kind)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b" " * (registry_reader.LIMIT + 1),
    ],
)
def test_what_is_no_strict_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        registry_reader.document(body, "it")


@given(st.text())
def test_what_is_shown_of_a_text_is_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text * 99)) <= 200


@given(st.text(max_size=20) | st.from_regex(r"(localhost|127\.\d\.\d\.\d|\[::1\])(:\d+)?[.a-z@\n]?"))
def test_only_this_machine_is_loopback(host: str) -> None:
    if is_loopback(host):
        assert re.fullmatch(r"(localhost|127\.[\d.]+|\[::1\])(:\d+)?", host, re.ASCII)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_reference_has_nothing_in_it_that_a_dockerfile_could_misread(host: str, path: str) -> None:
    from buildkit_tasks.core.errors import Problem

    try:
        name = Reference(host, path).name
    except Problem:
        return
    assert re.fullmatch(r"[A-Za-z0-9.:\[\]-]+/[a-z0-9._/-]+", name)


@pytest.mark.parametrize(
    ("host", "no", "proxy"),
    [
        ("ghcr.io", "", "http://proxy:3128"),
        ("ghcr.io", "ghcr.io", ""),
        ("a.corp.example:5000", ".corp.example", ""),
        ("a.corp.example:5000", "corp.example", ""),
        ("acorp.example", "corp.example", "http://proxy:3128"),
        ("ghcr.io", "*", ""),
        ("127.0.0.1:5000", "", ""),
        ("localhost", "", ""),
    ],
)
def test_the_proxy_to_a_host(host: str, no: str, proxy: str) -> None:
    assert proxy_for({"HTTPS_PROXY": "proxy:3128", "no_proxy": no}, "https", host) == proxy


def test_a_pack_is_fetched_only_in_the_form_that_ours_have() -> None:
    def image(**more: Any) -> Manifest:
        found = registry_reader.manifest(json.dumps({**IMAGE, "layers": [{**LAYER, **more}]}).encode())
        assert isinstance(found, Manifest)
        return found

    about = Config({}, (Digest(D),))
    assert pack_image.objections(image(), about, 1, 10**6) == []
    for kind in ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"):
        (reason,) = pack_image.objections(image(mediaType=kind), about, 1, 10**6)
        assert "uncompressed" in reason
    assert pack_image.objections(image(size=10**9), about, 1, 10**6)
    assert pack_image.objections(image(), about, 2, 10**6)
    assert pack_image.objections(image(), Config(), 1, 10**6)
