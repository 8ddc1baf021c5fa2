"""Packs of compiled crates: their descriptions, where they can be used, and whether they pay off. Pure.

A pack is an image with one layer per part. Its contents are not trusted: cargo checks every unit against its own
fingerprint. A pack's *key* (keys.py) only predicts how useful it will be; its *description* of the toolchain decides
whether it can be unpacked at all, because cargo does not check the system's libraries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildkit_tasks.core import units
from buildkit_tasks.registry import reader as registry_reader
from buildkit_tasks.registry.names import Digest, Malformed, Tag, printable

#: Format version of the pack's content; packs with any other version are ignored.
FORMAT = 3

#: The image label that contains the pack's description as JSON.
LABEL = "buildkit-tasks.pack"

SCOPES = ("deps", "all")

#: The scope in the names of packs of cargo tasks' volumes.
CARGO = "cargo"

#: Kinds of parts in layer order, least frequently changed first. A kind may have multiple parts: deps-1, deps-2.
PARTS = ("registry", "git", "deps", "rest")

#: Text fields of a pack's description, and the allowed names of its parts.
_WORDS = ("scope", "platform", "created", "toolchain", "rustc", "host", "profile", "rustflags", "lock", "form")
_PART = re.compile(rf"({'|'.join(PARTS)})(-[0-9]{{1,3}})?\.tar\.(zst|gz)")

#: Maximum number of parts in a pack; ours have seven.
MOST_PARTS = 32

#: Estimated bytes per second (uncompressed) for fetching and unpacking a pack, to compute the break-even. `nox -s
#: bench_travel` measured 1,011 MB in 4.1 s, including the start of builds, with a registry on the same machine.
RESTORE_RATE = 150e6


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The mounts and repository to use; empty fields are filled from the settings and the engine."""

    ref: str = ""
    platform: str = ""
    profile: str = ""
    scope: str = ""
    builder: str = ""
    progress: str = "auto"


@dataclass(frozen=True)
class Facts:
    """The facts reported by travel.sh. `toolchain`: the key used by the compile program; times in wall-clock seconds.

    `form`: the compression used by the image, zst or gz. `parts`: the size of each part before compression, in bytes.
    """

    toolchain: str
    rustc: str
    host: str
    profile: str
    rustflags: str
    lock: str
    manifests: str
    units: int
    crates: int
    form: str = ""
    packages: tuple[str, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    packed_units: int = 0
    compile_seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """The uncompressed size of all parts."""
        return sum(self.parts.values())


def read_facts(text: str, packages: str) -> Facts:
    """Parse the output of travel.sh: `name=value` lines, and the system's packages as `name version` lines."""
    values: dict[str, str] = {}
    parts: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "part":
            file, size, _ = value.split()
            parts[file] = int(size)
        else:
            values[name] = value
    return Facts(
        **{n: values[n] for n in ("toolchain", "rustc", "host", "profile", "rustflags", "lock", "manifests", "form")},
        units=int(values["units"]),
        crates=int(values["crates"]),
        packages=tuple(packages.splitlines()),
        parts={file: parts[file] for file in sorted(parts, key=_layer)},
        packed_units=int(values.get("packed_units") or 0),
        compile_seconds=float(values.get("compile_seconds") or 0),
    )


def _layer(file: str) -> tuple[int, str]:
    """Return the position of a part's layer."""
    return PARTS.index(file.partition(".")[0].partition("-")[0]), file


def label(facts: Facts, scope: str, platform: str, created: str) -> str:
    """Return the pack's description, for the label."""
    content = {
        "format": FORMAT,
        "scope": scope,
        "platform": platform,
        "created": created,
        "toolchain": facts.toolchain,
        "rustc": facts.rustc,
        "host": facts.host,
        "profile": facts.profile,
        "rustflags": facts.rustflags,
        "lock": facts.lock,
        "form": facts.form,
        "units": facts.packed_units,
        "crates": facts.crates,
        "compile_seconds": facts.compile_seconds,
        "parts": dict(facts.parts),
        "packages": list(facts.packages),
    }
    return json.dumps(content, separators=(",", ":"))


def read_label(labels: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Parse a pack's description. Return None if the image is not a pack or has an unknown format.

    Raises `Malformed` if the description is malformed.
    """
    if LABEL not in labels:
        return None
    try:
        content = registry_reader.document(labels[LABEL].encode(), "pack")
    except Malformed:
        return None
    if content.get("format") != FORMAT:
        return None
    said: dict[str, Any] = {"format": FORMAT}
    for name in _WORDS:
        said[name] = printable(registry_reader.text(content.get(name), f"pack: {name}"))
    for name in ("units", "crates"):
        said[name] = registry_reader.size(content.get(name), f"pack: {name}")
    seconds = content.get("compile_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e9:
        raise Malformed(f"pack: compile_seconds is {printable(seconds, 40)!r}")
    said["compile_seconds"] = seconds
    parts = registry_reader.mapping(content.get("parts"), "pack: parts")
    if len(parts) > MOST_PARTS:
        raise Malformed(f"pack: {len(parts)} parts")
    if wrong := [name for name in parts if not _PART.fullmatch(name)]:
        raise Malformed(f"pack: {printable(wrong[0], 40)!r} is not a valid part name")
    said["parts"] = {name: registry_reader.size(value, f"pack: {name}") for name, value in parts.items()}
    packages = registry_reader.sequence(content.get("packages"), "pack: packages", most=50_000)
    said["packages"] = [printable(registry_reader.text(line, "pack: packages")) for line in packages]
    return said


def objections(said: Mapping[str, Any], facts: Facts, limit: int) -> list[str]:
    """Return reasons why a pack must not be unpacked here, regardless of its tag; `limit` in bytes."""
    found = []
    if said.get("toolchain") != facts.toolchain:
        found.append(
            f"the pack was built with a different toolchain or different system libraries ({said.get('rustc')})"
        )
    if said.get("profile") != facts.profile:
        found.append(f"the pack was built for the profile {said.get('profile')}")
    if said.get("form") == "zst" and facts.form != "zst":
        found.append("the pack is compressed with zstd, but the local toolchain image has no zstd")
    size = sum(said["parts"].values())
    if size > limit:
        found.append(f"the pack is {units.human(size)}, which exceeds packs.limit ({units.human(limit)})")
    return found


def differences(theirs: Mapping[str, Any], ours: Facts, most: int = 5) -> list[str]:
    """Return how the pack's toolchain image differs from the local one, in words: compiler first, then packages."""
    found = []
    if theirs.get("rustc") != ours.rustc:
        found.append(f"compiler: {theirs.get('rustc')} in the pack, {ours.rustc} here")
    there = dict(line.split(" ", 1) for line in theirs["packages"] if " " in line)
    here = dict(line.split(" ", 1) for line in ours.packages if " " in line)
    names = sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n))
    found += [f"{n}: {there.get(n, 'absent')} in the pack, {here.get(n, 'absent')} here" for n in names[:most]]
    if len(names) > most:
        found.append(f"and {units.counted(len(names) - most, 'more package')}")
    if not found:
        found.append(
            "the compiler and packages are the same, but files in /usr differ, because the images were built separately"
        )
    return found


