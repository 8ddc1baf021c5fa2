"""Corrupt or malicious archives: they result in a finding or a refusal, with limited time and memory."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import random
import resource
import sys
import tarfile
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_tasks.audit import archive, layers, rules, sbom
from buildkit_tasks.audit.crates import Shipped
from buildkit_tasks.audit.facts import Image, Layer
from buildkit_tasks.audit.secrets import Search
from buildkit_tasks.registry import layer_stream as stream
from buildkit_tasks.registry.layer_stream import Refused
from tests.support.saved_images import Saved, layer, member, zipped

zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

NOTHING = Search({})
PASSWORD = Search({"DB_PASSWORD": "hunter22-hunter22"})


def read(content: bytes, search: Search = NOTHING) -> Layer:
    return layers.read("x", io.BytesIO(content), search)


def raw(name: str, kind: bytes, size: int, content: bytes = b"") -> bytes:
    """Return a member with an arbitrary size."""
    made = member(name, kind, size=size)
    return made.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def test_a_corrupt_layer_is_a_finding_and_the_others_are_still_checked() -> None:
    saved = Saved()
    bad = layer({"a": b"1" * 4000})[:2048]
    identity = saved.image([bad, layer({"b": (b"", 0o4755)})])
    made = archive.read(io.BytesIO(saved.oci()), NOTHING)
    (image,) = archive.images(made, "x", identity, NOTHING)
    found = [f for f in rules.check(rules.Case(image, NOTHING)) if f.code in ("BA006", "BA009")]
    assert [(f.severity, f.code) for f in found] == [("warning", "BA006"), ("error", "BA009")]
    assert found[1].message == "layer 1 cannot be read: it is truncated"


class Slow(io.RawIOBase):
    """A writer that is still busy with tar's padding when the last member has been read."""

    def __init__(self, content: bytes, padding: int) -> None:
        self.content, self.padding = content, padding

    def read(self, size: int = -1, /) -> bytes:
        taken, self.content = self.content[:size], self.content[size:]
        if not taken:
            taken = bytes(min(size, 512, self.padding))
            self.padding -= len(taken)
        return taken


@pytest.mark.parametrize(("padding", "left"), [(10_240, 0), (1 << 40, (1 << 40) - archive.MOST_PADDING)])
def test_the_padding_is_read_too_but_not_forever(padding: int, left: int) -> None:
    saved = Saved()
    saved.image([layer({"a": b"1"})])
    source = Slow(saved.oci().rstrip(b"\0") + bytes(1024), padding)
    assert archive.read(source, NOTHING).documents
    assert abs(source.padding - left) <= 2048  # its alignment


@pytest.mark.parametrize("pack", [bytes, zipped, zstd.compress])
def test_what_is_before_the_damage_counts(pack: Callable[[bytes], bytes]) -> None:
    noise = random.Random(1).randbytes(300_000)
    whole = pack(layer({"a": (b"hunter22-hunter22", 0o4755), "b": noise}))
    found = read(whole[:-150_000], PASSWORD)
    assert found.unread
    assert [hit.path for hit in found.hits] == ["/a"]
    assert not read(whole, PASSWORD).unread
    assert read(whole, PASSWORD).size == 300_017


