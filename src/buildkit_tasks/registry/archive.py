"""Reads OCI archives of saved images: their platforms, and the architecture of each program.

Formats: https://github.com/opencontainers/image-spec/blob/main/image-layout.md, elf(5).
"""

from __future__ import annotations

import contextlib
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from buildkit_tasks.core import shapes

#: Architecture names of platforms, by the e_machine field of an ELF header.
MACHINES = {3: "386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}

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

    Raises ValueError for other files, or layers with a compression that Python does not support (zstd before 3.14).
    """
    try:
        with tarfile.open(path) as archive:
            index = shapes.loads(_member(archive, "index.json").read(), dict)
            return tuple(_image(archive, manifest) for manifest in _manifests(archive, index))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an OCI archive: {error}") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot read a layer: {error}") from error


def _manifests(archive: tarfile.TarFile, index: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in index["manifests"]:
        if entry.get("platform", {}).get("architecture") == "unknown":
            continue  # an attestation
        content = shapes.loads(_blob(archive, entry["digest"]).read(), dict)
        if "manifests" in content:
            yield from _manifests(archive, content)
        else:
            yield content


def _image(archive: tarfile.TarFile, manifest: Mapping[str, Any]) -> Image:
    config = shapes.loads(_blob(archive, manifest["config"]["digest"]).read(), dict)
    variant = f"/{config['variant']}" if config.get("variant") and config["architecture"] != "arm64" else ""
    programs: dict[str, str] = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=_blob(archive, layer["digest"]), mode="r|*") as content:
            for member in content:
                file = content.extractfile(member) if member.isreg() else None
                machine = _machine(file.read(20)) if file else ""
                if machine:
                    programs[f"/{member.name.removeprefix('./')}"] = machine
    runs = config.get("config", {})
    command = (*(runs.get("Entrypoint") or ()), *(runs.get("Cmd") or ()))
    return Image(f"{config['os']}/{config['architecture']}{variant}", command[0] if command else "", programs)


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


def _blob(archive: tarfile.TarFile, digest: str) -> IO[bytes]:
    return _member(archive, f"blobs/{digest.replace(':', '/')}")


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise ValueError(f"{name} is not a file")
    return found
