"""Reads the manifest that the compile step writes next to each program, and compares it with the tree on disk.

The compile program (docker/compile.rs, `Sources`) and this module must agree on which files belong to a program and
how to record them. A program depends on the files of the packages it was compiled from, and on files outside any
package (migrations, .cargo/config.toml, the workspace's Cargo.toml), but not on files of other packages: an edit
to `api` does not affect `worker`. Cargo.lock is compared separately. For vendored crates, only the list of
checksums is recorded.

A file is recorded as a letter and a digest: `f` for a file, `x` for an executable (sha256 of the content), `l` for a
symlink (sha256 of its target and a newline). The source digest is the sha256 of the lines `LETTERDIGEST PATH`, sorted
bytewise by path.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.core import readfile, shapes
from buildkit_tasks.dockerfiles.ignore import Ignore, walk

#: Path of the manifest in the image's final stage.
PATH = "/usr/local/share/buildkit-tasks/manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The inputs of a program. Paths are relative to the build context."""

    crate: str
    binary: str
    features: tuple[str, ...]
    profile: str
    incremental: bool
    rustflags: str
    toolchain: str
    rustc: str
    host: str
    lock: str
    source: str
    workspace: str
    script: str
    packages: tuple[str, ...]
    files: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """A difference between image and tree. `kind`: added, changed, removed (files); lock, profile, incremental,
    rustflags, toolchain; or unknown (the build could not record its sources)."""

    kind: str
    name: str
    image: str = ""
    tree: str = ""

    def __str__(self) -> str:
        if self.kind in ("added", "changed", "removed"):
            return f"{self.name} was {self.kind} after the build"
        if self.kind == "unknown":
            return self.name
        return f"{self.name}: {self.image or 'none'} in the image, {self.tree or 'none'} now"


