"""Reads OCI archives of saved images: their platforms, and the architecture of each program.

Formats: https://github.com/opencontainers/image-spec/blob/main/image-layout.md, elf(5).
"""

from __future__ import annotations

import contextlib
import struct
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from buildkit_tasks.core import shapes

from .layer_stream import Forward, Part, Refused, members, opened

#: Architecture names of platforms, by the e_machine field of an ELF header.
MACHINES = {3: "386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}

#: Limits: bytes of a JSON document, files in a layer, levels of nested indexes.
MOST_DOCUMENT, MOST_FILES, NESTED = 8 << 20, 1_000_000, 3

#: Bytes of a file that contain its architecture.
_HEAD = 20

_INDEX = {"manifests": [{"digest": str, "platform": {"architecture": str}}]}
_MANIFEST = {"config": {"digest": str}, "layers": [{"digest": str}]}
_CONFIG = {"os": str, "architecture": str, "variant": str, "config": {"Entrypoint": [str], "Cmd": [str]}}

#: The type of the program header with the dynamic loader.
_INTERPRETER = 3


@dataclass(frozen=True)
class Image:
    """The image for one platform. `start`: the first word of its command; `programs`: architecture of each ELF file."""

    platform: str
    start: str
    programs: Mapping[str, str]

    @property
    def foreign(self) -> bool:
        """Whether the main program, or most programs, are for a different architecture than the platform's."""
        arch = self.platform.split("/")[1]
        return self.programs.get(self.start, arch) != arch or len(self.wrong) * 2 > len(self.programs)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Programs for a different architecture than the platform's."""
        arch = self.platform.split("/")[1]
        return tuple(f"{path} is for {machine}" for path, machine in self.programs.items() if machine != arch)


def read(path: Path) -> tuple[Image, ...]:
    """Return the images of an archive (`docker save`, or an OCI layout as tar).

    The layers may come from anyone's base image. Raises ValueError for other files, corrupt or implausible ones, and
    layers with a compression that Python does not support (zstd before 3.14).
    """
    try:
        with tarfile.open(path) as archive:
            return tuple(_image(archive, manifest) for manifest in _manifests(archive, _index(archive), NESTED))
    except tarfile.TarError as error:
        raise ValueError(f"not an OCI archive: {error}") from error


def _index(archive: tarfile.TarFile) -> Mapping[str, Any]:
    return _document(archive, "index.json", _INDEX, needs=("manifests",))


def _manifests(archive: tarfile.TarFile, index: Mapping[str, Any], nested: int) -> Iterator[Mapping[str, Any]]:
    for entry in index["manifests"]:
        if ((entry or {}).get("platform") or {}).get("architecture") == "unknown":
            continue  # an attestation
        content = _document(archive, _name(entry), _INDEX | _MANIFEST)
        if "manifests" not in content:
            yield content
        elif nested:
            yield from _manifests(archive, content, nested - 1)
        else:
            raise ValueError("its indexes are nested too deeply")


def _image(archive: tarfile.TarFile, manifest: Mapping[str, Any]) -> Image:
    config = _document(archive, _name(manifest.get("config")), _CONFIG, needs=("os", "architecture"))
    variant = f"/{config['variant']}" if config.get("variant") and config["architecture"] != "arm64" else ""
    programs: dict[str, str] = {}
    for layer in manifest.get("layers") or ():
        with _member(archive, _name(layer)) as blob:
            try:
                programs.update(_programs(blob))
            except Refused as error:
                raise ValueError(f"cannot read a layer: {error}") from None
    runs = config.get("config") or {}
    command = (*(runs.get("Entrypoint") or ()), *(runs.get("Cmd") or ()))
    return Image(f"{config['os']}/{config['architecture']}{variant}", command[0] if command else "", programs)


def _programs(layer: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield path and architecture of each ELF file in a layer. Raises `Refused`."""
    for member, part in members(Forward(opened(layer)), MOST_FILES):
        if member.isreg() and (machine := _machine(_head(part))):
            yield f"/{member.name.removeprefix('./')}", machine


def _head(part: Part) -> bytes:
    """Return the first bytes of a file, at least those that `_machine` reads."""
    head = b""
    while len(head) < _HEAD and (data := part.read(_HEAD - len(head))):
        head += data
    return head


def _machine(head: bytes) -> str:
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    (number,) = struct.unpack("<H" if head[5] == 1 else ">H", head[18:20])
    return MACHINES.get(number, f"machine {number}")


def starts_by(head: bytes) -> tuple[str, str]:
    """Return a program's architecture ("" for a script) and its loader or interpreter, if any, from its first bytes."""
    if head[:2] == b"#!":
        words = head[2:256].split(b"\n")[0].split()
        return "", words[0].decode(errors="replace") if words else ""
    machine = _machine(head)
    if not machine:
        return "", ""
    with contextlib.suppress(struct.error, OverflowError):
        order, wide = "<" if head[5] == 1 else ">", head[4] == 2
        at: int = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        for entry in range(at, at + size * min(count, 64), size or 1):
            kind, offset, length = struct.unpack_from(order + ("I4xQ16xQ" if wide else "II8xI"), head, entry)
            if kind == _INTERPRETER:
                name: bytes = head[offset : offset + min(length, 256)]
                return machine, name.partition(b"\0")[0].decode(errors="replace")
    return machine, ""


def _document(
    archive: tarfile.TarFile, name: str, shape: Mapping[str, shapes.Shape], needs: Sequence[str] = ()
) -> Mapping[str, Any]:
    with _member(archive, name) as file:
        data = file.read(MOST_DOCUMENT + 1)
    if len(data) > MOST_DOCUMENT:
        raise ValueError(f"{name} is larger than {MOST_DOCUMENT >> 20} MiB")
    content = shapes.loads(data, dict)
    shapes.check(content, shape)
    if missing := [key for key in needs if content.get(key) is None]:
        raise ValueError(f"not an OCI archive: {missing[0]} is missing in {name}")
    return content


def _name(descriptor: Mapping[str, Any] | None) -> str:
    return f"blobs/{str((descriptor or {}).get('digest')).replace(':', '/')}"


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        found = archive.extractfile(name)
    except KeyError:
        raise ValueError(f"not an OCI archive: it does not contain {name}") from None
    if found is None:
        raise ValueError(f"{name} is not a file")
    return found
