"""A Dockerfile parsed into a value: its stages, arguments and mounts, and what a build of a target needs. Pure.

A build needs what BuildKit would load: BuildKit skips stages that the target does not reach.
https://github.com/moby/buildkit/blob/master/frontend/dockerfile/dockerfile2llb/convert.go
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from buildkit_tasks.core import references, shapes
from buildkit_tasks.dockerfiles import mounts, stages
from buildkit_tasks.dockerfiles.mounts import Mount
from buildkit_tasks.dockerfiles.stages import Stage

from . import syntax
from .syntax import Instruction

#: Arguments of our own Dockerfile: the programs to compile now, all shipped programs, and the scope of cache mounts.
BINARIES, PROGRAMS, SCOPE = "BINS", "PROGRAMS", "CACHE_SCOPE"


@dataclass(frozen=True)
class Needs:
    """What a build up to a stage uses: stages in the order found, images as written, and names of named contexts."""

    stages: tuple[Stage, ...] = ()
    images: tuple[str, ...] = ()
    contexts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile. `text` may contain lone surrogates for bytes that are not UTF-8, which are preserved on writing."""

    text: str
    items: tuple[Instruction, ...] = field(repr=False, compare=False, default=())

    @classmethod
    def read(cls, data: bytes | str) -> Dockerfile:
        """Parse a Dockerfile. Text that is not a Dockerfile has no stages; BuildKit will report the error."""
        text = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
        return cls(text, tuple(syntax.instructions(text)))

    @cached_property
    def syntax(self) -> str:
        """The frontend image in the `syntax` directive; empty if there is none."""
        text = self.text.removeprefix("\ufeff")
        if text.startswith("#!"):
            text = text.partition("\n")[2]
        if text.lstrip().startswith("{"):
            try:
                value = shapes.guarded(json.JSONDecoder().raw_decode, text.lstrip())[0].get("syntax", "")
            except (ValueError, AttributeError):
                return ""
            return str(value).partition(" ")[0]
        for line in text.split("\n"):
            found = syntax.DIRECTIVE.match(line)
            if not found:
                return ""
            if found[1].lower() == "syntax":
                return found[2].partition(" ")[0]
        return ""

    @cached_property
    def arguments(self) -> frozenset[str]:
        """The names that any ARG declares."""
        return frozenset(name for name, _, _ in self._declared)

    @property
    def _declared(self) -> Iterator[tuple[str, str, str]]:
        """Each declaration of any ARG: name, `=` if it has a default, and the default as written."""
        words = (word for item in self.items if item.keyword == "ARG" for word in syntax.words(item.rest))
        return (word.partition("=") for word in words)

    def default(self, name: str) -> str:
        """Return an argument's default; empty if there is none, if it has variables, or if two stages disagree."""
        values = {value for key, equals, value in self._declared if key == name and equals}
        value = values.pop() if len(values) == 1 else ""
        return "" if "$" in value else syntax.expand(value, {})

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """Every mount of every RUN."""
        return tuple(mount for item in self.items for mount in mounts.run_mounts(item))

    @property
    def secrets(self) -> frozenset[str]:
        """The ids of the secrets that its steps use."""
        return frozenset(secret_id(mount) for mount in self.mounts if mount.type == "secret")

    @property
    def has_cache_mounts(self) -> bool:
        """Whether any step has a cache mount."""
        return any(mount.type == "cache" for mount in self.mounts)

    def compile_arguments(self, needs: Needs) -> frozenset[str] | None:
        """Return the names of arguments that affect its compile step; None if the needed stages have no compile step.

        We recognize our compile step by its argument for the programs to build, or by the names of its cache mounts.
        """
        by_name = {stage.name: stage for stage in needs.stages}
        caching = [stage for stage in needs.stages if stage.caches]
        if not caching or not {BINARIES, SCOPE} & self.arguments:
            return None
        names = {word.partition("=")[0] for item in self._global for word in syntax.words(item.rest)}
        seen: set[int] = set()
        while caching:
            stage = caching.pop()
            if stage.number not in seen:
                seen.add(stage.number)
                names |= set(stage.arguments)
                caching += [by_name[name.lower()] for name in (stage.base, *stage.sources) if name.lower() in by_name]
        return frozenset(names)

    @property
    def _global(self) -> Iterator[Instruction]:
        return (i for i in itertools.takewhile(lambda i: i.keyword != "FROM", self.items) if i.keyword == "ARG")

    def cache_ids(self, args: Mapping[str, str]) -> tuple[str, ...]:
        """Return the ids of the cache mounts, with arguments expanded."""
        return mounts.cache_ids(self.text, args)

    def needs(self, args: Mapping[str, str], target: str = "", contexts: Collection[str] = ()) -> Needs:
        """Return the stages and images that a build up to `target` (stage name or number; empty = the last one) needs.

        `contexts` are the names of named contexts, which replace an image or a whole stage. A target that does not
        exist needs nothing, and a name that is not an image reference is ignored: the build will fail with BuildKit's
        own error.
        """
        given = {lookup_name(name.partition("::")[0]) for name in contexts}
        every = stages.stages_of(self.items, args)
        by_number = {str(stage.number): stage for stage in every}
        by_name = {stage.name: stage for stage in every}
        wanted = target.lower() or str(len(every) - 1)
        start = by_name.get(wanted) or by_number.get(wanted)
        found: dict[int, Stage] = {}
        images: dict[str, None] = {}
        used: set[str] = set()
        pending = [start] if start else []
        while pending:
            stage = pending.pop()
            used |= {stage.name, lookup_name(stage.base), *map(lookup_name, stage.sources)}
            if stage.number in found or stage.name in given:
                continue
            found[stage.number] = stage
            earlier = {s.name: s for s in every[: stage.number] if not s.name.isdigit()}
            if stage.base.lower() in earlier:
                pending.append(earlier[stage.base.lower()])
            elif stage.base and stage.base.lower() != "scratch" and lookup_name(stage.base) not in given:
                images[stage.base] = None
            for source in stage.sources:
                other = by_name.get(source.lower()) or by_number.get(source)
                if other:
                    pending.append(other)
                elif source.lower() != "scratch" and lookup_name(source) not in given:
                    images[source] = None
        return Needs(tuple(found.values()), tuple(filter(references.valid, images)), frozenset(used & given))


def secret_id(mount: Mount) -> str:
    """Return the id of a secret mount, by default the last component of its target."""
    return mount.options.get("id") or mount.target.rpartition("/")[2]


def lookup_name(reference: str) -> str:
    """Return the name of the named context that BuildKit would use in place of an image.

    This is the shortest form of the reference: `rust` for `docker.io/library/rust:latest`.
    """
    name = reference.lower() if "/" not in reference and ":" not in reference else reference
    for prefix in ("docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/"):
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    else:
        name = name.removeprefix("library/") if name.count("/") == 1 else name
    return name.removesuffix(":latest") if "@" not in name else name
