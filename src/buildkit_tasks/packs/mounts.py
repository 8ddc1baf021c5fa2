"""Finds the cache mounts of other tools (npm, pip, apt, go, ccache …) that can be shared, and describes their packs.

A pack of a mount is an image with one layer. Its key (keys.py) is a hash of the files that determine what the tool
writes to the mount, such as a lock file. Package managers verify the contents of their caches, so a pack of a different
state is also useful, and the newest one is the fallback.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles import mount_ids, platforms, syntax
from buildkit_tasks.dockerfiles import mounts as run_mounts
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project
from buildkit_tasks.registry import reader as registry_reader
from buildkit_tasks.registry.names import Malformed, printable

#: The image label that contains the description of a mount's pack as JSON, and the format of its content.
LABEL = "buildkit-tasks.mount"
FORMAT = 1

#: The first word in the tags of these packs, and their scope in lists.
SCOPE = "mount"

_ID = re.compile(r"[\w./:@+=-]{1,500}", re.ASCII)
_PART = re.compile(r"mount\.tar\.(zst|gz)")


@dataclass(frozen=True)
class Carried:
    """A cache mount of another tool. `options`: the other options that determine which mount BuildKit opens, and how.

    `steps`: the RUN instructions that use it; `context` and `copied`: where its key files may be.
    """

    id: str
    kind: str
    options: Mapping[str, str]
    services: tuple[str, ...]
    steps: tuple[str, ...] = field(repr=False)
    context: Path | None
    copied: tuple[str, ...] = field(repr=False)

    @property
    def flag(self) -> str:
        """The value of `--mount`, without type and target."""
        return ",".join(f"{name}={value}" for name, value in {"id": self.id, **self.options}.items())


@dataclass(frozen=True)
class Packed:
    """The facts that mount.sh reports: compression, number of entries, bytes before compression."""

    form: str
    entries: int
    bytes: int

    @property
    def part(self) -> str:
        """The name of the only part."""
        return f"mount.tar.{self.form}"


def declared(project: Project, platform: str) -> tuple[Carried, ...]:
    """Return the cache mounts of all services' Dockerfiles for one platform, except those that the compile step uses.

    Like BuildKit, skips the stages that a service's target does not need.
    """
    found: dict[tuple[str, str], Carried] = {}
    for service in project.workspace.services:
        file = sources.known(service)
        args = {**syntax.defaults(file.text), **platforms.arguments(project.engine, platform), **service.args}
        needed = {stage.number for stage in file.needs(service.args, service.target, tuple(service.contexts)).stages}
        number = -1
        for item in file.items:
            number += item.keyword == "FROM"
            for mount in run_mounts.run_mounts(item) if number in needed else ():
                one = _carried(service, mount, args, item.rest) if mount.type == "cache" else None
                if one is None:
                    continue
                known = found.get((one.id, one.flag))
                found[one.id, one.flag] = _joined(known, one) if known else one
    return tuple(found.values())


def _carried(service: Service, mount: run_mounts.Mount, args: Mapping[str, str], step: str) -> Carried | None:
    """Describe the mount. Return None if the project's own packs contain it."""
    value = {name: syntax.expand(text, args, keep=True) for name, text in mount.options.items()}
    expanded = run_mounts.Mount(value, mount.line)
    identity = expanded.identity
    kind, project, _ = mount_ids.attribute(identity, expanded.target)
    if project:
        return None
    options: dict[str, str] = {
        name: value[name] for name in ("sharing", "uid", "gid", "mode", "from", "source") if name in value
    }
    local = None if service.remote else service.context
    copied = tuple(_copied(service))
    return Carried(identity, kind, options, (service.name,), (step,), local, copied)


def _joined(one: Carried, other: Carried) -> Carried:
    return replace(
        one,
        services=tuple(dict.fromkeys((*one.services, *other.services))),
        steps=tuple(dict.fromkeys((*one.steps, *other.steps))),
        copied=tuple(dict.fromkeys((*one.copied, *other.copied))),
    )


def _copied(service: Service) -> Iterable[str]:
    """Yield paths that the Dockerfile copies or mounts from its context."""
    for item in sources.known(service).items:
        options, rest = syntax.flags(item)
        if item.keyword in ("COPY", "ADD") and "from" not in options:
            yield from syntax.words(rest)[:-1]
        for mount in run_mounts.run_mounts(item):
            if mount.type == "bind" and "from" not in mount.options:
                yield mount.options.get("source") or mount.options.get("src") or mount.target