@pytest.mark.parametrize("pack", [zipped, zstd.compress])
def test_compressed_streams_can_follow_each_other_and_be_padded(pack: Callable[[bytes], bytes]) -> None:
    plain = layer({"a": b"1" * 5000})
    assert read(pack(plain[:3000]) + pack(plain[3000:])).size == 5000
    if pack is zipped:
        assert not read(pack(plain) + bytes(1024)).unread
    corrupt = bytearray(pack(plain))
    corrupt[len(corrupt) // 2] ^= 0xFF
    corrupt[-3] ^= 0xFF
    assert read(bytes(corrupt)).unread


def test_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FREE", 1 << 20)
    for pack in (zipped, zstd.compress):
        found = read(pack(layer({"a": bytes(20 << 20)})))
        assert found.unread == "it expands to more than 100 times its size"
        assert not read(pack(layer({"a": bytes(500_000)}))).unread


def test_headers_of_any_size_need_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for kind in (b"x", b"L", b"g"):
        content = packer.compress(raw("p", kind, (1 << 33) - 1)) + b"".join(
            packer.compress(bytes(1 << 20)) for _ in range(300)
        )
        assert read(content).unread == "a header is larger than 1 MiB"
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_chains_of_headers_and_records_for_all_files() -> None:
    record = b"30 comment=aaaaaaaaaaaaaaaaaa\n"
    chain = b"".join(raw("p", b"x", len(record), record) for _ in range(900))
    assert "MiB" in read(chain * 3).unread or "corrupt" in read(chain * 3).unread
    many = b"".join(f"{len(f'00 k{n:05d}=1') + 1} k{n:05d}=1\n".encode() for n in range(2000))
    assert "PAX records" in read(raw("p", b"g", len(many), many) + layer({"a": b"1"})).unread


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_paths(form: int) -> None:
    path = "/".join(["d" * 200] * 20)[:4000]
    found = read(layer({path: (b"hunter22-hunter22", 0o4755)}, form), PASSWORD)
    assert (found.unread, found.hits[0].path) == ("", f"/{path}")
    assert read(layer({"d/" * 3000 + "x": b"1"}, form)).unread == "it contains a path that is 6001 characters long"


def test_strange_names_stay_inside_and_unseen() -> None:
    files = {
        "../../etc/x": (b"", 0o4755),
        "/abs": (b"", 0o4755),
        "./a//b/../c": (b"", 0o4755),
        "e\x1b[2J": (b"", 0o4755),
    }
    assert [mode.path for mode in read(layer(files)).modes] == ["/etc/x", "/abs", "/a/c", "/e\x1b[2J"]


def test_links_devices_and_holes() -> None:
    found = read(
        layer(
            {
                "to": member("to", b"2", linkname="/etc/shadow"),
                "hard": member("hard", b"1", linkname="../../etc/shadow"),
                "device": member("device", b"4", devmajor=8, devminor=0),
                "strange": member("strange", b"Z"),
            }
        )
    )
    assert (found.files, found.size, found.unread) == (4, 0, "")
    header = bytearray(raw("hole", b"S", 0))
    header[483:495] = b"77777777777\0"
    checked = tarfile.calc_chksums(bytes(header))[0]  # type: ignore[attr-defined]
    header[148:156] = b"%06o\0 " % checked
    assert read(bytes(header) + bytes(1024)).unread == "hole is stored as a sparse file"
    negative = bytearray(raw("a", b"0", 0))
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(negative))[0]  # type: ignore[attr-defined]
    assert read(bytes(negative) + bytes(1024)).unread


def test_200_000_files_in_seconds_and_little_memory() -> None:
    one = bytearray(raw("aaaaaaaa", b"0", 0))
    parts = []
    for n in range(200_000):
        one[0:8] = b"f%07d" % n
        one[148:156] = b"%06o\0 " % (sum(one[:148]) + sum(one[156:]) + 256)
        parts.append(bytes(one))
    content = b"".join(parts) + bytes(1024)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = read(content)
    assert (found.files, found.unread) == (200_000, "")
    assert time.process_time() - began < 30  # 6 s on a development machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024
    assert list(map(found.paths.among({hash("/f0000001")}).hides, ["/f0000001", "/x"])) == [True, False]


def test_a_corrupt_header_is_not_the_end() -> None:
    content = layer({"a": b"1"})[:1024] + b"\1" * 512 + layer({"b": (b"", 0o4755)})
    assert read(content).unread == "one of its headers is corrupt"
    assert read(layer({"a": b"1"})[:1024]).unread == ""  # some builders write no end marker
    assert read(layer({"a": b"1"})[:1024] + b"b" * 99).unread


