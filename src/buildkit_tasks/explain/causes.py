"""Explains why the first step of a build was not cached: compares its inputs with those of an earlier build. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.history.keys import AGAIN, needed
from buildkit_tasks.history.model import Build, ServiceRecord, StepRecord

from .comparison import Cause, Comparison, Kept


@dataclass(frozen=True)
class Reason:
    """The first uncached step of a service, and why it ran. `step`: None if every step was cached.

    `then`: the steps that ran after it; `also`: separate causes of those steps; `compared`: the earlier build's number.
    """

    service: str
    dockerfile: str
    step: StepRecord | None
    causes: tuple[Cause, ...]
    then: tuple[StepRecord, ...] = ()
    also: tuple[Cause, ...] = ()
    compared: int = 0


def reasons(build: Build, earlier: Sequence[Build], kept: Kept) -> tuple[Reason, ...]:
    """Return one reason per service. `earlier`: older builds, newest first."""
    return tuple(_reason(build, service, earlier, kept) for service in build.inputs.services)


def _reason(build: Build, service: ServiceRecord, earlier: Sequence[Build], kept: Kept) -> Reason:
    steps = build.inputs.steps
    ran = [at for at in service.steps if steps[at].state in ("ran", "failed")]
    before = next((b for b in earlier if comparable(b, build) and b.service(service.name)), None)
    if not ran:
        causes = (
            () if any(steps[at].state for at in service.steps) else (_unknown("the service's steps were not recorded"),)
        )
        return Reason(service.name, service.dockerfile, None, causes)
    roots = [at for at in ran if not needed(steps, at) & set(ran)]
    first = roots[0]
    then = tuple(steps[at] for at in ran if at not in roots)
    found = _causes(build, service, first, before, earlier, kept)
    also: list[Cause] = []
    if before:
        compare = Comparison(build, service, before, kept)
        also = [cause for at in ran if at != first for cause in compare.own(at)]
        also = [cause for cause in dict.fromkeys(also) if cause not in found]
    return Reason(service.name, service.dockerfile, steps[first], found, then, tuple(also), before.id if before else 0)


def has_result(build: Build, step: StepRecord) -> bool:
    """Return whether BuildKit had the step's result after the build, as it does after every successful build."""
    return step.state in ("ran", "cached") or (not step.state and build.outcome == "built")


def comparable(one: Build, other: Build) -> bool:
    """Return whether an earlier build used the same cache as the other build."""
    return one.outcome == "built" and place(one) == place(other)


def place(build: Build) -> tuple[object, ...]:
    """Return where a build ran; builds that ran elsewhere use a different cache."""
    inputs = build.inputs
    return (inputs.engine, inputs.builder, inputs.platforms)


def _causes(
    build: Build,
    service: ServiceRecord,
    at: int,
    before: Build | None,
    earlier: Sequence[Build],
    kept: Kept,
) -> tuple[Cause, ...]:
    step = build.inputs.steps[at]
    if step.no_cache or (AGAIN in step.variables and not _same_variable(step, before, service, AGAIN)):
        return (Cause("no-cache", "--no-cache", "--no-cache was passed"),)
    if before is None:
        return (_first(build, service, earlier),)
    compare = Comparison(build, service, before, kept)
    found = compare.own(at)
    if not found:
        below = sorted(needed(build.inputs.steps, at), reverse=True)
        found = [cause for lower in below for cause in compare.own(lower)]
        found = [Cause(c.kind, c.subject, c.text, certain=False) for c in dict.fromkeys(found)]
    if found:
        return tuple(dict.fromkeys(found))
    return (_without_difference(build, service, step, before, earlier),)


def _same_variable(step: StepRecord, before: Build | None, service: ServiceRecord, name: str) -> bool:
    """Return whether the step had the same value of an argument in the earlier build."""
    there = before.service(service.name) if before else None
    old = (before.inputs.steps[at] for at in there.steps) if before and there else iter(())
    return any(o.text == step.text and o.variables.get(name) == step.variables.get(name) for o in old)


def _first(build: Build, service: ServiceRecord, earlier: Sequence[Build]) -> Cause:
    others = [b for b in earlier if b.service(service.name)]
    if any(b.outcome == "built" for b in others):
        elsewhere = next(b for b in others if b.outcome == "built")
        what = "on this engine" if elsewhere.inputs.engine != build.inputs.engine else "with this builder and platform"
        text = f"the history contains no build of {service.name} {what}"
        return Cause("first", service.name, text)
    if others:
        return Cause("first", service.name, f"no earlier build of {service.name} in the history succeeded")
    return Cause("first", service.name, f"the history contains no earlier build of {service.name}")


def _without_difference(
    build: Build, service: ServiceRecord, step: StepRecord, before: Build, earlier: Sequence[Build]
) -> Cause:
    if step.unsure:
        return _unknown(step.unsure)
    if step.base and not build.inputs.bases.get(step.base):
        return _unknown(f"the image that {step.base} resolved to was not recorded")
    if disturbed := next((b.id for b in (build, before) if b.disturbed), None):
        return _unknown(f"files changed while build {disturbed} was starting")
    there = before.service(service.name)
    if there and there.frontend != service.frontend:
        return Cause("option", "syntax", "the Dockerfile's frontend changed (its `# syntax=` line)", certain=False)
    for other in earlier:
        if place(other) == place(build):
            same = next((s for s in other.inputs.steps if s.key == step.key and has_result(other, s)), None)
            if same is not None:
                words = (
                    f"none of the step's inputs changed since build {other.id}, but BuildKit no longer had the result"
                )
                return Cause("lost", f"build {other.id}", f"{words} (prune or garbage collection)")
    versions = [b.inputs.engine_version for b in earlier if place(b) == place(build)][:1]
    if versions and versions[0] != build.inputs.engine_version:
        text = f"the engine version changed from {versions[0]} to {build.inputs.engine_version}"
        return Cause("engine", "engine", text, certain=False)
    return _unknown("none of the recorded inputs changed")


def _unknown(why: str) -> Cause:
    return Cause("unknown", "", f"unknown: {why}", certain=False)