def choose(found: Sequence[Carried], wanted: Sequence[str], platform: str) -> tuple[Carried, ...]:
    """Return the mounts with these ids, or of these kinds. Problems: bad-argument, cache-missing."""
    chosen: dict[str, Carried] = {}
    for word in wanted:
        matching = [one for one in found if word in (one.id, one.kind)]
        if not matching:
            others = ", ".join(f"{one.id} ({one.kind})" for one in found)
            cause = f"the project's other cache mounts: {others}" if others else "the project has no other cache mounts"
            raise Problem(
                "cache-missing",
                f"No Dockerfile in this project has a cache mount named {word!r} that can be shared.",
                causes=[cause],
                hint="to share compiled Rust code, run `invoke cache.push` without --mount",
            )
        for one in matching:
            chosen[one.flag] = _checked(one, platform)
    return tuple(chosen.values())


def _checked(one: Carried, platform: str) -> Carried:
    """Return the mount if it can be opened from another Dockerfile. Raises `Problem` bad-argument."""
    options, reason, hint = one.options, "", "change the --mount option in the Dockerfile"
    if "$" in one.flag:
        reason = f"the options depend on a variable whose value for {platform} is known only during the build"
        hint = "set a fixed id: --mount=type=cache,id=NAME,target=…"
    elif not _ID.fullmatch(one.id):
        reason = "the id contains unusual characters"
        hint = "use only letters, digits and _ . / : @ + = - in the id"
    elif "from" in options or "source" in options:
        reason = "the mount starts with files from an image (from=…), so the image is part of the mount's identity"
        hint = "remove `from=` from the mount, or omit the mount from --mount and packs.mounts"
    elif not re.fullmatch(r"(shared|locked|private)?", options.get("sharing", "")) or not all(
        re.fullmatch(r"[0-7]{0,9}" if name == "mode" else r"[0-9]{0,9}", options.get(name, ""))
        for name in ("uid", "gid", "mode")
    ):
        reason = f"the options are invalid: {printable(one.flag)}"
    if reason:
        raise Problem(
            "bad-argument",
            f"The cache mount {printable(one.id)} of {', '.join(one.services)} cannot be shared.",
            causes=[reason],
            hint=hint,
        )
    return one


# ------------------------------------------------------------------------------------------------------- descriptions


def label(one: Carried, packed: Packed, arch: str, key_: str, created: str) -> str:
    """Return the description of a pack, for the label."""
    content = {
        "format": FORMAT,
        "id": one.id,
        "flag": one.flag,
        "kind": one.kind,
        "platform": arch,
        "created": created,
        "key": key_,
        "form": packed.form,
        "entries": packed.entries,
        "parts": {packed.part: packed.bytes},
    }
    return json.dumps(content, separators=(",", ":"))


def read_label(labels: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Parse the description of a mount's pack, or return None for other images or formats. Raises `Malformed`."""
    if LABEL not in labels:
        return None
    content = registry_reader.document(labels[LABEL].encode(), "pack")
    if content.get("format") != FORMAT:
        return None
    said: dict[str, Any] = {"format": FORMAT, "scope": SCOPE}
    for name in ("id", "flag", "kind", "platform", "created", "key", "form"):
        said[name] = printable(registry_reader.text(content.get(name), f"pack: {name}"))
    said["entries"] = registry_reader.size(content.get("entries"), "pack: entries")
    parts = registry_reader.mapping(content.get("parts"), "pack: parts")
    if len(parts) != 1 or not all(_PART.fullmatch(name) for name in parts):
        raise Malformed("pack: a mount's pack must have exactly one part: mount.tar.zst or mount.tar.gz")
    said["parts"] = {name: registry_reader.size(value, f"pack: {name}") for name, value in parts.items()}
    return said


def objections(said: Mapping[str, Any], one: Carried, limit: int) -> list[str]:
    """Return reasons why a pack must not be unpacked into this mount, regardless of its tag; `limit` in bytes."""
    found = []
    if said["flag"] != one.flag:
        found.append(f"the pack was created from a different mount: {said['flag']}")
    size = sum(said["parts"].values())
    if size > limit:
        found.append(f"the pack is {units.human(size)}, which exceeds packs.limit ({units.human(limit)})")
    return found


def read_facts(text: str) -> Packed:
    """Parse the output of mount.sh: `name=value` lines."""
    values = dict(line.partition("=")[::2] for line in text.splitlines())
    return Packed(values["form"], int(values["entries"]), int(values["bytes"]))
