"""Why the first step of a build was not cached: compares its inputs with those of an earlier build. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.history import trees
from buildkit_tasks.history.keys import AGAIN, needed
from buildkit_tasks.history.model import Build, ServiceRecord, StepRecord, TreeRecord

#: Arguments that choose the programs to compile.
PROGRAMS = ("BINS", "PROGRAMS")
_VERBS = {
    "changed": "changed",
    "added": "was added",
    "removed": "was removed",
    "mode": "has other permissions",
    "link": "points elsewhere",
    "kind": "is another kind of file",
}


@dataclass(frozen=True)
class Cause:
    """One cause. `kind`: see docs/how-to/explain.md; `subject`: the file, argument or image; `text`: a sentence."""

    kind: str
    subject: str
    text: str
    certain: bool = True


@dataclass(frozen=True)
class Reason:
    """Why a service's first step ran. `step` is None if none did.

    `then`: the steps that ran after it; `also`: causes of their own that those have; `compared`: the earlier build.
    """

    service: str
    dockerfile: str
    step: StepRecord | None
    causes: tuple[Cause, ...]
    then: tuple[StepRecord, ...] = ()
    also: tuple[Cause, ...] = ()
    compared: int = 0


@dataclass(frozen=True)
class Kept:
    """What the history keeps beside the builds, by digest: listings of directories, and the text of small files."""

    find: trees.Find
    text: Callable[[str], str | None]


def reasons(build: Build, earlier: Sequence[Build], kept: Kept) -> tuple[Reason, ...]:
    """A reason per service. `earlier`: older builds, the newest first."""
    return tuple(_reason(build, service, earlier, kept) for service in build.inputs.services)


def _reason(build: Build, service: ServiceRecord, earlier: Sequence[Build], kept: Kept) -> Reason:
    steps = build.inputs.steps
    ran = [at for at in service.steps if steps[at].state in ("ran", "failed")]
    before = next((b for b in earlier if comparable(b, build) and b.service(service.name)), None)
    if not ran:
        causes = () if any(steps[at].state for at in service.steps) else (_unknown("its steps were not recorded"),)
        return Reason(service.name, service.dockerfile, None, causes)
    roots = [at for at in ran if not needed(steps, at) & set(ran)]
    first = roots[0]
    then = tuple(steps[at] for at in ran if at not in roots)
    found = _causes(build, service, first, before, earlier, kept)
    also: list[Cause] = []
    if before:
        compare = _Comparison(build, service, before, kept)
        also = [cause for at in ran if at != first for cause in compare.own(at)]
        also = [cause for cause in dict.fromkeys(also) if cause not in found]
    return Reason(service.name, service.dockerfile, steps[first], found, then, tuple(also), before.id if before else 0)


def has_result(build: Build, step: StepRecord) -> bool:
    """Whether BuildKit had the step's result after the build. After a successful one it has all, reported or not."""
    return step.state in ("ran", "cached") or (not step.state and build.outcome == "built")


def comparable(one: Build, other: Build) -> bool:
    """Whether an earlier build filled the cache that the other one used."""
    return one.outcome == "built" and place(one) == place(other)


def place(build: Build) -> tuple[object, ...]:
    """Where a build ran: builds elsewhere have another cache."""
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
        return (Cause("no-cache", "--no-cache", "--no-cache was given"),)
    if before is None:
        return (_first(build, service, earlier),)
    compare = _Comparison(build, service, before, kept)
    found = compare.own(at)
    if not found:
        below = sorted(needed(build.inputs.steps, at), reverse=True)
        found = [cause for lower in below for cause in compare.own(lower)]
        found = [Cause(c.kind, c.subject, c.text, certain=False) for c in dict.fromkeys(found)]
    if found:
        return tuple(dict.fromkeys(found))
    return (_without_difference(build, service, step, before, earlier),)


def _same_variable(step: StepRecord, before: Build | None, service: ServiceRecord, name: str) -> bool:
    """Whether the step had the same value of an argument in the earlier build."""
    there = before.service(service.name) if before else None
    old = (before.inputs.steps[at] for at in there.steps) if before and there else iter(())
    return any(o.text == step.text and o.variables.get(name) == step.variables.get(name) for o in old)


