"""Caches that travel: what a pack is called, what it is good for, whether it pays. Pure.

A pack is an image of one layer per part. Nothing in it is trusted for being there: cargo compares every unit with its
own fingerprint. What a pack is *called* only decides how useful it will be; what it *says* of its toolchain decides
whether it may be unpacked at all, because cargo does not look at the system's libraries.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Problem

#: Of the pack's content; packs of another format are not looked at.
FORMAT = 3

#: The label that carries what a pack says of itself, as JSON.
LABEL = "buildkit-tasks.pack"

SCOPES = ("deps", "all")

#: Kinds of parts in the order of their layers: what changes least comes first. A kind may have several: deps-1, deps-2.
PARTS = ("registry", "git", "deps", "rest")

#: Bytes a second (not compressed) at which a pack is fetched and unpacked, for the break-even. `nox -s bench_travel`
#: saw 1,011 MB in 4.1 s, builds starting included, with a registry on the same machine.
RESTORE_RATE = 150e6


@dataclass(frozen=True)
class Wanted:
    """Which mounts and which repository; what is empty is decided by the settings and the engine."""

    ref: str = ""
    platform: str = ""
    profile: str = ""
    scope: str = ""
    builder: str = ""
    progress: str = "auto"


@dataclass(frozen=True)
class Facts:
    """What travel.sh found. `toolchain` is the compile program's key; seconds of wall time.

    `form`: how this image compresses, zst or gz. `parts`: bytes of each part's file, before compression.
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
        """Of all parts, not compressed."""
        return sum(self.parts.values())


def read_facts(text: str, packages: str) -> Facts:
    """The facts as travel.sh writes them, `name=value` a line, and the system's packages, `name version` a line."""
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
    """Where a part's layer stands among the others."""
    return PARTS.index(file.partition(".")[0].partition("-")[0]), file


def family(scope: str, platform: str, profile: str) -> str:
    """The first half of a tag: what kind of pack, for which platform (`linux/arm64` or `arm64`) and profile."""
    return "-".join((scope, _word(platform.removeprefix("linux/")), _word(profile)))


def newest_tag(scope: str, platform: str, facts: Facts) -> str:
    """The tag that moves: the newest pack of a toolchain."""
    return f"{family(scope, platform, facts.profile)}-{_word(facts.toolchain)}"


def exact_tag(scope: str, platform: str, facts: Facts) -> str:
    """The tag of everything that makes the units valid: toolchain, lock file, manifests, compiler flags, format."""
    inputs = (FORMAT, facts.toolchain, facts.host, facts.profile, facts.rustflags, facts.lock, facts.manifests)
    digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    return f"{newest_tag(scope, platform, facts)}-{digest}"


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9_.]", "_", text.lower())[:40]


def label(facts: Facts, scope: str, platform: str, created: str) -> str:
    """What the pack says of itself, for the label."""
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
    """What a pack says of itself; None for an image that is no pack, or one of a format that we do not know."""
    try:
        content = json.loads(labels.get(LABEL, ""))
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.get("format") == FORMAT else None


def objections(said: Mapping[str, Any], facts: Facts, limit: int) -> list[str]:
    """Why a pack may not be unpacked here, whatever its tag; `limit` in bytes."""
    found = []
    if said.get("toolchain") != facts.toolchain:
        found.append(f"it was made with another toolchain or other system libraries ({said.get('rustc')})")
    if said.get("profile") != facts.profile:
        found.append(f"it was made for the profile {said.get('profile')}")
    if said.get("form") == "zst" and facts.form != "zst":
        found.append("it is compressed with zstd, which the toolchain image here does not have")
    size = sum(int(n) for n in (said.get("parts") or {}).values())
    if size > limit:
        found.append(f"it takes {size / 1e9:.1f} GB, the setting remote_cache_limit allows {limit / 1e9:.1f} GB")
    return found


def other_toolchains(tags: Iterable[str], scope: str, platform: str, facts: Facts) -> tuple[str, ...]:
    """Moving tags of the same kind of pack made with other toolchains."""
    start = f"{family(scope, platform, facts.profile)}-"
    return tuple(
        tag
        for tag in tags
        if tag.startswith(start) and "-" not in tag[len(start) :] and tag != newest_tag(scope, platform, facts)
    )


