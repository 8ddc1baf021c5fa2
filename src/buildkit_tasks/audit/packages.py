"""The packages of an image, from the databases of dpkg and apk. Pure.

Formats: deb-control(5), https://wiki.alpinelinux.org/wiki/Apk_spec, https://github.com/package-url/purl-spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

#: Maximum number of packages in an image.
MOST = 50_000


@dataclass(frozen=True)
class Package:
    """An installed package. `purl`: its address in every SBOM and vulnerability database."""

    name: str
    version: str
    purl: str
    licenses: tuple[str, ...] = ()


def installed(texts: Mapping[str, bytes]) -> tuple[Package, ...]:
    """Return the packages in an image's kept files, sorted by address."""
    release = _release(texts.get("/etc/os-release") or texts.get("/usr/lib/os-release") or b"")
    found: dict[str, Package] = {}
    for path, data in sorted(texts.items()):
        if path == "/var/lib/dpkg/status" or (
            path.startswith("/var/lib/dpkg/status.d/") and not path.endswith(".md5sums")
        ):
            packages = _dpkg(data, release, texts)
        elif path.endswith("/apk/db/installed"):
            packages = _apk(data, release)
        else:
            continue
        for package in packages:
            if len(found) < MOST:
                found[package.purl] = package
    return tuple(found[purl] for purl in sorted(found))


def address(kind: str, names: Sequence[str], version: str, **qualifiers: str) -> str:
    """Return a package URL. Empty qualifiers are omitted."""
    path = "/".join(quote(name, safe="") for name in names)
    more = "&".join(f"{key}={quote(value, safe=':/')}" for key, value in sorted(qualifiers.items()) if value)
    return f"pkg:{kind}/{path}@{quote(version, safe=':')}{'?' if more else ''}{more}"


def _release(data: bytes) -> tuple[str, str]:
    """Return the distribution's id and version."""
    values = dict(re.findall(r"^(ID|VERSION_ID)=\"?([\w.-]+)\"?\s*$", data[:65536].decode("utf-8", "replace"), re.M))
    return values.get("ID", ""), values.get("VERSION_ID", "")


def _stanzas(data: bytes, separator: str) -> Iterator[dict[str, str]]:
    text = data.decode("utf-8", "replace")
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        for line in stanza.split("\n"):
            name, found, value = line.partition(separator)
            if found and not line.startswith((" ", "\t")):
                fields.setdefault(name, value.strip())
        if fields:
            yield fields


def _dpkg(data: bytes, release: tuple[str, str], texts: Mapping[str, bytes]) -> Iterator[Package]:
    distribution, number = release
    for fields in _stanzas(data, ":"):
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if not name or not version or not fields.get("Status", "ok installed").endswith(" installed"):
            continue
        distro = f"{distribution}-{number}" if distribution and number else distribution
        arch, source = fields.get("Architecture", ""), fields.get("Source", "").partition(" ")[0]
        place = distribution or "debian"
        purl = address("deb", (place, name), version, arch=arch, distro=distro, upstream=source)
        yield Package(name, version, purl, _copyright(texts.get(f"/usr/share/doc/{name}/copyright", b"")))


def _copyright(data: bytes) -> tuple[str, ...]:
    """Return the short names in a machine-readable copyright file; none if it is in free form."""
    text = data.decode("utf-8", "replace")
    if not text.startswith("Format:"):
        return ()
    return tuple(dict.fromkeys(name.strip() for name in re.findall(r"^License:[ \t]*(\S[^\n]{0,99})", text, re.M)))[:50]


def _apk(data: bytes, release: tuple[str, str]) -> Iterator[Package]:
    distribution, number = release
    for fields in _stanzas(data, ":"):
        name, version = fields.get("P", ""), fields.get("V", "")
        if name and version:
            place = distribution or "alpine"
            distro = f"{place}-{number}" if number else place
            purl = address("apk", (place, name), version, arch=fields.get("A", ""), distro=distro)
            yield Package(name, version, purl, tuple(filter(None, [fields.get("L", "")])))