def _first(build: Build, service: ServiceRecord, earlier: Sequence[Build]) -> Cause:
    others = [b for b in earlier if b.service(service.name)]
    if any(b.outcome == "built" for b in others):
        elsewhere = next(b for b in others if b.outcome == "built")
        what = "engine" if elsewhere.inputs.engine != build.inputs.engine else "builder or platform"
        text = f"this {what} has not built {service.name} before, as far as the history goes"
        return Cause("first", service.name, text)
    if others:
        return Cause("first", service.name, f"no earlier build of {service.name} succeeded, as far as the history goes")
    return Cause("first", service.name, f"no earlier build of {service.name} is in the history")


def _without_difference(
    build: Build, service: ServiceRecord, step: StepRecord, before: Build, earlier: Sequence[Build]
) -> Cause:
    if step.unsure:
        return _unknown(step.unsure)
    if step.base and not build.inputs.bases.get(step.base):
        return _unknown(f"which image {step.base} was is not recorded")
    if disturbed := next((b.id for b in (build, before) if b.disturbed), None):
        return _unknown(f"files changed while build {disturbed} was starting")
    there = before.service(service.name)
    if there and there.frontend != service.frontend:
        return Cause("option", "syntax", "another frontend reads the Dockerfile (its `# syntax=` line)", certain=False)
    for other in earlier:
        if place(other) == place(build):
            same = next((s for s in other.inputs.steps if s.key == step.key and has_result(other, s)), None)
            if same is not None:
                words = f"nothing that it reads changed since build {other.id}, but BuildKit no longer had the result"
                return Cause("lost", f"build {other.id}", f"{words} (prune or garbage collection)")
    versions = [b.inputs.engine_version for b in earlier if place(b) == place(build)][:1]
    if versions and versions[0] != build.inputs.engine_version:
        text = f"the engine changed from {versions[0]} to {build.inputs.engine_version}"
        return Cause("engine", "engine", text, certain=False)
    return _unknown("none of the recorded inputs changed")


def _unknown(why: str) -> Cause:
    return Cause("unknown", "", f"unknown: {why}", certain=False)


