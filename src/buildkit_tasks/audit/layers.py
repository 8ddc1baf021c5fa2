"""Reads one layer from its tar stream into facts: each byte once, nothing unpacked, in bounded memory."""

from __future__ import annotations

import fnmatch
import hashlib
import posixpath
import re
import tarfile

from buildkit_tasks.registry.layer_stream import CHUNK, Forward, Part, Refused, Source, members, opened

from . import secrets
from .facts import MOST, MOST_ALIKE, Hit, Layer, Mode, owned_hash
from .secrets import Search

#: Maximum number of files in a layer, and maximum bytes of one file that is kept whole and of all of them.
MOST_FILES, MOST_TEXT, MOST_TEXTS = 2_000_000, 16 << 20, 64 << 20

#: Maximum number of programs per layer to keep digests of.
MOST_PROGRAMS = 20_000

#: How many bytes of a package's copyright file to read.
COPYRIGHT = 64 << 10

#: Files to keep whole: package databases, the distribution's name, the manifest of our compile step.
_WHOLE = (
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/status.d/*",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/usr/local/share/buildkit-tasks/manifest.json",
)
_LISTS = re.compile(r"/var/lib/dpkg/(?:info/[^/]+\.list|status\.d/[^/]+\.md5sums)")
_COPYRIGHT = "/usr/share/doc/*/copyright"
_ROOTS = ("/var/lib/dpkg/", "/lib/apk/", "/usr/lib/", "/etc/os-", "/usr/local/share/b")

#: How a layer stores what setcap(8) sets.
_CAPABILITIES = "SCHILY.xattr.security.capability"

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


def read(name: str, source: Source, search: Search) -> Layer:
    """Return a layer's facts. If a layer cannot be read to its end, sets `unread` and returns the facts so far."""
    layer = Layer(name)
    try:
        for member, part in members(Forward(opened(source)), MOST_FILES):
            _member(layer, member, part, search)
    except Refused as refused:
        layer.unread = str(refused)
    return layer


def _member(layer: Layer, member: tarfile.TarInfo, part: Part, search: Search) -> None:
    layer.files += 1
    path = posixpath.normpath(f"/{member.name}").replace("//", "/")
    parent, name = posixpath.split(path)
    if name == _OPAQUE:
        layer.paths.emptied.append(hash(parent))
    elif name.startswith(_WHITEOUT):
        layer.paths.removed.append(hash(posixpath.join(parent, name[len(_WHITEOUT) :])))
    else:
        layer.paths.entries.append(hash(path))
        if not member.isdir():
            layer.paths.leaves.append(hash(path))
        _mode(layer, member, path)
    if part.left:
        layer.size += part.left
        _content(layer, path, member, part, search)


def _mode(layer: Layer, member: tarfile.TarInfo, path: str) -> None:
    mode = member.mode
    directory = member.isdir()
    if not directory and not member.isreg() and not member.islnk():
        return  # the mode of a symlink has no effect, and containers get their own devices
    special = not directory and (mode & 0o4000 or mode & 0o2010 == 0o2010)
    writable = mode & 0o002 and not (directory and mode & 0o1000)
    capable = _CAPABILITIES in member.pax_headers
    if special or capable:
        _keep(layer, "setuid", Mode(path, mode, capable=capable))
    if writable:
        _keep(layer, "writable", Mode(path, mode & 0o1777, directory))


def _keep(layer: Layer, kind: str, found: Hit | Mode) -> None:
    into: list[Hit] | list[Mode] = layer.hits if isinstance(found, Hit) else layer.modes
    if len(into) < MOST:
        into.append(found)  # type: ignore[arg-type]
    else:
        layer.more[kind] = layer.more.get(kind, 0) + 1


def _content(layer: Layer, path: str, member: tarfile.TarInfo, part: Part, search: Search) -> None:
    most = _kept(path)
    if most and most != COPYRIGHT and part.left > most:
        raise Refused(f"{path} is larger than {most >> 20} MiB")
    data = part.read(CHUNK)
    head = data
    program = (member.mode & 0o111 and head[:4] == b"\x7fELF") or head[:2] == b"#!"
    digest = hashlib.sha256() if program and len(layer.programs) < MOST_PROGRAMS else None
    texts, kept = [data] if most else [], len(data)
    values: set[str] = set()
    kinds: set[str] = set()
    tail = b""
    while data:
        if digest:
            digest.update(data)
        window = tail + data
        values.update(search.values(window))
        kinds.update(secrets.tokens(window))
        tail = window[-search.overlap :]
        data = part.read(CHUNK)
        if most and kept < most:
            texts.append(data)
            kept += len(data)
    for code, found in (("BA001", values), ("BA002", kinds)):
        for what in sorted(found):
            alike = (code, what)
            layer.alike[alike] = layer.alike.get(alike, 0) + 1
            if layer.alike[alike] <= MOST_ALIKE:  # a common word must not crowd out other secrets
                _keep(layer, code, Hit(code, path, what))
            else:
                layer.more[code] = layer.more.get(code, 0) + 1
    if what := secrets.file(path, head):
        _keep(layer, "BA003", Hit("BA003", path, what))
    if digest:
        layer.programs[path] = digest.hexdigest()
    if most:
        _text(layer, path, b"".join(texts)[:most])


def _text(layer: Layer, path: str, text: bytes) -> None:
    """Keep a file, or record the package files that it lists."""
    if path.startswith("/var/lib/dpkg/") and _LISTS.fullmatch(path):
        layer.owned.extend(owned_hash(f"/{line.rpartition('  ')[2].lstrip('/')}") for line in _lines(text))
        return
    if sum(map(len, layer.texts.values())) + len(text) > MOST_TEXTS:
        raise Refused(f"its package databases are larger than {MOST_TEXTS >> 20} MiB")
    layer.texts[path] = text
    if path.endswith("/apk/db/installed"):
        folder = ""
        for line in _lines(text):
            folder = line[2:] if line.startswith("F:") else folder
            if line.startswith("R:"):
                layer.owned.append(owned_hash(posixpath.join("/", folder, line[2:])))


def _lines(text: bytes) -> list[str]:
    return text.decode("utf-8", "surrogateescape").splitlines()


def _kept(path: str) -> int:
    """Return how many bytes of a file to keep."""
    if path.endswith("/copyright") and fnmatch.fnmatchcase(path, _COPYRIGHT):
        return COPYRIGHT
    if not path.startswith(_ROOTS):
        return 0
    known = _LISTS.fullmatch(path) or any(fnmatch.fnmatchcase(path, pattern) for pattern in _WHOLE)
    return MOST_TEXT if known else 0
