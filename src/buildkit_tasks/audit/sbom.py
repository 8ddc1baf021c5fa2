"""The SBOM of an image, as CycloneDX 1.6 JSON: https://cyclonedx.org/docs/1.6/json/. Pure."""

from __future__ import annotations

import posixpath
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from buildkit_tasks.core import units

from . import packages
from .crates import Shipped
from .facts import Image

#: The prefix of our properties.
_OURS = "buildkit-tasks"


def document(image: Image, shipped: Shipped, programs: Sequence[str], *, version: str, made: str) -> dict[str, Any]:
    """Return one document. `programs`: the paths of the service's programs; `made`: the current time in ISO 8601."""
    found = packages.installed(image.texts)
    root = _root(image)
    components = [*map(_package, found), *_crates(shipped), *_programs(image, programs)]
    unique = {component["bom-ref"]: component for component in components}
    own = [ref for ref in unique if ref not in {other for crate in shipped.crates for other in crate.needs}]
    dependencies = [{"ref": root["bom-ref"], "dependsOn": sorted(own)}]
    for crate in {crate.purl: crate for crate in shipped.crates}.values():
        dependencies.append({"ref": crate.purl, "dependsOn": [ref for ref in crate.needs if ref != crate.purl]})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{image.name} {image.id} {image.platform} {made}").urn,
        "version": 1,
        "metadata": {
            "timestamp": made,
            "tools": {"components": [{"type": "application", "name": "buildkit-tasks", "version": version}]},
            "component": root,
            "properties": [
                {"name": f"{_OURS}:platform", "value": image.platform},
                {"name": f"{_OURS}:packages", "value": _words(image, len(found))},
                {"name": f"{_OURS}:crates", "value": shipped.how},
            ],
        },
        "components": list(unique.values()),
        "dependencies": dependencies,
    }


def _words(image: Image, count: int) -> str:
    unread = sum(bool(layer.unread) for layer in image.layers)
    words = f"{units.counted(count, 'package')} in the dpkg and apk databases"
    if unread:
        words += f"; {units.counted(unread, 'layer')} could not be read, so packages may be missing"
    return words


def _root(image: Image) -> dict[str, Any]:
    name, _, tag = image.name.rpartition(":") if ":" in posixpath.basename(image.name) else (image.name, "", "")
    name = name.partition("@")[0]
    repository = name if "/" in name else f"library/{name}"
    arch = image.platform.split("/")[1]
    purl = packages.address("oci", [posixpath.basename(name).lower()], image.id, arch=arch, tag=tag)
    component: dict[str, Any] = {
        "type": "container",
        "bom-ref": purl,
        "name": repository if "/" in name else name,
        "version": tag or image.id,
        "purl": purl,
        "properties": [{"name": f"{_OURS}:image-id", "value": image.id}],
    }
    if match := re.fullmatch(r"sha256:([0-9a-f]{64})", image.id):
        component["hashes"] = [{"alg": "SHA-256", "content": match[1]}]
    return component


def _package(package: packages.Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
    }
    if package.licenses:
        component["licenses"] = [{"license": {"name": name}} for name in package.licenses]
    return component


def _crates(shipped: Shipped) -> list[dict[str, Any]]:
    found = []
    for crate in shipped.crates:
        component: dict[str, Any] = {
            "type": "application" if crate.purl == shipped.root else "library",
            "bom-ref": crate.purl,
            "name": crate.name,
            "version": crate.version,
            "purl": crate.purl,
        }
        if crate.checksum:
            component["hashes"] = [{"alg": "SHA-256", "content": crate.checksum}]
        found.append(component)
    return found


def _programs(image: Image, wanted: Sequence[str]) -> list[dict[str, Any]]:
    digests: Mapping[str, str] = image.programs
    return [
        {
            "type": "file",
            "bom-ref": f"file:{path}",
            "name": path,
            "hashes": [{"alg": "SHA-256", "content": digests[path]}],
        }
        for path in dict.fromkeys(wanted)
        if path in digests
    ]


def started(image: Image) -> str:
    """Return the path of the program that a container of the image starts, "" if unknown."""
    words = [str(word) for word in (*(image.config.get("Entrypoint") or ()), *(image.config.get("Cmd") or ()))][:1]
    if not words or words[0].startswith("/"):
        return "".join(words)
    env = dict(str(word).partition("=")[::2] for word in image.config.get("Env") or ())
    folders = env.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").split(":")
    paths = [posixpath.join(folder, words[0]) for folder in folders]
    return next((path for path in paths if path in image.programs), "")


def file_name(image: Image, several: bool) -> str:
    """Return the file name for an image, which includes the platform if there are several."""
    name = image.name + (f"-{image.platform.partition('/')[2]}" if several else "")
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'image'}.cdx.json"
