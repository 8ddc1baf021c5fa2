"""Build cache records: what BuildKit keeps, which of it is provably this project's, what may go. Pure.

Text form of `docker buildx du --verbose`, the only one that buildx 0.13 has:
https://github.com/docker/buildx/blob/v0.13.1/commands/diskusage.go
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_UNITS = {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}
_MOUNT_ID = re.compile(r'^cached mount (?P<target>\S+) from exec .* with id "(?P<id>[^"]*)"', re.DOTALL)


@dataclass(frozen=True)
class Record:
    """One record. `size` in bytes, as precise as buildx prints it; `idle` seconds since its last use.

    `mount_id` and `mount_target` are set for a cache mount (BuildKit >= 0.12 names them).
    """

    id: str
    parents: tuple[str, ...]
    size: int
    idle: float
    description: str
    reclaimable: bool
    shared: bool
    usage: int = 0
    mount_id: str = ""
    mount_target: str = ""


def size(text: str) -> int:
    """`54.38MB` in bytes (decimal units, as buildx prints them)."""
    found = re.match(r"([\d.]+)\s*([kKMGT]?B)", text.strip())
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0


def age(text: str) -> float:
    """`6 minutes ago`, `About an hour ago` in seconds; 0 for what cannot be read (= just used: nothing is deleted)."""
    found = re.search(r"(\d+|an?|less than a)\s+(second|minute|hour|day|week|month|year)s?", text, re.IGNORECASE)
    if not found:
        return 0.0
    count = int(found[1]) if found[1].isdigit() else 1
    return float(count * _SECONDS[found[2].lower()])


def duration(text: str) -> float:
    """`14d`, `12h`, `30m` in seconds. Raises ValueError."""
    found = re.fullmatch(r"(\d+)\s*([smhdw])", text.strip())
    if not found:
        raise ValueError(text)
    return float(int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]])


def parse(text: str) -> tuple[Record, ...]:
    """The records in the output of `docker buildx du --verbose`."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        values: dict[str, str] = {}
        parents: list[str] = []
        key = ""
        for line in paragraph.splitlines():
            match = re.match(r"^([A-Z][A-Za-z ]*):\t+(.*)$", line)
            if match:
                key = match[1]
                values[key] = match[2]
            elif key == "Parents" and line.strip().startswith("- "):
                parents.append(line.strip()[2:].strip())
            elif re.match(r"^Parents:\s*$", line):
                key = "Parents"
            elif key == "Description":
                values[key] += "\n" + line
        if "ID" not in values or "Size" not in values:
            continue
        if values.get("Parent"):
            parents.append(values["Parent"])
        description = values.get("Description", "")
        mount = _MOUNT_ID.match(description)
        found.append(
            Record(
                id=values["ID"],
                parents=tuple(parents),
                size=size(values["Size"]),
                idle=age(values.get("Last used", "")),
                description=description,
                reclaimable=values.get("Reclaimable") == "true",
                shared=values.get("Shared") == "true",
                usage=int(values.get("Usage count") or 0),
                mount_id=mount["id"] if mount else "",
                mount_target=mount["target"] if mount else "",
            )
        )
    return tuple(found)


def belonging(records: Iterable[Record], scope: str) -> tuple[Record, ...]:
    """The records that are provably this project's.

    A mount is ours by its id; a layer by a path that carries the scope (the Dockerfile's `/out/SCOPE/…`), or
    because it stands on such a layer. A layer without either may be another project's and is never claimed.
    """
    everything = list(records)
    # The whole id, not a prefix: `shop-admin-target-amd64` belongs to the project shop-admin.
    mount = re.compile(rf"{re.escape(scope)}-(?:cargo-registry|cargo-git|target-[a-z0-9]+)")
    path = re.compile(rf"/out/{re.escape(scope)}(?![\w.-])")
    ours = {r.id for r in everything if mount.fullmatch(r.mount_id) or path.search(r.description)}
    while True:
        more = {r.id for r in everything if r.id not in ours and ours.intersection(r.parents)}
        if not more:
            return tuple(r for r in everything if r.id in ours)
        ours |= more


def prunable(records: Sequence[Record], *, older: float, keep: int) -> tuple[Record, ...]:
    """Of our records those to delete: idle for `older` seconds, or the least recently used beyond `keep` bytes.

    Never a record in use or one that an image shares. Mounts go last: they cost minutes to make again, a layer seconds.
    """
    free = [r for r in records if r.reclaimable and not r.shared]
    going = {r.id for r in free if r.idle >= older}
    if keep:
        left = sum(r.size for r in records if r.id not in going)
        for record in sorted(free, key=lambda r: (bool(r.mount_id), -r.idle)):
            if left <= keep:
                break
            if record.id not in going:
                going.add(record.id)
                left -= record.size
    return tuple(r for r in records if r.id in going)


def human(amount: float) -> str:
    """Bytes for people, decimal units."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= factor:
            return f"{amount / factor:.1f} {unit}"
    return f"{amount:.0f} B"
