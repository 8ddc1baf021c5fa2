"""Convert commands that prepare the sources before cargo runs: `npm run build`, `make`, a code generator.

They run in a separate stage, in the directory that they expect, and cargo reads the results.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import install, recipe, shipped, stage_items
from buildkit_tasks.existing.recipe import Copy, Recipe, Stage
from buildkit_tasks.survey.finding import Note, Service

from . import compiling, replaced, shell_variables, stage_lines
from .compiling import Kept
from .variables import OURS

#: Commands that compile, or that need compiled programs: left to our compile step.
_COMPILES = re.compile(r"\bcargo\b|\brustup\b|\btarget/|\.rs\b|^\s*(?:strip|objcopy|upx)\b")
#: Commands that act on cargo itself, not on the sources: they would have no effect in another stage.
_ELSEWHERE = re.compile(
    r"^\s*(?:export|source|\.|ln|mount|(?:npm|pip3?|git)\s+config)\s|(?:>|>>|\btee)\s*(?:/(?:etc|root|usr|home)/|~|\$\{?HOME)"
)
#: Commands that need the complete sources.
_CARGO = re.compile(
    r"\bcargo\s+(?:\+\S+\s+)?(?:auditable\s+)?(?:(?:build|b|rustc|zigbuild|run|r|xtask)\b|install\b.*--path)"
)
_MOVED = "now runs before cargo, in the stage `sources`"
#: More than a chain of commands: kept as a whole or not at all.
_SCRIPT = re.compile(r"<<|\b(?:if|for|case|while|until)\b")


@dataclass(frozen=True)
class Prepared:
    """The lines of the stage. `root`: the repository root in the stage; `numbers`: lines of the user's Dockerfile with
    commands that it runs; `stages`: names of the compile stages that it replaces; `whole`: it copies the whole context;
    `overlays`: it also copies files over the context; `path`: the Dockerfile with these lines."""

    root: str
    lines: tuple[str, ...]
    numbers: frozenset[int]
    stages: frozenset[str]
    whole: bool
    overlays: bool = False
    path: str = ""

    def makes(self, path: str) -> bool:
        """Return whether a path is in the copied sources, or in a command of the stage."""
        return f"{path}/".startswith(f"{self.root.rstrip('/')}/") or any(
            re.search(rf"(?<![\w.-]){re.escape(path.rstrip('/'))}(?![\w.-])", line) for line in self.lines
        )


def read(service: Service, kept: Kept, is_dir: Callable[[str], bool]) -> Prepared | None:
    """Return a stage with the commands of a service's Dockerfile that `kept` left out; None if they do not fit.

    `is_dir` returns whether a path in the repository is a directory.
    """
    taken, left, tools = service.recipe, kept.left, kept.tools
    if taken is None or service.context != ".":
        return None
    stages = [s for s in taken.compiling if any(item.line in left for item in s.items)]
    stages = stages or [s for s in taken.compiling if s.compiles and overlays(taken, s, is_dir)]
    if len(stages) != 1:
        return None
    chain = shipped.compiled_in(taken, stages[0].name)
    reader = _Reader(taken, left, is_dir)
    for stage in chain:
        reader.stage(stage, last=stage is chain[-1])
    inside = any(f"{place}/".startswith(f"{reader.root.rstrip('/')}/") for place in reader.odd)
    if inside or not reader.root or not reader.moved:
        return None
    lines = (*(stage_lines.with_registry(run) for run in tools), *reader.lines)
    names = frozenset(stage.name for stage in chain)
    return Prepared(
        reader.root, lines, frozenset(reader.numbers), names, reader.whole, bool(reader.overlays), chain[-1].path
    )


def overlays(taken: Recipe, stage: Stage, is_dir: Callable[[str], bool]) -> tuple[Instruction, ...]:
    """Return the lines of a compile stage that copy a file over the context to a different path than its own."""
    reader = _Reader(taken, (), is_dir)
    chain = shipped.compiled_in(taken, stage.name)
    for each in chain:
        reader.stage(each, last=each is chain[-1])
    return tuple(reader.overlays)


def unmet(services: Sequence[Service], is_dir: Callable[[str], bool]) -> list[Note]:
    """Return a note for each file that a compile stage copies to a different path, if no stage provides it."""
    found = [
        Note(
            f"{stage.path}:{item.line}",
            "not converted, because the compile step reads files at their paths in the repository: "
            f"{stage_lines.short(item)}",
            True,
        )
        for s in services
        if s.recipe
        for stage in s.recipe.compiling
        if stage.compiles
        for item in overlays(s.recipe, stage, is_dir)
    ]
    return list(dict.fromkeys(found))


def with_notes(kept: Kept, prepared: Prepared) -> Kept:
    """Return `kept` with updated notes on commands that run in the stage."""
    done = {f"{prepared.path}:{number}" for number in prepared.numbers}
    notes = [
        Note(note.where, note.text.replace(compiling.LEFT, _MOVED))
        if note.where in done and note.text.startswith(compiling.LEFT)
        else note
        for note in kept.notes
    ]
    return replace(kept, notes=tuple(notes))


def shared(each: Mapping[str, Prepared | None]) -> Prepared | None:
    """Return what the services' Dockerfiles have in common; None if they prepare the sources differently."""
    found = set(each.values())
    if not any(one and one.overlays for one in found):
        found.discard(None)
    return found.pop() if len(found) == 1 else None


def text(prepared: Prepared, generated: Sequence[tuple[str, str, str]]) -> str:
    """Return the stage `sources`. `generated`: files from other stages that the lines may not copy yet."""
    there = "\n".join(prepared.lines)
    copies = [
        f"COPY --from={stage} {source} {posixpath.join(prepared.root, target)}"
        for stage, source, target in generated
        if f"--from={stage}" not in there
    ]
    head = "# ---- the sources, prepared by commands of the old compile stage"
    return "\n".join([head, "FROM toolchain AS sources", "ARG CACHE_SCOPE", *prepared.lines, *copies])


