"""Finds out what takes up space in a target mount and what no build needs. Pure: takes a listing.

Only cargo's own records show which files it needs. Each fingerprint lists the fingerprints it depends on, so a walk
from the programs in a profile directory finds all of their inputs. Everything else is left over from an older lock
file, feature set or compiler flag. Age does not matter.
https://doc.rust-lang.org/nightly/nightly-rustc/cargo/core/compiler/fingerprint/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from buildkit_tasks.core import shapes

from .cargo_files import workspace_members
from .mount_listing import Content, Entry

_HASH = re.compile(r"-([0-9a-f]{16})(?=\.|$)")
_CRATE_VERSION = re.compile(r"(?P<name>.+?)-(?P<version>\d+\.\d+\.\d+.*)")

CATEGORIES = ("dependencies", "workspace", "incremental", "stale", "sources", "other")


@dataclass(frozen=True)
class Tree:
    """One of cargo's profile directories, such as `1-0123abcd/target/release`.

    `stale` and `incremental` map deletable paths to their size in bytes; `why_not`: why nothing counts as stale.
    """

    path: str
    base: str
    profile: str
    used: int
    bytes: Mapping[str, int]
    crates: Mapping[str, int]
    stale: Mapping[str, int]
    incremental: Mapping[str, int]
    why_not: str = ""

    @property
    def size(self) -> int:
        """The size in bytes."""
        return sum(self.bytes.values())


@dataclass(frozen=True)
class Inside:
    """The contents of a target mount: its profile directories, and the bytes outside them by category."""

    trees: tuple[Tree, ...]
    outside: Mapping[str, int]
    bases: Mapping[str, int] = field(default_factory=dict)


def take_apart(content: Content) -> Inside:
    """Split a mount into its profile directories, wherever they are, and the rest."""
    roots = sorted(
        e.path.removesuffix("/.fingerprint")
        for e in content.entries
        if e.directory and e.path.endswith("/.fingerprint")
    )
    inner: dict[str, list[Entry]] = {root: [] for root in roots}
    outside: list[Entry] = []
    for entry in content.entries:
        parts = entry.path.split("/")
        root = next((r for n in range(len(parts), 0, -1) if (r := "/".join(parts[:n])) in inner), None)
        (inner[root] if root is not None else outside).append(entry)
    members = workspace_members(content.texts)
    trees = tuple(_tree(root, entries, content.texts, members) for root, entries in inner.items())
    rest = {"sources": 0, "other": 0}
    for entry in outside:
        rest["sources" if re.match(r"[^/]+/src/", entry.path) else "other"] += entry.size
    bases = {e.path.removesuffix(".used"): e.mtime for e in outside if e.path.endswith(".used") and "/" not in e.path}
    return Inside(trees, rest, bases)


@dataclass
class _Unit:
    """One of cargo's units in a profile directory, identified by a hash."""

    package: str
    size: int = 0
    paths: dict[str, int] = field(default_factory=dict)
    prints: set[str] = field(default_factory=set)
    needs: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    readable: bool = True


def _tree(root: str, entries: Sequence[Entry], texts: Mapping[str, str], members: frozenset[str]) -> Tree:
    """Analyze one profile directory."""
    units: dict[str, _Unit] = {}
    sessions: dict[str, list[Entry]] = {}
    programs: dict[int, str] = {}
    linked: dict[int, str] = {}
    counted: set[int] = set()
    other = 0
    prefix = len(root) + 1
    for entry in sorted(entries, key=lambda e: e.path.count("/") == root.count("/") + 1):
        inner = entry.path[prefix:]
        top, _, rest = inner.partition("/")
        size = 0 if entry.inode in counted else entry.size
        if not entry.directory:
            counted.add(entry.inode)
        if top == "incremental" and rest:
            sessions.setdefault(rest.partition("/")[0], []).append(entry)
        elif top in (".fingerprint", "build", "deps") and rest:
            first = rest.partition("/")[0]
            if not (found := _HASH.search(first)):
                other += size
                continue
            unit = units.setdefault(found[1], _Unit(""))
            unit.size += size
            path = f"{root}/{top}/{first}"
            unit.paths[path] = unit.paths.get(path, 0) + size
            if top == ".fingerprint":
                unit.package = first[: found.start()]
                if not entry.directory:
                    _read_print(unit, rest.partition("/")[2], texts.get(entry.path, ""))
            elif top == "deps" and not entry.directory:
                linked[entry.inode] = found[1]
        elif (
            "/" not in inner
            and inner
            and not entry.directory
            and not inner.startswith(".")
            and not inner.endswith(".d")
        ):
            programs[entry.inode] = inner
            other += size
        else:
            other += size
    for unit in units.values():  # an object without a fingerprint can only be identified by its file name
        if not unit.package and unit.paths:
            unit.package = _HASH.sub("", next(iter(unit.paths)).rpartition("/")[2].split(".")[0]).removeprefix("lib")
    live, why_not = _walk(units, {linked[inode] for inode in programs if inode in linked})
    folded = {m.replace("-", "_") for m in members}
    sums = dict.fromkeys(CATEGORIES, 0)
    crates: dict[str, int] = {}
    stale: dict[str, int] = {}
    for key, unit in units.items():
        own = unit.package.replace("-", "_") in folded
        if key in live:
            sums["workspace" if own else "dependencies"] += unit.size
            crates[unit.package] = crates.get(unit.package, 0) + unit.size
        else:
            sums["stale"] += unit.size
            stale.update(unit.paths)
    kept = _sessions(sessions, None if why_not else [c for k in live for c in _crates(units[k])])
    incremental: dict[str, int] = {}
    for name, files in sessions.items():
        place = f"{root}/incremental/{name}"
        current = "" if why_not else _current(files, place)
        for entry in files:
            inner = entry.path[len(place) + 1 :].partition("/")[0]
            if name not in kept:
                path = place
            elif current and inner.startswith("s-") and inner.removesuffix(".lock") + "-" not in current:
                path = f"{place}/{inner}"
            else:
                sums["incremental"] += entry.size
                incremental[place] = incremental.get(place, 0) + entry.size
                continue
            sums["stale"] += entry.size
            stale[path] = stale.get(path, 0) + entry.size
    sums["other"] = other
    base = root.split("/")[0] if "/" in root else ""
    used = max((e.mtime for e in entries), default=0)
    return Tree(root, base, root.rpartition("/")[2], used, sums, crates, stale, incremental, why_not)


