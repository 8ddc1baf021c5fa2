"""Determines the crates of an image's program, from its manifest and the Cargo.lock of the manifest's workspace."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.builds import manifest
from buildkit_tasks.builds.manifest import Manifest
from buildkit_tasks.ci.crates import Crates
from buildkit_tasks.core import readfile
from buildkit_tasks.workspaces import tree

from . import packages


@dataclass(frozen=True)
class Crate:
    """One crate. `checksum`: SHA-256 of its archive, "" for a crate of the repository or from git."""

    name: str
    version: str
    purl: str
    checksum: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Shipped:
    """The crates of a program. `root`: the address of the program's own crate; `how`: how they were determined."""

    crates: tuple[Crate, ...] = ()
    root: str = ""
    how: str = ""


def recorded(texts: Mapping[str, bytes]) -> Manifest | None:
    """Return the manifest that the compile step left in the image, if any."""
    try:
        return manifest.parse(texts[manifest.PATH])
    except (KeyError, ValueError):
        return None


class Workspaces:
    """The crates of build contexts, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, Crates] = {}

    def shipped(self, program: Manifest | None, context: Path | None) -> Shipped:
        """Return the crates of a program. Problems: tree-unreadable."""
        if program is None:
            return Shipped(how="the image has no program manifest, so its crates are unknown")
        if context is None or not context.is_dir():
            return Shipped(how="the image was audited without a service, so its Cargo.lock is unknown")
        if context not in self._read:
            self._read[context] = Crates(tree.read(context))
        crates = self._read[context]
        package = crates.program(program.binary, program.workspace)
        edges = crates.locked(package) if package else None
        if package is None or edges is None:
            return Shipped(how=f"no Cargo.lock in {context.name} contains exactly one package for {program.binary}")
        how = "all dependencies of the crate in Cargo.lock, for every platform and feature, including build scripts"
        lock = context / crates.of[package.directory].path("Cargo.lock")
        if _digest(lock) != program.lock:
            how += "; Cargo.lock has changed since the image was built"
        sums = {key: crates.checksum(package, key) for key in edges}
        made = {key: _crate(key, needs, sums[key]) for key, needs in edges.items()}
        root = next((c.purl for key, c in made.items() if c.name == package.name and key.endswith(" ")), "")
        return Shipped(tuple(made.values()), root, how)


def _digest(lock: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(readfile.content(lock)).hexdigest()}"
    except OSError:
        return ""


def _purl(key: str) -> str:
    name, version, source = (*key.split(" ", 2), "", "")[:3]
    if source.startswith("git+"):
        return packages.address("cargo", [name], version, vcs_url=source)
    if source.startswith(("registry+", "sparse+")) and "github.com/rust-lang/crates.io-index" not in source:
        return packages.address("cargo", [name], version, repository_url=re.sub(r"^(?:registry|sparse)\+", "", source))
    return packages.address("cargo", [name], version)


def _crate(key: str, needs: Iterable[str], checksum: str) -> Crate:
    name, version = key.split(" ")[:2]
    digest = checksum if re.fullmatch(r"[0-9a-f]{64}", checksum) else ""
    return Crate(name, version, _purl(key), digest, tuple(sorted({_purl(other) for other in needs})))