class _Reader:
    def __init__(self, taken: Recipe, left: Collection[int], is_dir: Callable[[str], bool]) -> None:
        self.taken, self.left, self.is_dir = taken, frozenset(left), is_dir
        self.built = self.whole = self.moved = False
        self.shipped = stage_items.shipped(taken)
        self.odd: list[str] = []  # copied to a different path than in the repository
        self.overlays: list[Instruction] = []
        self.before = recipe.syntax_defaults("\n".join(line.text for line in taken.header))
        self.lines: list[str] = []
        self.numbers: set[int] = set()
        self.workdir, self.root = "/", ""

    def stage(self, stage: Stage, *, last: bool) -> None:
        compiling = [i.line for i in stage.items if i.keyword == "RUN" and _CARGO.search(f"{i.rest}\n{i.body}")]
        for item in stage.items:
            if last and compiling and item.line > compiling[-1]:
                break  # after the last command that compiles
            if item.keyword == "WORKDIR":
                self.workdir = posixpath.join(self.workdir, syntax.expand(item.rest, self.taken.values))
                self.lines.append(f"WORKDIR {self.workdir}")
            elif item.keyword in ("ENV", "ARG"):
                self.lines += self._variables(item)
            elif item.keyword == "SHELL":
                self.lines.append(recipe.line(item).text)
            elif item.keyword in ("COPY", "ADD"):
                self._copy(item)
            elif item.keyword == "RUN" and last and not self.built and (self.root or item.line in self.left):
                self._run(item)

    def _variables(self, item: Instruction) -> Iterator[str]:
        for name, value in syntax.assignments(item):
            given = self.before.get(name) if value is None else value
            if name not in OURS or name == "PATH":
                yield f"{item.keyword} {name}" if given is None else f'{item.keyword} {name}="{given}"'

    def _copy(self, item: Instruction) -> None:
        copy = recipe.copied(item, self.taken.values)
        if copy is None:
            return
        if copy.stage:
            ours = {s.name for s in self.taken.compiling}
            if copy.stage.lower() not in ours and not recipe.is_helper(copy.stage, self.taken):
                self.lines.append(recipe.line(item).text)
            return
        if any(replaced.GIT.match(source) for source in copy.sources):
            return
        roots = {self._root(copy, source) for source in copy.sources}
        place = posixpath.normpath(posixpath.join(self.workdir, copy.destination))
        self.built = False
        self.lines.append(recipe.line(item).text)
        if len(roots) == 1 and (root := roots.pop()) and self.root in ("", root):
            self.root = root
            self.whole = self.whole or [posixpath.normpath(s.strip("/") or ".") for s in copy.sources] == ["."]
        elif self.whole and f"{place}/".startswith(f"{self.root.rstrip('/')}/"):
            self.overlays.append(item)
            self.moved = True
        else:
            self.odd.append(place)

    def _root(self, copy: Copy, source: str) -> str:
        """Return the directory that serves as the repository root for a copied path; empty if there is none."""
        path = posixpath.normpath(source.strip("/") or ".")
        place = posixpath.normpath(posixpath.join(self.workdir, copy.destination))
        if path == ".":
            return place
        if not self.is_dir(path) and (copy.destination.endswith(("/", ".")) or len(copy.sources) > 1):
            place = posixpath.join(place, posixpath.basename(path))
        return place.removesuffix(f"/{path}") or "/" if place.endswith(f"/{path}") else ""

    def _prepares(self, part: str, cloned: bool) -> bool:
        """`cloned`: an earlier command of the same RUN created a repository, so git reads that one."""
        if replaced.fills(part, self.workdir, self.shipped):
            return True
        return not (
            _COMPILES.search(part)
            or (replaced.READS_GIT.search(part) and not cloned)
            or replaced.SETTINGS.match(part)
            or "sccache" in part
        )

    def _run(self, item: Instruction) -> None:
        """Keep the commands before the first one that compiles; later commands may need a program."""
        whole = f"{syntax.flags(item)[1]}\n{item.body}"
        taken = install.split(item)
        parts = list(taken.rest) if taken else install.commands(whole)
        if _SCRIPT.search(whole):
            self.built = _CARGO.search(whole) is not None
            parts = [whole]
        end = next((at for at, part in enumerate(parts) if _CARGO.search(part)), len(parts))
        self.built = self.built or end < len(parts)
        clones = next((at for at, part in enumerate(parts) if replaced.CLONES.search(part)), len(parts))
        kept = [part for at, part in enumerate(parts[:end]) if self._prepares(part, at >= clones)]
        if replaced.DOWNLOADS.search(whole):
            return  # belongs to the toolchain
        if all(re.match(r"(?:cd|set|export)\b|\w+=", part) or _ELSEWHERE.search(part) for part in kept):
            return
        flags = item.rest[: len(item.rest) - len(syntax.flags(item)[1])].strip()
        text = " ".join(filter(None, ["RUN", flags, " && ".join(kept)]))
        if kept == parts and not install.packages(item):
            text = recipe.line(item).text
        self.lines.append(stage_lines.with_ca(text))
        self.moved = self.moved or item.line in self.left
        lost = [part for part in parts if part not in kept and not replaced.is_replaced(part)]
        elsewhere = [part for part in kept if _ELSEWHERE.search(part) and not shell_variables.settled(part)]
        lost += elsewhere if end < len(parts) else []
        if not [part for part in lost if not replaced.SETTINGS.match(part)]:
            self.numbers |= {item.line} & self.left