@dataclass(frozen=True)
class Economy:
    """Whether a pack pays off: restoring it must be faster than compiling. In seconds and bytes."""

    bytes: int
    save: float
    restore: float
    compile: float

    @property
    def pays(self) -> bool:
        """Whether the first use already makes up for the time spent saving the pack."""
        return self.save + self.restore < self.compile

    @property
    def words(self) -> str:
        """The figures in one line."""
        return (
            f"saving takes {self.save:.1f} s and restoring about {self.restore:.1f} s; compiling takes "
            f"{self.compile:.1f} s"
        )


def economy(facts: Facts, save: float) -> Economy:
    """Return the break-even of a pack; restoring includes two seconds to start builds."""
    return Economy(facts.bytes, save, 2 + facts.bytes / RESTORE_RATE, facts.compile_seconds)


@dataclass(frozen=True)
class Listed:
    """A pack in the list: a manifest and all its tags. `bytes`: the compressed size in the registry."""

    digest: Digest
    tags: tuple[Tag, ...]
    bytes: int
    created: str
    said: Mapping[str, Any]


def expired(found: Sequence[Listed], keep: int, before: str) -> list[Listed]:
    """Return the packs older than `before` (ISO 8601, UTC), except the newest `keep` of each kind."""
    going: list[Listed] = []
    groups: dict[tuple[Any, ...], list[Listed]] = {}
    for item in sorted(found, key=lambda i: i.created, reverse=True):
        kind = tuple(item.said.get(n) for n in ("scope", "platform", "profile", "flag"))
        groups.setdefault(kind, []).append(item)
    for items in groups.values():
        going += [item for item in items[keep:] if item.created < before]
    return going


# ---- the Dockerfiles of the three short builds


#: Names of the build contexts that contain the scripts and the pack, and of the stage with the script's output. The
#: pack is a build context, to keep text from a registry out of the Dockerfile.
SCRIPTS = "buildkit-tasks-travel"
PACK = "buildkit-tasks-pack"
LEFT_STAGE = "buildkit-tasks-left"

#: The program that travel.sh uses to unpack and check. Compiled in a separate step, which is cached and runs while a
#: pack is being fetched. Not optimized: that took 1.5 s longer (rustc 1.95) and saved 0.15 s per 10,000 files.
_UNPACKER = f"rustc --edition 2021 -o /buildkit-tasks-unpack /run/{SCRIPTS}/unpack.rs"

OUT = "/buildkit-tasks-travel"
MOUNTED = "/run/buildkit-tasks-pack"
_MOUNT = "/run/buildkit-tasks-mount"
_COMPILE = re.compile(r"(?P<script>\S*/compile) build\b")
