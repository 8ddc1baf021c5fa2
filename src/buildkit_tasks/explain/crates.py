"""Explains why crates compiled: what the compile step marked as changed, and what changed since its last run. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.history import trees
from buildkit_tasks.history.gather import NAMESPACE
from buildkit_tasks.history.model import Build, Crate, ServiceRecord, StepRecord, TreeRecord

from . import manifests
from .causes import comparable
from .comparison import PROGRAMS, Cause, Kept

#: Arguments that compile.rs does not compare. Unlike other variables, they do not mark every crate as changed.
HIDDEN = frozenset(
    {
        *("BINS", "PROGRAMS", "FEATURES", "NO_DEFAULT_FEATURES", "PROFILE", "CACHE_SCOPE", "REBUILD"),
        *("STRICT_TOOLCHAIN", "CARGO_INCREMENTAL", "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT"),
        *("BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT"),
    }
)
#: Arguments that determine what cargo compiles and how, each with its kind of cause.
_KINDS = {
    "FEATURES": "feature",
    "NO_DEFAULT_FEATURES": "feature",
    "PROFILE": "profile",
    "CARGO_INCREMENTAL": "incremental",
    "RUSTFLAGS": "flags",
    "STATIC": "flags",
    "BINS": "programs",
    "PROGRAMS": "programs",
}
_MARK = re.compile(r"^(\S+) \((.*)\)$")


@dataclass(frozen=True)
class CrateReason:
    """Why these crates were compiled. The causes apply to all of them."""

    crates: tuple[str, ...]
    causes: tuple[Cause, ...]


def reasons(build: Build, earlier: Sequence[Build], kept: Kept) -> tuple[CrateReason, ...]:
    """Return the crates that were compiled, grouped by cause; crates of the workspace first."""
    if not build.cargo.crates:
        return ()
    context = _Context(build, earlier, kept)
    found: dict[tuple[Cause, ...], list[str]] = {}
    for crate in sorted(build.cargo.crates, key=lambda c: c.place is None):
        name = crate.name if _is_single(crate, build) else f"{crate.name} {crate.version}"
        found.setdefault(context.causes(crate), []).append(name)
    return tuple(CrateReason(tuple(dict.fromkeys(names)), causes) for causes, names in found.items())


def _is_single(crate: Crate, build: Build) -> bool:
    return sum(other.name == crate.name for other in build.cargo.crates) == 1


class _Context:
    """The changes since the compile step last ran in the same mount."""

    def __init__(self, build: Build, earlier: Sequence[Build], kept: Kept) -> None:
        self.build, self.kept = build, kept
        self.before = next((b for b in earlier if comparable(b, build) and b.cargo.fresh is not None), None)
        self.failed = bool(earlier) and earlier[0].outcome == "failed" and earlier[0].problem == "compile-failed"
        self.compiled = {crate.name for crate in build.cargo.crates}
        marks = filter(None, map(_MARK.match, build.cargo.marked))
        self.marks: dict[str, str] = {mark[1]: mark[2] for mark in marks}
        self.step, self.service = _compile_step(build)
        self.changes = list(self._changes())
        self.lock, self.old_lock = self._lock(build), self._lock(self.before)
        self.everything = tuple(self._everything())

    def causes(self, crate: Crate) -> tuple[Cause, ...]:
        """Return the causes for one crate."""
        if self.everything:
            return self.everything
        found = [*self._marked(crate), *self._own(crate)]
        found = found or list(self._locked(crate)) or list(self._below(crate))
        found = found or [*self._manifests(), *self._selected()]
        if not found and self.failed:
            found = [Cause("failed", "the last build", "the last build failed before compiling this crate")]
        return tuple(dict.fromkeys(found)) or (
            Cause("unknown", "", "unknown: none of the recorded inputs changed", certain=False),
        )

    def _everything(self) -> Iterator[Cause]:
        """Yield the reasons why cargo starts from scratch."""
        build, before = self.build, self.before
        if build.pulled:
            yield Cause("pack", "pack", "the mount was filled from a pack that does not contain these crates")
        elif before is None:
            if build.cargo.total is not None:
                yield Cause("mount-empty", "target", "the target mount had no objects from an earlier build")
            else:
                yield Cause("first", "", "no earlier cargo run in the history", certain=False)
        elif build.cargo.tree != before.cargo.tree and build.cargo.tree and before.cargo.tree:
            text = "the toolchain (compiler or libraries) changed, so cargo recompiles everything"
            yield Cause("toolchain", build.cargo.tree, text)
        elif build.cargo.total is not None:
            if build.inputs.profile != before.inputs.profile:
                new = build.inputs.profile
                text = (
                    f"the cargo profile changed from {before.inputs.profile} to {new}, and nothing has been "
                    f"compiled with {new} yet"
                )
                yield Cause("profile", new, text)
            elif self._other_mounts():
                yield Cause("mount-empty", "target", "the build used different cache mounts, which were empty")
            else:
                yield Cause(
                    "mount-empty",
                    "target",
                    "the target mount was empty, because it was cleared, trimmed or garbage-collected",
                )

    def _other_mounts(self) -> bool:
        old = _compile_step(self.before)[1] if self.before else None
        names = ("CACHE_SCOPE", NAMESPACE)
        return bool(self.service and old and any(self.service.shown.get(n) != old.shown.get(n) for n in names))

    def _marked(self, crate: Crate) -> Iterator[Cause]:
        if crate.place is None and crate.name not in self.marks:
            return
        why = self.marks.get("everything") if crate.place is not None else None
        why = why or self.marks.get(crate.name)
        if not why:
            return
        if why == "environment changed":
            names = sorted(name for name in self._variables() if name not in HIDDEN)
            listed = f": {', '.join(names)}" if names else ""
            text = f"cargo's environment changed{listed}"
            yield Cause("environment", ", ".join(names), text)
        else:
            file = re.sub(r" (?:added|deleted|changed|was written by the build)$", "", why)
            details = list(self._differences(file)) if file.endswith("Cargo.toml") else []
            yield from details or [Cause("marked", file if file != why else "", f"detected by the compile step: {why}")]

    def _own(self, crate: Crate) -> Iterator[Cause]:
        """Yield the changes to the crate's own sources."""
        if crate.place is None:
            return
        for change in self.changes:
            if self._owner(change.path) == crate.place and change.path.endswith(".rs"):
                verb = {"added": "was added", "removed": "was removed"}.get(change.how, "changed")
                yield Cause("source", change.path, f"{change.path} {verb}")

    def _locked(self, crate: Crate) -> Iterator[Cause]:
        new, old = self.lock.get(crate.name, {}), self.old_lock.get(crate.name, {})
        if self.before is None or not new or not self.old_lock or crate.place is not None:
            return
        if not old:
            yield Cause("lock", "Cargo.lock", f"Cargo.lock: {crate.name} is new")
        elif crate.version not in old:
            yield Cause("lock", "Cargo.lock", f"Cargo.lock: {crate.name} {crate.version} instead of {', '.join(old)}")

    def _manifests(self) -> Iterator[Cause]:
        """Yield the changes to manifests that may affect any crate: features, profiles, cargo's configuration."""
        for change in self.changes:
            name = change.path.rpartition("/")[2]
            if name == "Cargo.toml":
                yield from (replace(cause, certain=False) for cause in self._differences(change.path))
            elif "/.cargo/config" in f"/{change.path}":
                yield Cause("flags", change.path, f"{change.path} changed", certain=False)

    def _differences(self, path: str) -> Iterator[Cause]:
        """Yield the changes in a Cargo.toml."""
        old, new = self._text(self.before, path), self._text(self.build, path)
        for words in manifests.differences(old, new) if old is not None and new is not None else ():
            kind = "feature" if "feature" in words else "profile" if "profile" in words else "manifest"
            yield Cause(kind, path, f"{path}: {words}")

    def _below(self, crate: Crate) -> Iterator[Cause]:
        """Yield the compiled crates that this crate depends on."""
        needs = self.lock.get(crate.name, {})
        names = needs.get(crate.version) or next(iter(needs.values()), frozenset())
        if built := sorted(names & self.compiled):
            what = "a dependency was compiled" if len(built) == 1 else "dependencies were compiled"
            yield Cause("dependency", built[0], f"{what}: {', '.join(built[:3])}{' …' if built[3:] else ''}")

    def _selected(self) -> Iterator[Cause]:
        """Yield the changes to arguments that select what is compiled."""
        for name in sorted(self._variables()):
            if name in _KINDS:
                yield Cause(_KINDS[name], name, f"the build argument {name} changed", name not in PROGRAMS)

    def _variables(self) -> set[str]:
        """Return names of arguments and ENV lines that differ in the compile step."""
        old = _compile_step(self.before)[0] if self.before else None
        if self.step is None or old is None:
            return set()
        now, then = self.step.variables, old.variables
        names = {name for name in {**now, **then} if now.get(name) != then.get(name)}
        lines = {*self.step.surroundings} ^ {*old.surroundings}
        words = (re.findall(r"([A-Za-z_]\w*)(?==)", line) for line in lines)
        return names | {name for found in words for name in found}

    # ---- files

    def _tree(self, build: Build | None) -> TreeRecord | None:
        service = _compile_step(build)[1] if build else None
        return build.inputs.trees.get(service.trees.get("", "")) if build and service else None

    def _changes(self) -> Iterator[trees.Change]:
        now, then = self._tree(self.build), self._tree(self.before)
        if now and then:
            yield from trees.changes({"": ["d", 0, then.root]}, {"": ["d", 0, now.root]}, self.kept.find)

    def _entry(self, build: Build | None, path: str) -> list[object] | None:
        tree = self._tree(build)
        return trees.select(tree.root, self.kept.find, [path]).get(path) if tree else None

    def _text(self, build: Build | None, path: str) -> str | None:
        entry = self._entry(build, path)
        return self.kept.text(str(entry[3])) if entry and entry[0] == "f" else None

    def _owner(self, path: str) -> str | None:
        """Return the directory of the nearest Cargo.toml above a path."""
        while path:
            path = path.rpartition("/")[0]
            manifest = f"{path}/Cargo.toml" if path else "Cargo.toml"
            if self._entry(self.build, manifest) is not None:
                return path
        return None

    def _lock(self, build: Build | None) -> Mapping[str, Mapping[str, frozenset[str]]]:
        if build is None:
            return {}
        service = _compile_step(build)[1]
        source = (service.shown.get("SOURCE", "") if service else "").strip("./")
        for path in (f"{source}/Cargo.lock".lstrip("/"), *self._above()):
            if (text := self._text(build, path)) is not None:
                return manifests.packages(text)
        return {}

    def _above(self) -> Iterator[str]:
        """Yield where a Cargo.lock may be: in the directories above the workspace's compiled crates."""
        for crate in self.build.cargo.crates:
            folder = crate.place
            while folder is not None:
                yield f"{folder}/Cargo.lock".lstrip("/")
                folder = folder.rpartition("/")[0] if folder else None


def _compile_step(build: Build | None) -> tuple[StepRecord | None, ServiceRecord | None]:
    """Return the step in which our compile program ran cargo, and a service that uses it."""
    for service in build.inputs.services if build else ():
        for at in service.steps:
            step = build.inputs.steps[at] if build else None
            if step and step.keyword == "RUN" and "/compile build" in step.text:
                return step, service
    return None, None