def test_limits_of_files_and_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    many = read(layer({f"f{n}": (b"", 0o666) for n in range(1500)}))
    assert (len(many.modes), many.more) == (1000, {"writable": 500})
    image = Image("x", "", "linux/amd64", {"User": "1"}, [], [many], [""])
    said = [f.message for f in rules.check(rules.Case(image, NOTHING)) if "more such" in f.message]
    assert said == ["this layer has 500 more such files"]
    monkeypatch.setattr(layers, "MOST_FILES", 10)
    assert read(layer({f"f{n}": b"" for n in range(11)})).unread == "it contains more than 10 files"
    monkeypatch.setattr(layers, "MOST_TEXT", 1 << 20)
    assert "larger than 1 MiB" in read(layer({"var/lib/dpkg/status": bytes(2 << 20)})).unread


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 10,
        bytes(2048),
        layer({"index.json": b"[]"}),
        layer({"index.json": b"{"}),
        layer({"manifest.json": b'[{"Config": 3}]'}),
        layer({"manifest.json": b"[" * 200_000}),
        layer({"manifest.json": b'[{"Config": "../../x", "Layers": ["a"]}]'}),
        layer({"manifest.json": b'[{"Config": "abc.json", "Layers": ["a"]}]', "abc.json": b'{"config": {"Env": [1]}}'}),
        layer({"blobs/sha256/abc": b'{"manifests": [{"digest": "sha256:abc"}]}'}),
    ],
    ids=range(10),
)
def test_archives_without_the_image(content: bytes) -> None:
    with pytest.raises(Refused):
        archive.images(archive.read(io.BytesIO(content), NOTHING), "x", "sha256:abc", NOTHING)


def test_an_image_without_its_layers_or_with_circular_links() -> None:
    saved = Saved()
    identity = saved.image([layer({"a": b"1"})])
    name = saved.saved[0]["Layers"][0]
    del saved.blobs[f"sha256:{name.rpartition('/')[2]}"]
    made = archive.read(io.BytesIO(saved.oci()), NOTHING)
    made.links |= {name: "b", "b": name}
    (image,) = archive.images(made, "x", identity, NOTHING)
    assert image.layers[0].unread == "it is not in the archive"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_documents_of_any_content_raise_nothing_else(data: st.DataObject) -> None:
    saved = Saved()
    config: Any = {"User": "1", "Env": ["A=b"], "Cmd": ["a"], "Labels": {"a": "b"}, "Healthcheck": {"Test": ["x"]}}
    identity = saved.image([layer({"a": b"1"})], config)
    names = [name for name, content in saved.blobs.items() if content[:1] == b"{"]
    content = archive.Archive({f"blobs/{name.replace(':', '/')}": saved.blobs[name] for name in names})
    content.documents["manifest.json"] = json.dumps(saved.saved).encode()
    name = data.draw(st.sampled_from(sorted(content.documents)))
    whole = json.loads(content.documents[name])
    place: Any = whole
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if data.draw(st.booleans()) or not isinstance(place[key], (dict, list)):
            place[key] = data.draw(st.sampled_from([None, 1, "x", [], {}, [None], {"digest": None}, True]))
            break
        place = place[key]
    content.documents[name] = json.dumps(whole).encode()
    for one in (identity, saved.manifest):
        try:
            for image in archive.images(content, "x", one, PASSWORD):
                rules.check(rules.Case(image, PASSWORD, {}))
                sbom.document(image, Shipped(), [sbom.started(image)], version="1", made="2026-01-01T00:00:00Z")
        except Refused:
            pass


def test_documents_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_DOCUMENT", 1000)
    with pytest.raises(Refused, match=r"the file index\.json is larger"):
        archive.read(io.BytesIO(layer({"index.json": json.dumps({"a": "x" * 9000}).encode()})), NOTHING)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_raises_anything_else(data: st.DataObject) -> None:
    saved = Saved()
    identity = saved.image([layer({"a": b"1" * 700}), layer({"l" * 150: b"1", "d/": b""})], pack=gzip.compress)
    content = bytearray(saved.oci())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try:
        made = archive.read(io.BytesIO(bytes(content[:cut]) if data.draw(st.booleans()) else bytes(content)), PASSWORD)
        for image in archive.images(made, "x", identity, PASSWORD):
            rules.check(rules.Case(image, PASSWORD, {}))
    except Refused:
        pass