def differences(theirs: Mapping[str, Any], ours: Facts, most: int = 5) -> list[str]:
    """What of the toolchain image differs from ours, in words: the compiler first, then packages."""
    found = []
    if theirs.get("rustc") != ours.rustc:
        found.append(f"compiler: {theirs.get('rustc')} there, {ours.rustc} here")
    there = dict(line.split(" ", 1) for line in theirs.get("packages") or () if " " in line)
    here = dict(line.split(" ", 1) for line in ours.packages if " " in line)
    names = sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n))
    found += [f"{n}: {there.get(n, 'absent')} there, {here.get(n, 'absent')} here" for n in names[:most]]
    if len(names) > most:
        found.append(f"and {len(names) - most} more packages")
    if not found:
        found.append("the same compiler and packages, but other files in /usr: the images were built apart")
    return found


@dataclass(frozen=True)
class Economy:
    """Whether a pack pays: it does if who restores it waits for less than compiling takes. Seconds and bytes."""

    bytes: int
    save: float
    restore: float
    compile: float

    @property
    def pays(self) -> bool:
        """True when the very first use already wins back what saving took."""
        return self.save + self.restore < self.compile

    @property
    def words(self) -> str:
        """One line with the three figures."""
        return f"save {self.save:.1f} s + restore about {self.restore:.1f} s, against {self.compile:.1f} s of compiling"


def economy(facts: Facts, save: float) -> Economy:
    """The break-even of a pack; two seconds of a restore are builds starting."""
    return Economy(facts.bytes, save, 2 + facts.bytes / RESTORE_RATE, facts.compile_seconds)


@dataclass(frozen=True)
class Listed:
    """A pack as it is listed: one manifest, all its tags. Bytes as stored, compressed."""

    digest: str
    tags: tuple[str, ...]
    bytes: int
    created: str
    said: Mapping[str, Any]


def expired(found: Sequence[Listed], keep: int, before: str) -> list[Listed]:
    """Packs beyond the newest `keep` of their kind, and older than the time `before` (ISO 8601, UTC)."""
    going: list[Listed] = []
    groups: dict[tuple[Any, ...], list[Listed]] = {}
    for item in sorted(found, key=lambda i: i.created, reverse=True):
        kind = tuple(item.said.get(n) for n in ("scope", "platform", "profile"))
        groups.setdefault(kind, []).append(item)
    for items in groups.values():
        going += [item for item in items[keep:] if item.created < before]
    return going


# ---- the Dockerfiles of the three short builds


#: Names of the build context and of the stage that holds what the script leaves: facts, and the parts of a pack.
SCRIPTS = "buildkit-tasks-travel"
LEFT_STAGE = "buildkit-tasks-left"

_OUT = "/buildkit-tasks-travel"
_PACK = "/run/buildkit-tasks-pack"
_COMPILE = re.compile(r"(?P<script>\S*/compile) build\b")


def command_for(compile_command: str, words: Sequence[str], nonce: str) -> str:
    """The shell text that takes the place of a compile step's command. Raises `Problem` cache-missing."""
    found = _COMPILE.search(compile_command)
    if not found:
        raise Problem(
            "cache-missing",
            "The compile step does not use the compile program, so nobody can tell what of its mount is whole.",
            hint="docs/how-to/adopt.md shows how to take the compile program over",
        )
    verb, *rest = words
    return f": {nonce}; sh /run/{SCRIPTS}/travel.sh {verb} {found['script']} {' '.join(rest)}".rstrip()


def mounts(pack: str = "") -> str:
    """Flags of the mounts that the script needs besides those of the compile step."""
    flags = f"--mount=type=bind,from={SCRIPTS},target=/run/{SCRIPTS} --mount=type=tmpfs,target=/tmp"
    return f"{flags} --mount=type=bind,from={pack},target={_PACK}" if pack else flags


def output_stage(stage: str) -> str:
    """A stage at the end of the Dockerfile that holds what the script leaves, and nothing else."""
    return f"\nFROM scratch AS {LEFT_STAGE}\nCOPY --from={stage} {_OUT}/ /\n"
