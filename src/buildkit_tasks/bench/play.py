"""Plays the cases: each contender builds after the same kind of edit, interleaved, and each program is checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.samples import figures
from buildkit_tasks.samples.catalogue import BEFORE, CASE_BY_KEY, OURS, WAYS, Case, Way, takes_part
from buildkit_tasks.samples.figures import Sample
from buildkit_tasks.samples.store import Store

from . import machine, source_text, timed
from .arena import Arena
from .edits import Edit, Edits
from .timed import Built

#: A build, and whether its program is right.
Action = Callable[[Way], "tuple[Built, bool | None]"]
#: Seconds to wait before a build with nothing to do: a file edited in the same moment counts as changed.
SETTLE = 0.5
#: Cases that are skipped if `invoke build` fails, for example because the crate is not available.
MAY_FAIL = ("dependency", "bump")


@dataclass
class Play:
    """A run in progress. `taking`: contenders that have not failed; `busy`: the round started on a busy machine.

    `current`: for each family, the last contender that built all services, unless something was built since.
    `unbuilt`: families that have not built anything yet. `plain`: for each family, the manifest and lock file without
    the added dependency.
    """

    arena: Arena
    store: Store
    wanted: Edits
    rounds: int
    cases: Sequence[str]
    quick: bool
    resumed: bool = False
    taking: list[Way] = field(default_factory=list)
    code: Edit | None = None
    shared: Edit | None = None
    busy: bool = False
    current: dict[str, str] = field(default_factory=dict)
    plain: dict[str, tuple[str, str]] = field(default_factory=dict)
    version: dict[str, Mapping[str, str]] = field(default_factory=dict)
    unbuilt: set[str] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)

    def play(self) -> None:
        """Run all cases. Problems: bench-failed if `invoke build` fails, or if no text can be edited."""
        self.taking = [way for way in WAYS if way.name in self.arena.found.builds]
        for way in self.taking:
            self.distinguish(way)
        for contender in self.arena.found.tools:
            self.prepare(contender)
        self.first()
        self.warm()
        for number in range(self.rounds if set(self.repeated()) & set(self.cases) else 0):
            self.look(f"round {number + 1} of {self.rounds}")
            for key, action in self.repeated().items():
                self.case(key, number, action)
        if {"dependency", "bump"} & set(self.cases):
            self.look("the remaining cases")
        if self.wanted.dependency:
            self.case("dependency", 0, self.depend)
            if self.wanted.dependency.newer:
                self.case("bump", 0, self.bump)
            elif "bump" in self.cases:
                self.skip("bump", "[tool.buildkit-tasks.bench] names only one version of the dependency")
        elif {"dependency", "bump"} & set(self.cases):
            self.skip("dependency", "no manifest has a [dependencies] section for one of the small crates")

    # ---- parts

    def distinguish(self, way: Way) -> None:
        """Make a family's sources differ from everything that was built before, here or by the user.

        BuildKit would use the layers of a build with the same sources, whose mounts are others: then the first build
        would compile nothing, and the next one everything.
        """
        if way.family not in self.unbuilt:
            self.unbuilt.add(way.family)
            self.arena.comment(way, self.wanted.code[0])

    def prepare(self, contender: str) -> None:
        """Build a contender's tool; if this fails, drop the contender."""
        self.arena.say(f"preparing {contender} (not measured)")
        try:
            timed.prepare(self.arena, contender)
        except Problem as problem:
            self.drop(contender, problem)

    def first(self) -> None:
        """Measure first builds, and choose the edits: the first texts that our program contains."""
        ours = next(way for way in self.taking if way.name == OURS)
        if "cold" in self.cases:
            self.look("the first builds")
        self.case("cold", 0, self.build_one, only=(ours,))
        if self.resumed or "cold" not in self.cases:
            self.build(ours)
        self.code = self.arena.contained(self.wanted.code)
        self.shared = self.arena.contained(self.wanted.shared)
        if self.code is None:
            raise Problem(
                "bench-failed",
                f"The program of {self.arena.service} contains none of the {len(self.wanted.code)} strings that can be"
                " edited.",
                hint="set one in [tool.buildkit-tasks.bench] (docs/reference/bench.md)",
            )
        self.arena.say(f"edits: {self.code.file}, {self.shared.file if self.shared else 'no shared crate'}")
        if not self.shared and "shared" in self.cases:
            self.skip("shared", "the program contains no text of a crate that other programs use, too")
        self.case("cold", 0, self.build_one, only=[way for way in self.taking if way != ours])

    def warm(self) -> None:
        """Build everything that later cases need, without measuring."""
        every = any(CASE_BY_KEY[key].every for key in self.cases)
        for way in tuple(self.taking):
            self.arena.say(f"warming up {way.name} (not measured)")
            try:
                self.build(way, every=every)
            except Problem as problem:
                self.drop(way.name, problem)
                continue
            self.arena.look(way, [edit for edit in (self.code, self.shared) if edit])

    def repeated(self) -> dict[str, Action]:
        """Return the cases of a round."""
        found: dict[str, Action] = {"comment": self.comment, "line": self.line}
        found |= {"shared": self.line_shared} if self.shared else {}
        return {**found, "nothing": self.nothing, "branch": self.branch, "clone": self.clone}

    # ---- actions

    def build(self, way: Way, *, every: bool = False) -> Built:
        """Build the edited service, or all services."""
        # the user's Dockerfile may compile dependencies in a layer that does not depend on the sources
        fresh = way.name == BEFORE and way.family in self.unbuilt
        built = timed.build(self.arena, way, () if every else (self.arena.service,), no_cache=fresh)
        self.unbuilt.discard(way.family)
        self.current.pop(way.family, None)
        if every:
            self.current[way.family] = way.name
        return built

    def build_one(self, way: Way) -> tuple[Built, bool | None]:
        """Build the edited service without an edit."""
        return self.build(way), self.arena.right(way)

    def comment(self, way: Way) -> tuple[Built, bool | None]:
        """Change a comment: the program must still contain the last edit."""
        self.arena.comment(way, self.edited)
        return self.build(way), self.arena.right(way)

    def line(self, way: Way) -> tuple[Built, bool | None]:
        """Edit one line of a service."""
        self.arena.edit(way, self.edited)
        return self.build(way), self.arena.right(way)

    def line_shared(self, way: Way) -> tuple[Built, bool | None]:
        """Edit one line of a shared crate, and build all services."""
        assert self.shared  # noqa: S101 - for the type checker
        self.arena.edit(way, self.shared)
        return self.build(way, every=True), self.arena.right(way)

    def nothing(self, way: Way) -> tuple[Built, bool | None]:
        """Build all services again."""
        if self.current.get(way.family) != way.name:
            self.build(way, every=True)
        time.sleep(SETTLE)
        return self.build(way, every=True), self.arena.right(way)

    def branch(self, way: Way) -> tuple[Built, bool | None]:
        """Switch to a branch with edits, build, switch back, build."""
        edits = [edit for edit in (self.code, self.shared) if edit]
        before = {edit: self.arena.text(way, edit) for edit in edits}
        for edit in edits:
            self.arena.edit(way, edit)
        away = self.build(way)
        right = self.arena.right(way, [marker for _, marker in before.values() if marker])
        there = [self.arena.text(way, edit)[1] for edit in edits]
        for edit in edits:
            self.arena.restore(way, edit, before[edit])
        back = self.build(way)
        again = self.arena.right(way, there)
        return away + back, False if again is False else right

    def clone(self, way: Way) -> tuple[Built, bool | None]:
        """Clone the repository to another path, and edit one line."""
        self.arena.clone(way.family)
        return self.line(way)

    def depend(self, way: Way) -> tuple[Built, bool | None]:
        """Add a dependency and edit one line."""
        assert self.wanted.dependency  # noqa: S101 - for the type checker
        if way.family in self.version:  # another contender of the family has added it
            self.arena.depend(way, self.wanted.dependency, lambda *_: self.plain[way.family])
            self.build(way)
        self._add(way)
        return self.line(way)

    def bump(self, way: Way) -> tuple[Built, bool | None]:
        """Bump the added dependency to a newer version and edit one line."""
        assert self.wanted.dependency  # noqa: S101 - for the type checker
        what = self.wanted.dependency
        assert what.newer  # noqa: S101
        if self.version.get(way.family) != what.crate:
            if way.family in self.plain:
                self.arena.depend(way, what, lambda *_: self.plain[way.family])
            self._add(way)
            self.build(way)
        self.arena.depend(way, what, source_text.bump_dependency, what.newer)
        self.version[way.family] = what.newer
        return self.line(way)

    def _add(self, way: Way) -> None:
        assert self.wanted.dependency  # noqa: S101 - for the type checker
        what = self.wanted.dependency

        def change(manifest: str, lock: str) -> tuple[str, str]:
            self.plain[way.family] = manifest, lock
            return source_text.add_dependency(manifest, lock, what.package, what.crate)

        self.arena.depend(way, what, change)
        self.version[way.family] = what.crate

    def without(self, way: Way) -> None:
        """Remove the added dependency from a family's tree."""
        if way.family in self.plain and self.wanted.dependency:
            self.arena.depend(way, self.wanted.dependency, lambda *_: self.plain[way.family])
        self.version.pop(way.family, None)

    # ---- measuring

    @property
    def edited(self) -> Edit:
        """The text to edit in the service."""
        assert self.code  # noqa: S101 - for the type checker: `first` has set it
        return self.code

    def look(self, what: str) -> None:
        """Wait for a quiet machine."""
        self.busy = not machine.quiet(self.arena.say, what)

    def case(self, key: str, number: int, action: Action, *, only: Sequence[Way] | None = None) -> None:
        """Measure a case once with each contender; the order alternates, as the first pays for cold disk caches."""
        if key not in self.cases:
            return
        case = CASE_BY_KEY[key]
        ways = [way for way in self.taking if takes_part(way, case, quick=self.quick) and (only is None or way in only)]
        turn = number % max(1, len(ways))
        for way in (*ways[turn:], *ways[:turn]):
            done = self.store.has(way.name, case.title, number) or figures.decided(
                self.store.samples, case.title, way.name
            )
            if way in self.taking and not done and not (key in MAY_FAIL and case.title in self.store.left_out):
                self.measure(case, way, number, action)

    def measure(self, case: Case, way: Way, number: int, action: Action) -> None:
        """Measure one build. A contender whose build fails is dropped; if `invoke build` fails, the case or the run."""
        try:
            built, right = action(way)
        except Problem as problem:
            if way.name == OURS and case.key in MAY_FAIL:
                self.without(way)
                self.skip(case.key, self.arena.session.masked(timed.last_line(problem)))
            else:
                self.drop(way.name, problem, f"{case.title}: ")
            return
        parts = (built.crates, right, built.compile, built.memory, self.busy)
        self.store.add(Sample(way.name, case.title, number, round(built.seconds, 3), *parts))
        self.spend()
        wrong = ", WRONG: the program lacks the edit" if right is False else ""
        self.arena.say(f"{case.title}, round {number + 1}, {way.name}: {built.seconds:.1f} s{wrong}")

    def drop(self, contender: str, problem: Problem, where: str = "") -> None:
        """Drop a contender for the rest of the run."""
        if contender == OURS:
            raise problem
        why = self.arena.session.masked(where + timed.last_line(problem))
        self.taking = [way for way in self.taking if way.name != contender]
        self.store.leave_out(contender, why)
        self.arena.say(f"excluding {contender} from here on: {why}")

    def spend(self) -> None:
        """Record the time since the last call, including waiting and warming up."""
        now = time.monotonic()
        self.store.spent(now - self.since)
        self.since = now

    def skip(self, key: str, why: str) -> None:
        """Record why a case is not measured."""
        self.store.leave_out(CASE_BY_KEY[key].title, why)
        self.arena.say(f"skipping {CASE_BY_KEY[key].title}: {why}")
