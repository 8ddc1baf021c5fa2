"""Parses a Dockerfile into stages and steps, each with its environment, working directory and user."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction

from . import shell
from .ignorefile import IgnoreFile
from .steps import CacheMount, Step, inside, pairs

#: CARGO_HOME in official images of this name; it also contains the toolchain's programs.
RUST_IMAGE_HOME = "/usr/local/cargo"
_RUST_IMAGE = re.compile(r"(?:^|/)(?:rust|cargo-chef)(?:[:@]|$)")
_TARGET_ID = re.compile(r"(?:^|[-_/.])target(?:$|[-_/.])")
#: Arguments that BuildKit sets for each platform of a build.
PLATFORM = re.compile(r"\$\{?(?:TARGET(?:ARCH|PLATFORM)|BUILD(?:ARCH|PLATFORM))\b")


@dataclass(frozen=True)
class Source:
    """A Dockerfile to check, and the files it depends on.

    `services`: each service that builds it, with its build arguments; `ignore`: the applicable .dockerignore; `files`:
    the scripts that it runs, by their path in the context; `workspaces`: the directories with a cargo workspace.
    """

    name: str
    text: str
    services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    platforms: int = 1
    ignore: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    workspaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One FROM. `parent`: index of the stage that it starts from, None for an image; `image`: with ARGs expanded."""

    index: int
    name: str
    image: str
    parent: int | None
    platform: str
    line: int


