"""Extracts what a build did from BuildKit's progress: the state of each step, crates and base images. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.core.model import Service
from buildkit_tasks.core.progress import Progress, Vertex
from buildkit_tasks.dockerfiles.document import lookup_name

from .model import CUT, Cargo, Crate, Inputs, Seen, StepRecord

_STEP = re.compile(r"^\[(?P<words>(?:\S+ +)*)(?P<at>\d+)/(?P<of>\d+)\] (?P<text>.*)$", re.DOTALL)
#: An image whose digest a registry resolved, as BuildKit prints it.
_RESOLVED = re.compile(r"^\[[^\]]*\] (?:FROM )?(\S+?)@(sha256:[0-9a-f]{64})$")
#: Where our compile step keeps its copy of the sources: /build/FORMAT-TOOLCHAIN/src/DIRECTORY
_PLACE = re.compile(r"^/build/([^/]+)/src(?:/(.*))?$")


@dataclass(frozen=True)
class _Name:
    """A step's name in parts: the words before its number, its number and the number of steps, and the instruction."""

    words: tuple[str, ...]
    at: int
    of: int
    text: str
    digest: str

    @property
    def group(self) -> tuple[object, ...]:
        """The step's stage. A step shared by multiple targets is named after one of them."""
        return (self.words[-1:], self.of)


def states(inputs: Inputs, known: Mapping[str, int], progress: Progress) -> tuple[StepRecord, ...]:
    """Return the steps of a build with their states: ran, failed, cached, or "" if BuildKit did not report them.

    `known`: the result of `positions`.
    """
    found: dict[int, tuple[str, float | None]] = {}
    for digest, at in known.items():
        vertex = progress.vertexes[digest]
        state = _state(vertex)
        if at not in found or _RANK[state] > _RANK[found[at][0]]:
            found[at] = (state, vertex.longest)
    return tuple(
        replace(step, state=found[at][0], seconds=found[at][1]) if at in found else step
        for at, step in enumerate(inputs.steps)
    )


def positions(inputs: Inputs, services: Sequence[Service], progress: Progress) -> dict[str, int]:
    """Return the positions of the steps reported by BuildKit, by vertex digest. Ambiguous steps are omitted."""
    named = list(_names(progress.vertexes))
    # the highest number seen in each stage, because only some stages count FROM as a step
    last: dict[tuple[object, ...], int] = {}
    for name in named:
        last[name.group] = max(last.get(name.group, 0), name.at)
    at = {name.digest: _position(name, inputs, services, name.at - last[name.group] - 1) for name in named}
    return {digest: position for digest, position in at.items() if position is not None}


_RANK = {"": 0, "cached": 1, "ran": 2, "failed": 3}


def _state(vertex: Vertex) -> str:
    if vertex.error:
        return "" if vertex.cancelled else "failed"
    if vertex.longest is not None:
        return "ran"
    return "cached" if vertex.cached else ""


def _names(vertexes: Mapping[str, Vertex]) -> Iterator[_Name]:
    for digest, vertex in vertexes.items():
        if found := _STEP.match(vertex.name):
            yield _Name(tuple(found["words"].split()), int(found["at"]), int(found["of"]), found["text"], digest)


def _position(name: _Name, inputs: Inputs, services: Sequence[Service], from_end: int) -> int | None:
    """Return the position of the step with this name, if unambiguous. `from_end`: -1 for the last of its stage."""
    first = name.words[0] if name.words else ""
    here = [s for s in services if first in (s.key, s.name)] if len(services) > 1 else []
    of_them = {s.name for s in here or services}
    found = set()
    for service in inputs.services:
        if service.name in of_them:
            stage = [at for at in service.steps if inputs.steps[at].stage in (*name.words[-1:], "")]
            if len({inputs.steps[at].stage for at in stage}) > 1:
                stage = [at for at in stage if inputs.steps[at].stage]
            stage.sort(key=lambda at: inputs.steps[at].number)
            keyword = name.text.partition(" ")[0].upper()
            if -from_end <= len(stage) and inputs.steps[stage[from_end]].keyword == keyword:
                found.add(stage[from_end])
    return found.pop() if len(found) == 1 else None


def bases(known: Mapping[str, str], progress: Progress) -> dict[str, str]:
    """Return the ids of base images. Ids resolved by BuildKit are more precise than those that the engine had before.

    An image with an id that the engine does not have came from a registry.
    """
    resolved = {}
    for vertex in progress.vertexes.values():
        if found := _RESOLVED.match(vertex.name):
            resolved[lookup_name(found[1])] = found[2]
    exact = {reference: resolved.get(lookup_name(reference), identity) for reference, identity in known.items()}
    return {ref: made if made == known[ref] else f"registry {made}" for ref, made in exact.items()}


def reported(known: Mapping[str, int], progress: Progress) -> tuple[tuple[Seen, ...], Cargo]:
    """Return all steps in the order seen, including internal steps that ran, and the compile steps' reports.

    `known`: the result of `positions`.
    """
    first = min((v.started for v in progress.vertexes.values() if v.started is not None), default=0.0)
    seen: list[Seen] = []
    at: dict[str, int] = {}
    for digest, vertex in progress.vertexes.items():
        internal = vertex.internal and "exporting" not in vertex.name
        if not internal or vertex.seconds:
            at[digest] = len(seen)
            seen.append(_seen(vertex, first, internal=internal, at=known.get(digest)))
    return tuple(seen), _cargo(progress, first, at)


def _seen(vertex: Vertex, first: float, *, internal: bool, at: int | None) -> Seen:
    error = "" if not vertex.error else "canceled" if vertex.cancelled else "failed"
    ran = vertex.longest is not None
    began = vertex.ran_from if ran else vertex.started
    return Seen(
        name=" ".join(vertex.name.split())[:CUT],
        cached=vertex.cached and not ran,
        seconds=vertex.seconds if error and not ran else vertex.longest,
        began=round((first if began is None else began) - first, 3),
        internal=internal,
        at=at,
        error=error,
        finished=None if vertex.finished is None else round(max(0.0, vertex.finished - first), 3),
    )


def _cargo(progress: Progress, first: float, steps: Mapping[str, int]) -> Cargo:
    tree, crates = "", []
    for crate in progress.crates:
        within = _PLACE.match(crate.place)
        if within:
            tree = within[1]
        place = (within[2] or "") if within else None
        began = round(max(0.0, crate.began - first), 3)
        crates.append(Crate(crate.name, crate.version, place, began, steps.get(crate.step)))
    return Cargo(
        crates=tuple(dict.fromkeys(crates)),
        fresh=progress.fresh,
        total=progress.total,
        marked=tuple(progress.marked),
        tree=tree,
        downloaded=progress.downloaded,
    )
