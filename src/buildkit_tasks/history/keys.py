"""The inputs of a build's steps as digests. BuildKit's cache treats steps with the same key as the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from buildkit_tasks.dockerfiles.cache_steps import CacheStep, Source
from buildkit_tasks.dockerfiles.document import lookup_name

from . import trees
from .model import Read, StepRecord

#: Options of a bake target that affect the processes in its steps.
_OPTIONS = ("network", "extra-hosts", "ulimits", "shm-size", "entitlements")
#: An argument of our Dockerfile that gets a new value in each build with --no-cache.
AGAIN = "REBUILD"


class Steps:
    """The steps of all services without duplicates: services compiled together share all but the last steps."""

    def __init__(self, key: bytes, find: trees.Find) -> None:
        self._key, self._find = key, find
        self._known: dict[str, int] = {}
        self.steps: list[StepRecord] = []

    def add(
        self,
        steps: Sequence[CacheStep],
        target: Mapping[str, Any],
        roots: Mapping[str, str],
        images: Mapping[str, str],
    ) -> tuple[int, ...]:
        """Add the steps of one target. Returns their positions.

        `roots`: the root of the tree for each context, "" being the build context; `images`: known image ids.
        """
        places: list[int] = []
        for step in steps:
            made = self._record(step, target, places, roots, images)
            identity = trees.digest_of(asdict(made), self._key)
            if identity not in self._known:
                self._known[identity] = len(self.steps)
                self.steps.append(made)
            places.append(self._known[identity])
        return tuple(places)

    def _record(
        self,
        step: CacheStep,
        target: Mapping[str, Any],
        places: Sequence[int],
        roots: Mapping[str, str],
        images: Mapping[str, str],
    ) -> StepRecord:
        reads, unsure = [], "the step downloads something itself" if step.remote else ""
        for source in step.sources:
            read = self._read(source, roots, images)
            reads.append(read)
            if not read.digest:
                unsure = unsure or f"the files that the step reads from {source.place or 'its context'} are unknown"
        options = {name: target[name] for name in _OPTIONS if target.get(name)} if step.keyword == "RUN" else {}
        return StepRecord(
            stage=step.stage,
            number=step.number,
            line=step.line,
            keyword=step.keyword,
            text=step.text,
            variables={name: trees.digest_of(value, self._key) for name, value in step.variables},
            surroundings=step.surroundings,
            reads=tuple(reads),
            base=step.base,
            after=None if step.after is None else places[step.after],
            needs=tuple(places[at] for at in step.needs),
            options=trees.digest_of(options, self._key) if options else "",
            unsure=unsure,
            no_cache=bool(target.get("no-cache")),
        )

    def _read(self, source: Source, roots: Mapping[str, str], images: Mapping[str, str]) -> Read:
        if source.place in roots:
            chosen = trees.select(roots[source.place], self._find, source.patterns)
            return Read(source.place, source.patterns, trees.digest_of(chosen, self._key))
        identity = images.get(source.place, "")
        return Read(source.place, source.patterns, trees.digest_of(identity, self._key) if identity else "")


def with_keys(steps: Sequence[StepRecord], bases: Mapping[str, str], key: bytes) -> tuple[StepRecord, ...]:
    """Return the steps with their keys, once the ids of the images they build on are known."""
    done: list[StepRecord] = []
    for step in steps:
        below = bases.get(step.base, "") if step.after is None else done[step.after].key
        own = (step.keyword, step.text, sorted(step.variables.items()), step.surroundings, step.options)
        read = [asdict(read) for read in step.reads]
        made = trees.digest_of([own, read, step.base, below, [done[at].key for at in step.needs]], key)
        done.append(replace(step, key=made))
    return tuple(done)


def needed(steps: Sequence[StepRecord], at: int) -> set[int]:
    """Return the positions of all the steps that a step builds on."""
    found: set[int] = set()
    todo = [at]
    while todo:
        step = steps[todo.pop()]
        for below in (*([] if step.after is None else [step.after]), *step.needs):
            if below not in found:
                found.add(below)
                todo.append(below)
    return found


def image_of(reference: str, contexts: Mapping[str, str]) -> str:
    """Return the image used for a reference, which a named context may replace."""
    name = lookup_name(reference)
    value = next((value for given, value in contexts.items() if lookup_name(given.partition("::")[0]) == name), "")
    return value.removeprefix("docker-image://") if value.startswith("docker-image://") else "" if value else reference