class File:
    """A Dockerfile parsed with one set of build arguments."""

    def __init__(self, source: Source, service: str = "") -> None:
        self.source = source
        self.service = service
        self.stages: list[Stage] = []
        self.steps: list[Step] = []
        self.ignore = IgnoreFile(source.ignore)
        self._mounts: dict[int, tuple[CacheMount, ...]] = {}
        self._read(source.services.get(service, {}))

    # ---- queries

    @cached_property
    def is_rust(self) -> bool:
        """True if anything mentions cargo or rust; otherwise `target` may belong to another tool."""
        return bool(re.search(r"\b(?:cargo|rustc|rust)\b", self.source.text))

    @property
    def runs(self) -> Iterator[Step]:
        """The RUN steps."""
        return (s for s in self.steps if s.keyword == "RUN")

    def stage(self, name: str) -> Stage | None:
        """Return the stage with this name or number; None for an image."""
        if name.isdigit():
            return self.stages[int(name)] if int(name) < len(self.stages) else None
        return next((s for s in reversed(self.stages) if s.name == name.lower()), None)

    def chain(self, index: int) -> list[int]:
        """Return the stage and those it starts from, nearest first."""
        found: list[int] = []
        at: int | None = index
        while at is not None:
            found.append(at)
            at = self.stages[at].parent
        return found

    def image(self, index: int) -> str:
        """Return the image that a stage is based on, directly or through other stages."""
        return self.stages[self.chain(index)[-1]].image

    def history(self, step: Step) -> list[Step]:
        """Return the steps that produced the file system of `step`, in order."""
        chain = self.chain(step.stage)
        return [s for s in self.steps if s.stage in chain and s.item.line < step.item.line]

    def needs(self, index: int) -> set[int]:
        """Return all the stages that must be built before this one, including itself."""
        found: set[int] = set()
        todo = [index]
        while todo:
            at = todo.pop()
            if at in found:
                continue
            found.add(at)
            parent = self.stages[at].parent
            todo += [] if parent is None else [parent]
            for step in self.steps:
                if step.stage == at:
                    named = [step.from_stage, *[m.options.get("from", "") for m in mounts.run_mounts(step.item)]]
                    todo += [s.index for s in (self.stage(n) for n in named if n) if s and s.index < at]
        return found

    def text(self, step: Step) -> str:
        """Return the shell text of a RUN and of the scripts that it runs, without comments."""
        texts = [(path, self.source.files.get(path, "")) for path in self.scripts(step)]
        read = (shell.of_rust(t) if path.endswith(".rs") else shell.without_comments(t) for path, t in texts)
        return "\n".join([step.shell, *read])

    def scripts(self, step: Step) -> list[str]:
        """Return the paths in the context of scripts that the RUN may call, through bind mounts and COPY.

        A program that an earlier step compiled from a single Rust file counts as a script.
        """
        if not step.shell.strip():
            return []
        words = [w for w in shell.names(step.shell) if "=" not in w and ("/" in w or w.endswith(".sh"))]
        if re.search(r"\bmake\b", step.shell):
            words.append("Makefile")
        if re.search(r"\bjust\b", step.shell):
            words.append("justfile")
        places = [(s, t) for stage, s, t in step.binds if not stage]
        for earlier in self.history(step):
            if not earlier.from_stage:
                sources, into = earlier.copied
                places += [(s, into) for s in sources]
        found: dict[str, None] = {}
        named = {step.absolute(word) for word in words}
        for earlier in (s for s in self.history(step) if s.keyword == "RUN"):
            for program, source in shell.compiled(earlier.shell).items():
                if earlier.absolute(program) in named:
                    for stage, bound, target in earlier.binds:
                        if not stage:
                            found.update(dict.fromkeys(_in_context(earlier.absolute(source), bound, target)))
        words = [word for word in words if not word.endswith(".rs")]
        for path in map(step.absolute, words):
            for source, into in places:
                found.update(dict.fromkeys(_in_context(path, source, into)))
        return list(found)

    def mounts(self, step: Step) -> tuple[CacheMount, ...]:
        """Return the cache mounts of a RUN, except those without a target, which BuildKit rejects."""
        key = step.item.line
        if key not in self._mounts:
            self._mounts[key] = tuple(self._cache_mounts(step))
        return self._mounts[key]

    # ---- parsing

    def _cache_mounts(self, step: Step) -> Iterator[CacheMount]:
        for mount in mounts.run_mounts(step.item):
            o = mount.options
            if mount.type != "cache" or not mount.target:
                continue
            path = step.absolute(mount.target)
            raw = o.get("id", "")
            named = step.expand(raw) or path
            yield CacheMount(
                self._kind(step, path, named), path, named, raw, o.get("sharing") or "shared", mount.line, o
            )

    def _kind(self, step: Step, path: str, identity: str) -> str:
        home = step.cargo_home
        if not self.is_rust:
            return "other"
        if posixpath.basename(path).startswith(".package-cache"):
            return "lock"
        if path in (home, RUST_IMAGE_HOME) or posixpath.basename(path) == ".cargo":
            return "home"
        for kind in ("registry", "git"):
            if re.search(rf"(?:^|/)\.?cargo/{kind}(?:/|$)", path) or (home and inside(path, (f"{home}/{kind}",))):
                return kind
        if path == step.target_dir or posixpath.basename(path) == "target" or _TARGET_ID.search(identity):
            return "target"
        return "other"

    def _read(self, given: Mapping[str, str]) -> None:
        globals_: dict[str, str] = {}
        ends: list[tuple[dict[str, str], dict[str, int], str, str]] = []
        env: dict[str, str] = {}
        declared: dict[str, int] = {}
        workdir, user = "/", ""
        for item in syntax.instructions(self.source.text):
            if item.keyword == "FROM":
                if self.stages:
                    ends.append((env, declared, workdir, user))
                stage = self._from(item, globals_)
                self.stages.append(stage)
                if stage.parent is not None:
                    before = ends[stage.parent]
                    env, declared, workdir, user = dict(before[0]), dict(before[1]), before[2], before[3]
                else:
                    rust = bool(_RUST_IMAGE.search(stage.image))
                    env, declared, workdir, user = ({"CARGO_HOME": RUST_IMAGE_HOME} if rust else {}), {}, "/", ""
                continue
            if item.keyword == "ARG":
                for name, value in pairs(item):
                    if not self.stages:
                        chosen = given.get(name, None if value is None else syntax.expand(value, globals_))
                        if chosen is not None:
                            globals_[name] = chosen
                        continue
                    declared[name] = item.line_of(name)
                    fallback = globals_.get(name) if value is None else syntax.expand(value, env, keep=True)
                    chosen = given.get(name, fallback)
                    if chosen is not None:
                        env[name] = chosen
            if not self.stages:
                continue
            step = Step(item, len(self.stages) - 1, dict(env), dict(declared), workdir, user)
            self.steps.append(step)
            if item.keyword == "ENV":
                env.update({name: step.expand(value or "") for name, value in pairs(item)})
            elif item.keyword == "WORKDIR":
                workdir = step.absolute(item.rest.strip("\"'"))
            elif item.keyword == "USER":
                user = step.expand(item.rest.strip("\"'"))

    def _from(self, item: Instruction, values: Mapping[str, str]) -> Stage:
        options, rest = syntax.flags(item)
        words = rest.split()
        base = syntax.expand(words[0], values, keep=True) if words else ""
        name = words[2].lower() if len(words) >= 3 and words[1].upper() == "AS" else ""
        parent = next((s.index for s in reversed(self.stages) if s.name and s.name == base.lower()), None)
        return Stage(len(self.stages), name, base, parent, options.get("platform", ""), item.line)


def _in_context(path: str, source: str, into: str) -> Iterator[str]:
    """Yield the path in the context of the file at `path`, if `source` was copied to `into`."""
    if not inside(path, (into,)):
        return
    rest = posixpath.relpath(path, into)
    candidates = [source] if rest == "." else [posixpath.join(source, rest)]
    if rest == posixpath.basename(source):
        candidates.append(source)
    for candidate in map(posixpath.normpath, candidates):
        if candidate != "." and not candidate.startswith(("..", "/")) and "$" not in candidate:
            yield candidate


def wanted(source: Source) -> set[str]:
    """Return the files in the context to read: scripts that RUNs seem to call, and cargo's settings."""
    found: set[str] = set()
    for service in source.services or {"": {}}:
        read = File(source, service)
        found.update(path for step in read.runs for path in read.scripts(step))
    for folder in {".", *source.workspaces}:
        found.update(posixpath.normpath(f"{folder}/.cargo/{name}") for name in ("config.toml", "config"))
    return found