class _Comparison:
    """Compares the steps of one service in two builds."""

    def __init__(self, build: Build, service: ServiceRecord, before: Build, kept: Kept) -> None:
        self.build, self.service, self.before, self.kept = build, service, before, kept
        self.there = before.service(service.name) or service

    def own(self, at: int) -> list[Cause]:
        """What differs in the inputs of one step itself, not in those of the steps below."""
        step = self.build.inputs.steps[at]
        old = self._counterpart(step)
        if old is None:
            return [self._new_line(step)]
        return [
            *self._lines(at, old),
            *self._surroundings(step, old),
            *self._variables(step, old),
            *self._bases(step, old),
            *self._files(step, old),
            *(
                [Cause("option", "build", "options of the build changed (network, hosts, limits)")]
                if step.options != old.options
                else []
            ),
        ]

    def _counterpart(self, step: StepRecord) -> StepRecord | None:
        """The same line of the same stage in the earlier build."""
        old = [self.before.inputs.steps[at] for at in self.there.steps]
        same = [o for o in old if o.text == step.text and o.keyword == step.keyword]
        same = [o for o in same if o.stage == step.stage] or same
        return min(same, key=lambda o: abs(o.number - step.number), default=None)

    def _new_line(self, step: StepRecord) -> Cause:
        texts = {self.build.inputs.steps[at].text for at in self.service.steps}
        replaced = any(
            old.stage == step.stage and old.number == step.number and old.text not in texts
            for old in (self.before.inputs.steps[at] for at in self.there.steps)
        )
        where = f"{self.service.dockerfile}:{step.line}"
        return Cause("dockerfile", where, f"{where} {'changed' if replaced else 'was added'}: {brief(step.text)}")

    def _lines(self, at: int, old: StepRecord) -> Iterator[Cause]:
        """Lines above the step in its stage and in the stages below."""
        now = [s.text for s in _chain(self.build, at)]
        then = [s.text for s in _chain(self.before, _position(self.before, self.there, old))]
        if now == then:
            return
        for sign, text in _difference(then, now):
            verb = "was added above it" if sign == "+" else "was removed above it"
            yield Cause(
                "dockerfile", self.service.dockerfile, f"a line of {self.service.dockerfile} {verb}: {brief(text)}"
            )

    def _surroundings(self, step: StepRecord, old: StepRecord) -> Iterator[Cause]:
        for sign, text in _difference(old.surroundings, step.surroundings):
            verb = "is new above it" if sign == "+" else "is no longer above it"
            yield Cause("dockerfile", self.service.dockerfile, f"in {self.service.dockerfile}, {brief(text)} {verb}")

    def _variables(self, step: StepRecord, old: StepRecord) -> Iterator[Cause]:
        names = [n for n in {**old.variables, **step.variables} if old.variables.get(n) != step.variables.get(n)]
        for name in names:
            if name == AGAIN:
                continue
            here, there = ("set" if name in s.variables else "not set" for s in (step, old))
            new, before = self.service.shown.get(name), self.there.shown.get(name)
            if name in PROGRAMS:
                text = f"other programs are compiled: {new or 'all'} instead of {before or 'all'}"
                yield Cause("programs", name, text)
            elif new is not None and before is not None and new != before:
                yield Cause("argument", name, f"the build argument {name} changed from {before!r} to {new!r}")
            elif here != there:
                yield Cause("argument", name, f"the build argument {name} is now {here}")
            else:
                yield Cause("argument", name, f"the build argument {name} changed")

    def _bases(self, step: StepRecord, old: StepRecord) -> Iterator[Cause]:
        new, before = self.build.inputs.bases.get(step.base, ""), self.before.inputs.bases.get(old.base, "")
        if step.base != old.base:
            name, other = step.base or "scratch", old.base or "scratch"
            yield Cause("base-image", name, f"the base image is now {name} instead of {other}")
        elif new != before and new and before:
            sure = new.startswith("registry ") == before.startswith("registry ")
            pair = f"{_short(before)} is now {_short(new)}"
            yield Cause("base-image", step.base, f"the base image {step.base} changed: {pair}", sure)

    def _files(self, step: StepRecord, old: StepRecord) -> Iterator[Cause]:
        find = self.kept.find
        for here, there in zip(step.reads, old.reads, strict=False):
            if here.digest == there.digest:
                continue
            now, then = _tree(self.build, self.service, here.place), _tree(self.before, self.there, there.place)
            if now is None or then is None:
                sure = bool(here.digest and there.digest)
                yield Cause("base-image", here.place, f"the image {here.place} changed", sure)
                continue
            before, after = trees.select(then.root, find, there.patterns), trees.select(now.root, find, here.patterns)
            for change in trees.changes(before, after, find):
                rule = now.ignore != then.ignore and self._ruled(change, now, then)
                if rule:
                    words = "is now sent" if change.how == "added" else "is no longer sent"
                    name = now.ignore_file or then.ignore_file
                    yield Cause("ignore-file", name, f"{name} changed: {change.path} {words}")
                else:
                    yield Cause("file", change.path, f"{change.path} {_VERBS[change.how]}")

    def _ruled(self, change: trees.Change, now: TreeRecord, then: TreeRecord) -> bool:
        """Whether an ignore file alone explains that a file was added or removed: the other one excludes it."""
        other = {"added": then.ignore, "removed": now.ignore}.get(change.how)
        if other is None:
            return False
        text = self.kept.text(other) if other else ""
        try:
            return text is not None and excludes(Ignore.parse(text), change.path)
        except ValueError:
            return False


def excludes(ignore: Ignore, path: str) -> bool:
    """Whether an ignore file keeps a path out of the build."""
    out, matched, parts = False, list[bool](), path.split("/")
    for at in range(1, len(parts) + 1):
        out, matched = ignore.matches("/".join(parts[:at]), matched)
    return out


def _tree(build: Build, service: ServiceRecord, place: str) -> TreeRecord | None:
    """The tree behind the context, or behind a named one."""
    return build.inputs.trees.get(service.trees.get(place, ""))


def _chain(build: Build, at: int | None) -> list[StepRecord]:
    """The steps below a step, the lowest first."""
    found = []
    while at is not None:
        step = build.inputs.steps[at]
        found.append(step)
        at = step.after
    return found[::-1]


def _position(build: Build, service: ServiceRecord, step: StepRecord) -> int:
    return next(at for at in service.steps if build.inputs.steps[at] is step)


def _difference(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Lines only in one of two lists, as ("+" or "-", line)."""
    for tag, first, last, start, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag in ("replace", "delete"):
            yield from (("-", line) for line in old[first:last])
        if tag in ("replace", "insert"):
            yield from (("+", line) for line in new[start:end])


def brief(text: str, width: int = 60) -> str:
    """An instruction on one line, without mount options."""
    words = " ".join(w for w in text.replace("\\\n", " ").split() if not w.startswith("--mount"))
    words = re.sub(r"\$\{(\w+)[^}]*\}", r"$\1", words)
    return words if len(words) <= width else f"{words[: width - 1]}…"


def _short(identity: str) -> str:
    return identity.removeprefix("registry ")[:19]