def parse(text: str | bytes) -> Manifest:
    """Parse a manifest. Raises `ValueError` if it is invalid or has a format that this version does not support."""
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
        try:
            content: dict[str, Any] = shapes.loads(plain, dict)
        except ValueError as error:
            raise ValueError(f"not a program manifest: {error}") from None
        if content["format"] != _FORMAT:
            raise ValueError(
                f"the manifest has format {content['format']}, but buildkit-tasks expects format {_FORMAT}"
            )
        toolchain = content["toolchain"]
        return Manifest(
            crate=content["crate"],
            binary=content["binary"],
            features=tuple(content["features"]),
            profile=content["profile"],
            incremental=content["incremental"],
            rustflags=content["rustflags"],
            toolchain=toolchain["key"],
            rustc=toolchain["rustc"],
            host=toolchain["host"],
            lock=content["lock"],
            source=content["source"],
            workspace=content["workspace"],
            script=content["script"],
            packages=tuple(content["packages"]),
            files=dict(content["files"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a program manifest: {error!r}") from None


def files(manifest: Manifest, context: Path, dockerfile: Path | None = None) -> tuple[dict[str, str], str]:
    """Return the files that the program would depend on if built now, and the digest of Cargo.lock ("" if missing).

    `dockerfile` selects the .dockerignore. Raises `OSError` for unreadable files, `ValueError` for an invalid
    .dockerignore.
    """
    root = manifest.workspace
    left_out = (manifest.script, _join(root, "target") + "/")  # same as in the compile program
    entries = {
        path: entry
        for path, entry in walk(context, Ignore.of(context, dockerfile))
        if not f"{path}/".startswith((f"{left_out[0]}/", left_out[1])) and (entry.is_symlink() or entry.is_file())
    }
    homes = {posixpath.dirname(path) or "." for path in entries if posixpath.basename(path) == "Cargo.toml"}
    root_manifest = context / _join(root, "Cargo.toml")
    root_is_package = root_manifest.is_file() and any(
        line.strip().startswith("[package]") for line in readfile.text(root_manifest, "replace").splitlines()
    )

    def answers_for(path: str) -> bool:
        if path == _join(root, "Cargo.lock"):
            return False
        home = _owner(path, homes)
        if home is None or home in manifest.packages or path.endswith("/.cargo-checksum.json"):
            return True
        return home == root and (
            not root_is_package or path == _join(root, "Cargo.toml") or path.startswith(_join(root, ".cargo/"))
        )

    found = {path: _written(context / path, entry) for path, entry in entries.items() if answers_for(path)}
    lock = context / _join(root, "Cargo.lock")
    return found, f"sha256:{_sha256(readfile.content(lock))}" if lock.is_file() else ""


def digest(found: Mapping[str, str]) -> str:
    """Return the source digest of files as returned by `files`."""
    ordered = sorted(found.items(), key=lambda item: os.fsencode(item[0]))
    return (
        f"sha256:{_sha256(b''.join(f'{look} '.encode() + os.fsencode(path) + bytes([10]) for path, look in ordered))}"
    )


def compare(
    manifest: Manifest,
    context: Path,
    dockerfile: Path | None = None,
    *,
    profile: str | None = None,
    incremental: bool | None = None,
    rustflags: str | None = None,
    toolchain: str | None = None,
    generated: Sequence[str] = (),
    prepared: bool = False,
    moved: Mapping[str, str] | None = None,
) -> tuple[Difference, ...]:
    """Return the differences between a program's manifest and the tree on disk (and the build arguments, if given).

    No difference means that a build of this tree would use exactly these sources. `generated`: paths that other stages
    of the Dockerfile create, which need not be in the tree. `prepared`: commands may create any file that is not in the
    tree. `moved`: maps files that other stages copy elsewhere to their paths in the tree. Arguments that are None
    are not compared.
    """
    if not manifest.files:
        return (Difference("unknown", "the build could not record its sources because of unusual file names"),)
    found, lock = files(manifest, context, dockerfile)
    if generated:
        below = tuple(f"{path}/" for path in generated)
        made = {p: h for p, h in manifest.files.items() if p in generated or p.startswith(below)}
        found = {**{p: h for p, h in found.items() if p not in generated and not p.startswith(below)}, **made}
    found |= {path: _digest_of(context / source) for path, source in (moved or {}).items()}
    if prepared:
        found = {**manifest.files, **found}
    differences = list(_file_differences(manifest.files, found))
    if not differences and digest(found) != manifest.source:
        differences.append(Difference("unknown", "the manifest is inconsistent", manifest.source, digest(found)))
    wanted = {
        "lock": (_join(manifest.workspace, "Cargo.lock"), manifest.lock, lock),
        "profile": ("profile", manifest.profile, profile),
        "incremental": ("incremental", str(manifest.incremental).lower(), _lower(incremental)),
        "rustflags": ("RUSTFLAGS", manifest.rustflags, rustflags),
        "toolchain": ("toolchain", manifest.toolchain, toolchain),
    }
    differences += [Difference(k, name, was, now) for k, (name, was, now) in wanted.items() if now not in (None, was)]
    return tuple(differences)


def _file_differences(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    for path in sorted(was.keys() | now.keys()):
        if was.get(path) != now.get(path):
            kind = "added" if path not in was else "removed" if path not in now else "changed"
            yield Difference(kind, path, was.get(path, ""), now.get(path, ""))


def _digest_of(path: Path) -> str:
    return f"{'x' if path.stat().st_mode & 0o100 else 'f'}{_sha256(path.read_bytes())}"


def _written(path: Path, entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return f"l{_sha256(os.fsencode(path.readlink()) + bytes([10]))}"
    return _digest_of(path)


def _owner(path: str, homes: set[str]) -> str | None:
    """Return the directory of the nearest Cargo.toml at or above a path."""
    while path != ".":
        path = posixpath.dirname(path) or "."
        if path in homes:
            return path
    return None


def _join(directory: str, name: str) -> str:
    return name if directory == "." else f"{directory}/{name}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lower(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()
