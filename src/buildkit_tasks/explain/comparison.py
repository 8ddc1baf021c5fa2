"""Compares the steps of a service in two builds, input by input. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from buildkit_tasks.buildlog import states
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.history import trees
from buildkit_tasks.history.keys import AGAIN
from buildkit_tasks.history.model import Build, ServiceRecord, StepRecord, TreeRecord

#: Build arguments that select the programs to compile.
PROGRAMS = ("BINS", "PROGRAMS")
_VERBS = {
    "changed": "changed",
    "added": "was added",
    "removed": "was removed",
    "mode": "has different permissions",
    "link": "points to a different path",
    "kind": "has a different file type",
}


@dataclass(frozen=True)
class Cause:
    """One cause. `kind`: see docs/how-to/explain.md; `subject`: the file, argument or image; `text`: a sentence."""

    kind: str
    subject: str
    text: str
    certain: bool = True


@dataclass(frozen=True)
class Kept:
    """Content that the history keeps by digest: directory listings, and the text of small files."""

    find: trees.Find
    text: Callable[[str], str | None]


class Comparison:
    """Compares the steps of one service in two builds."""

    def __init__(self, build: Build, service: ServiceRecord, before: Build, kept: Kept) -> None:
        self.build, self.service, self.before, self.kept = build, service, before, kept
        self.there = before.service(service.name) or service

    def own(self, at: int) -> list[Cause]:
        """Return the differences in the step's own inputs, excluding those of the steps it builds on."""
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
                [Cause("option", "build", "build options changed (network, hosts, limits)")]
                if step.options != old.options
                else []
            ),
        ]

    def _counterpart(self, step: StepRecord) -> StepRecord | None:
        """Return the step with the same line and stage in the earlier build."""
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
        """Yield differences in the lines above the step, in its stage and in the stages it builds on."""
        now = [s.text for s in _chain(self.build, at)]
        then = [s.text for s in _chain(self.before, _position(self.before, self.there, old))]
        if now == then:
            return
        for sign, text in _difference(then, now):
            verb = "was added above this step" if sign == "+" else "was removed above this step"
            yield Cause(
                "dockerfile", self.service.dockerfile, f"a line in {self.service.dockerfile} {verb}: {brief(text)}"
            )

    def _surroundings(self, step: StepRecord, old: StepRecord) -> Iterator[Cause]:
        for sign, text in _difference(old.surroundings, step.surroundings):
            verb = "was added above this step" if sign == "+" else "was removed above this step"
            yield Cause("dockerfile", self.service.dockerfile, f"in {self.service.dockerfile}, {brief(text)} {verb}")

    def _variables(self, step: StepRecord, old: StepRecord) -> Iterator[Cause]:
        names = [n for n in {**old.variables, **step.variables} if old.variables.get(n) != step.variables.get(n)]
        for name in names:
            if name == AGAIN:
                continue
            here, there = ("set" if name in s.variables else "not set" for s in (step, old))
            new, before = self.service.shown.get(name), self.there.shown.get(name)
            if name in PROGRAMS:
                text = f"the programs to compile changed from {before or 'all'} to {new or 'all'}"
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
            pair = f"from {_short(before)} to {_short(new)}"
            yield Cause("base-image", step.base, f"the base image {step.base} changed {pair}", sure)

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
        """Return whether a file was added or removed only because the other build's ignore file excludes it."""
        other = {"added": then.ignore, "removed": now.ignore}.get(change.how)
        if other is None:
            return False
        text = self.kept.text(other) if other else ""
        try:
            return text is not None and Ignore.parse(text).excludes(change.path)
        except ValueError:
            return False


def _tree(build: Build, service: ServiceRecord, place: str) -> TreeRecord | None:
    """Return the recorded tree of the build context, or of a named context."""
    return build.inputs.trees.get(service.trees.get(place, ""))


def _chain(build: Build, at: int | None) -> list[StepRecord]:
    """Return the steps that a step builds on, lowest first."""
    found = []
    while at is not None:
        step = build.inputs.steps[at]
        found.append(step)
        at = step.after
    return found[::-1]


def _position(build: Build, service: ServiceRecord, step: StepRecord) -> int:
    return next(at for at in service.steps if build.inputs.steps[at] is step)


def _difference(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield lines that are in only one of two lists, as ("+" or "-", line)."""
    for tag, first, last, start, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag in ("replace", "delete"):
            yield from (("-", line) for line in old[first:last])
        if tag in ("replace", "insert"):
            yield from (("+", line) for line in new[start:end])


def brief(text: str, width: int = 60) -> str:
    """Return an instruction on one line, without mount options."""
    return states.brief(re.sub(r"\$\{(\w+)[^}]*\}", r"$\1", text.replace("\\\n", " ")), width)


def _short(identity: str) -> str:
    return identity.removeprefix("registry ")[:19]
