"""Configuration and files of many images, read from a single `docker save`."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import process

#: A file: kind, mode, owner, link target, and digest of its content.
File = tuple[str, int, str, str, str]

#: Files that the engine puts into containers, and that a build step leaves behind.
_PASSING = ("dev/", "proc/", "sys/")

#: Layers that have been read: images share most of them.
_layers: dict[str, dict[str, File]] = {}


def facts(images: Sequence[str], cwd: Path, env: Mapping[str, str | None] | None = None) -> dict[str, dict[str, Any]]:
    """Return configuration and files by image and platform; skip images that do not exist in the engine."""
    # not `image ls`: it fails if another test deletes an image meanwhile
    asked = {image: process.run(["docker", "image", "inspect", image], cwd, env) for image in dict.fromkeys(images)}
    there = [image for image, done in asked.items() if done.code == 0]
    if not there:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "saved.tar"
        process.ok(["docker", "save", "--output", archive, *there], cwd, env)
        with tarfile.open(archive) as tar:
            found: dict[str, dict[str, Any]] = {}
            for entry in json.load(_member(tar, "index.json"))["manifests"]:
                name = entry.get("annotations", {}).get("io.containerd.image.name", "")
                for image in there:
                    if name.endswith(f"/{_full(image)}"):
                        found.setdefault(image, {}).update(_platforms(tar, entry))
    return found


def _full(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _member(tar: tarfile.TarFile, name: str) -> Any:
    return tar.extractfile(name)


def _blob(tar: tarfile.TarFile, digest: str) -> Any:
    return _member(tar, "blobs/" + digest.replace(":", "/"))


def _platforms(tar: tarfile.TarFile, entry: Mapping[str, Any]) -> dict[str, Any]:
    content = json.load(_blob(tar, entry["digest"]))
    if "manifests" in content:
        real = (e for e in content["manifests"] if e.get("annotations", {}).get("vnd.docker.reference.type") is None)
        return {name: what for e in real for name, what in _platforms(tar, e).items()}
    about = json.load(_blob(tar, content["config"]["digest"]))
    config = dict(about["config"])
    config["Labels"] = config.get("Labels") or {}
    platform = "/".join(filter(None, (about["os"], about["architecture"], about.get("variant"))))
    return {platform: {"config": config, "files": _files(tar, [layer["digest"] for layer in content["layers"] or ()])}}


def _files(tar: tarfile.TarFile, digests: Iterable[str]) -> dict[str, File]:
    """Return the files of all layers combined, without those that a later layer deletes."""
    found: dict[str, File] = {}
    for digest in digests:
        if digest not in _layers:
            with tarfile.open(fileobj=_blob(tar, digest)) as layer:
                _layers[digest] = {m.name.removeprefix("./").strip("/"): _file(layer, m) for m in layer}
        for name, file in _layers[digest].items():
            folder, _, last = name.rpartition("/")
            if last == ".wh..wh..opq":
                found = {n: f for n, f in found.items() if not n.startswith(f"{folder}/") or n in _layers[digest]}
            elif last.startswith(".wh."):
                gone = f"{folder}/{last[4:]}".strip("/")
                found = {n: f for n, f in found.items() if n != gone and not n.startswith(f"{gone}/")}
            else:
                found[name] = file
    return {n: f for n, f in found.items() if not n.startswith(_PASSING)}


def _file(layer: tarfile.TarFile, member: tarfile.TarInfo) -> File:
    content = layer.extractfile(member) if member.isreg() else None
    digest = hashlib.sha256(content.read()).hexdigest() if content else ""
    return member.type.decode(), member.mode, f"{member.uid}:{member.gid}", member.linkname, digest


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the differences between our image and compose's, one per line."""
    said = [f"platforms {sorted(ours)} and {sorted(theirs)}"] if ours.keys() != theirs.keys() else []
    for platform in ours.keys() & theirs.keys():
        one, other = ours[platform], theirs[platform]
        for part in ("config", "files"):
            for name in sorted(one[part].keys() | other[part].keys()):
                if one[part].get(name) != other[part].get(name):
                    said.append(f"{platform} {part} {name}: {one[part].get(name)} and {other[part].get(name)}")
    return said