def _read_print(unit: _Unit, name: str, text: str) -> None:
    """Read a fingerprint: a file with its hash in hexadecimal (little-endian), or a JSON file that lists its inputs."""
    if name.endswith(".json"):
        try:
            for _, crate, _, number in shapes.loads(text, dict)["deps"]:
                unit.needs.append((str(crate), int(number).to_bytes(8, "little").hex()))
        except (ValueError, KeyError, TypeError, OverflowError):
            unit.readable = False
    elif re.fullmatch(r"[0-9a-f]{16}", text.strip()):
        unit.prints.add(text.strip())
        unit.names.add(name)


def _walk(units: Mapping[str, _Unit], roots: Iterable[str]) -> tuple[set[str], str]:
    """Return the hashes of the units that the programs depend on. If uncertain, return all units and the reason."""
    todo = list(roots)
    if not todo:
        return set(units), "it contains no compiled program" if units else ""
    by_print: dict[str, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    for key, unit in units.items():
        for digest in unit.prints:
            by_print.setdefault(digest, []).append(key)
        by_name.setdefault(unit.package.replace("-", "_"), []).append(key)
        for name in unit.names:
            by_name.setdefault(name.partition("-")[2].replace("-", "_"), []).append(key)
    live: set[str] = set()
    while todo:
        key = todo.pop()
        if key in live:
            continue
        live.add(key)
        unit = units[key]
        if not unit.readable or not unit.prints:
            return set(units), f"cannot read cargo's fingerprint for {unit.package}"
        for crate, digest in unit.needs:
            # If a service is built alone, the others' fingerprints still point to an older state of a shared
            # crate. In that case, any unit with that name may be the right one.
            name = unit.package if crate == "build_script_build" else crate
            found = by_print.get(digest) or by_name.get(name.replace("-", "_"))
            if not found:
                return set(units), f"{unit.package} depends on {crate}, which was not found"
            todo += found
    return live, ""


def _crates(unit: _Unit) -> list[str]:
    """Return the crates that rustc compiled for a unit, from its fingerprint names: `lib-NAME`, `bin-NAME`, …"""
    found = []
    for name in unit.names:
        for kind in ("build-script-", "lib-", "bin-"):
            if name.startswith(kind):
                found.append(name.removeprefix(kind).replace("-", "_"))
                break
    return found


def _sessions(sessions: Mapping[str, Sequence[Entry]], crates: Sequence[str] | None) -> set[str]:
    """Return the incremental directories to keep: the newest per unit of each live crate. `crates`: None keeps all."""
    if crates is None:
        return set(sessions)
    by_crate: dict[str, list[str]] = {}
    for name in sessions:
        by_crate.setdefault(name.rpartition("-")[0], []).append(name)
    kept: set[str] = set()
    for crate, names in by_crate.items():
        names.sort(key=lambda n: -max(e.mtime for e in sessions[n]))
        kept.update(names[: crates.count(crate)])
    return kept


def _current(files: Sequence[Entry], place: str) -> str:
    """Return the newest finished session in a crate's incremental directory: the only one that rustc continues from.

    Sessions are named `s-TIME-RANDOM-HASH`, with the suffix `-working` until they are finished.
    https://github.com/rust-lang/rust/blob/1.80.0/compiler/rustc_incremental/src/persist/fs.rs
    """
    names = {e.path[len(place) + 1 :].partition("/")[0] for e in files}
    done = [n for n in names if n.startswith("s-") and n.count("-") >= 3 and not n.endswith("-working")]
    return max(done, default="") and max(done) + "-"


def summary(inside: Inside, largest: int = 5) -> dict[str, object]:
    """Return a summary for users and JSON: bytes by category for each profile directory, and the largest crates."""
    crates: dict[str, int] = {}
    for tree in inside.trees:
        for crate, bytes_ in tree.crates.items():
            crates[crate] = crates.get(crate, 0) + bytes_
    top = sorted(crates.items(), key=lambda item: -item[1])[:largest]
    trees: list[dict[str, object]] = [
        {"name": t.path, "profile": t.profile, "bytes": dict(t.bytes), "note": t.why_not} for t in inside.trees
    ]
    if any(inside.outside.values()):
        trees.append({"name": "outside", "profile": None, "bytes": dict(inside.outside), "note": ""})
    return {"trees": trees, "largest": [{"crate": c, "bytes": b} for c, b in top]}
