"""Build cache records: what BuildKit keeps, which project it belongs to, what can be deleted. Pure.

Parses both formats of `docker buildx du`: JSON lines (buildx >= 0.29) and the older `--verbose` text:
https://github.com/docker/buildx/blob/v0.13.1/commands/diskusage.go
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from buildkit_tasks.core import shapes
from buildkit_tasks.core.model import Result
from buildkit_tasks.core.units import age, size
from buildkit_tasks.dockerfiles.mount_ids import attribute

_MOUNT_ID = re.compile(r'^cached mount (?P<target>\S+) from exec .* with id "(?P<id>[^"]*)"', re.DOTALL)

LAYERS = "layers"


@dataclass(frozen=True)
class Record:
    """One record. `size` in bytes, as precise as printed by buildx (4 digits); `idle`: seconds since its last use.

    `mount_id`, `mount_namespace` and `mount_target` are set for a cache mount (BuildKit >= 0.12 lists them).
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
    mount_namespace: str = ""

    @property
    def is_mount(self) -> bool:
        """True for a cache mount, False for a layer or a copy of a build context."""
        return bool(self.mount_id)


@dataclass(frozen=True)
class Mount:
    """All records of one mount id: normally one; BuildKit creates another if two builds use the id at the same time."""

    id: str
    namespace: str
    kind: str
    project: str
    platform: str
    target: str
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """Namespace and id, joined as in BuildKit."""
        return f"{self.namespace}/{self.id}" if self.namespace else self.id

    @property
    def size(self) -> int:
        """The size of all its records in bytes."""
        return sum(r.size for r in self.records)

    @property
    def measured(self) -> bool:
        """False if BuildKit does not currently know the size: it reports 0 B during and shortly after a build.

        An empty mount still has the size of its directory.
        """
        return all(r.size for r in self.records)

    @property
    def idle(self) -> float:
        """Seconds since any of its records was last used."""
        return min(r.idle for r in self.records)

    @property
    def usage(self) -> int:
        """How many times builds used it."""
        return sum(r.usage for r in self.records)

    @property
    def in_use(self) -> bool:
        """True while a running build uses one of its records."""
        return any(not r.reclaimable for r in self.records)


def parse(text: str) -> tuple[Record, ...]:
    """Parse the output of `docker buildx du`, JSON lines or `--verbose` text. Raises ValueError."""
    if text.lstrip().startswith("{"):
        listed = "\n".join(line for line in text.split("\n") if line.startswith("{"))
        shape = {"ID": str, "Parents": [str], "Description": str, "LastUsedAt": str, "UsageCount": int}
        return tuple(_record(entry) for entry in shapes.objects(listed, shape, needs=("ID",)))
    return _distinct(_record(v) for v in _paragraphs(text) if "ID" in v and "Size" in v)


def _distinct(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return records without duplicates. If two have the same id, one of them is only text in a description (another
    project's here-document): the id then belongs to nobody, so it is never deleted by mistake.
    """
    found: dict[str, Record] = {}
    for record in records:
        if record.id in found:
            found[record.id] = replace(
                record, description="", parents=(), mount_id="", mount_target="", mount_namespace=""
            )
        else:
            found[record.id] = record
    return tuple(found.values())


def read(result: Result) -> tuple[Record, ...]:
    """Return the records listed by `docker buildx du`. Raises `Problem` answer-invalid."""
    try:
        return parse(result.stdout)
    except ValueError as error:
        raise shapes.invalid(result, error) from None


def _paragraphs(text: str) -> Iterable[dict[str, Any]]:
    """Yield the `key: value` paragraphs of the text format, with the keys of the JSON format."""
    names = {"UsageCount": "Usage count", "LastUsedAt": "Last used"}
    for paragraph in _split_lines(text.split("\n")):
        values: dict[str, Any] = {}
        parents: list[str] = []
        description: list[str] = []
        key = ""
        for line in paragraph:
            match = re.match(r"^([A-Z][A-Za-z ]*):[\t ]+(.*)$", line)
            if match and match[1] in (_AFTER if "Description" in values else _KEYS):
                key = match[1]
                values[key] = match[2]
            elif key == "Parents" and line.strip().startswith("- "):
                parents.append(line.strip()[2:].strip())
            elif "Description" not in values and re.match(r"^Parents:\s*$", line):
                key = "Parents"
            elif key == "Description":
                description.append(line)
        if description:
            values["Description"] = "\n".join((values["Description"], *description)).rstrip("\n")
        if values.get("Parent"):
            parents.append(values["Parent"])
        if isinstance(listed := values.get("Parents"), str):
            parents += listed.replace(",", " ").split()
        for wanted, found in names.items():
            values[wanted] = values.get(found, "")
        values["Parents"] = parents
        yield values


def _split_lines(lines: Iterable[str]) -> Iterator[list[str]]:
    """Split at blank lines, but not in a description (a here-document): only a new record or the summary ends it."""
    paragraph: list[str] = []
    blank = False
    for line in lines:
        if blank and line.startswith(("ID:", "Shared:", "Private:", "Reclaimable:", "Total:")):
            yield paragraph
            paragraph = []
        blank = not line.strip()
        paragraph.append(line.rstrip("\r"))
    yield paragraph


#: A description may have many lines, some of which look like keys. It ends only at one of these keys.
_AFTER = {"Usage count", "Last used", "Type"}
_KEYS = {"ID", "Parent", "Parents", "Created at", "Mutable", "Reclaimable", "Shared", "Size", "Description"} | _AFTER


def _record(values: Mapping[str, Any]) -> Record:
    description = str(values.get("Description") or "")
    mount = _MOUNT_ID.match(description)
    namespace, identity = _split(mount["id"]) if mount else ("", "")
    return Record(
        id=str(values["ID"]),
        parents=tuple(values.get("Parents") or ()),
        size=size(str(values.get("Size") or "")),
        idle=age(str(values.get("LastUsedAt") or "")),
        description=description,
        reclaimable=str(values.get("Reclaimable")).lower() == "true",
        shared=str(values.get("Shared")).lower() == "true",
        usage=_count(values.get("UsageCount")),
        mount_id=identity,
        mount_target=mount["target"] if mount else "",
        mount_namespace=namespace,
    )


def _count(value: object) -> int:
    text = str(value or 0)
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else 0


def _split(name: str) -> tuple[str, str]:
    """Split a namespace and id joined by BuildKit with a slash. A mount without an id uses its target (`/…`) as its id.

    https://github.com/moby/buildkit/blob/v0.13.0/frontend/dockerfile/dockerfile2llb/convert_runmount.go
    """
    if "//" in name:
        namespace, _, rest = name.partition("//")
        return namespace, "/" + rest
    namespace, _, rest = name.partition("/")
    return (namespace, rest) if rest else ("", name)


def mounts(records: Iterable[Record]) -> tuple[Mount, ...]:
    """Return the cache mounts among the records, one per namespace and id, largest first."""
    grouped: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.is_mount:
            grouped.setdefault((record.mount_namespace, record.mount_id), []).append(record)
    found = []
    for (namespace, identity), group in grouped.items():
        target = group[0].mount_target
        found.append(Mount(identity, namespace, *attribute(identity, target), target, tuple(group)))
    return tuple(sorted(found, key=lambda m: (-m.size, m.name)))
