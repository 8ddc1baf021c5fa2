"""Analyze a repository's own Dockerfile for a Rust service: what is kept and what our compile step replaces.

Our step replaces the stages that compile. Every other line of the image's stages is kept unchanged; a line that cannot
be kept is reported with its number. Nothing is dropped silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction

from . import cargo_command, install
from .cargo_command import Cargo

_HELPER = re.compile(r"cargo-chef|cargo\s+chef|sccache|cargo-binstall|cargo-auditable")
#: Compile-time helper images that our step replaces: cargo-chef, and xx for cross builds.
_HELPER_IMAGE = re.compile(r"cargo-chef|(?:^|/)tonistiigi/xx(?:[:@]|$)")
#: BuildKit's predefined arguments, to find the stage that `FROM build-$TARGETARCH` refers to.
_PLATFORM = {
    **dict.fromkeys(("TARGETARCH", "BUILDARCH"), "amd64"),
    **dict.fromkeys(("TARGETOS", "BUILDOS"), "linux"),
    **dict.fromkeys(("TARGETPLATFORM", "BUILDPLATFORM"), "linux/amd64"),
}
#: A valid image name. An argument without a value leaves nothing, or a tag such as `:-slim`.
IMAGE = re.compile(r"\w[\w.-]*(?::\d+(?=/))?(?:/[\w.-]+)*(?::\w[\w.-]*)?(?:@\w+:\w+)?")
OUTPUT = re.compile(r"(?:^|/)(?:release|debug|release-\w+|dist|production|prod)/([\w.-]+)$")


@dataclass(frozen=True)
class Line:
    """One instruction of the user's Dockerfile: its number, keyword and text as written."""

    number: int
    keyword: str
    text: str


@dataclass(frozen=True)
class Copy:
    """A COPY from a compile stage: a workspace program, or another file of the stage."""

    line: Line
    sources: tuple[str, ...]
    destination: str
    flags: tuple[str, ...]
    stage: str


@dataclass(frozen=True)
class Stage:
    """One FROM and its instructions. `compiles`: it builds the program. `number`: its place among the stages.

    `path`, `line`: where its FROM is; another service's Dockerfile if this one uses that service's image.
    `arguments`: those in its FROM.
    """

    name: str
    base: str
    platform: str
    number: int
    items: tuple[Instruction, ...]
    compiles: bool = False
    path: str = ""
    line: int = 0
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """The stages of a Dockerfile, the lines before the first one, and the values of its arguments and variables."""

    path: str
    stages: tuple[Stage, ...]
    header: tuple[Line, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)

    def needed(self, target: str) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
        """Return the stages of the image, outermost base first, and every stage that BuildKit builds for it."""
        by_name = {stage.name: stage for stage in self.stages}
        final = tuple(chain(by_name.get(target.lower()) or self.stages[-1], by_name))[::-1]
        inputs = inputs_of(final, by_name)
        return final, tuple(s for s in self.stages if s.name in inputs or s in final)


@dataclass(frozen=True)
class Recipe:
    """An analyzed Dockerfile. `kind`: mounts, chef, plain or single-stage, as commonly called.

    `final`: the stages of the image, outermost base first, without their FROM lines; `side`: other stages that it
    copies from; `stages`: all stages, including other targets; `toolchain`: base image of the compile stage; `target`:
    the last stage of the image; `folders`: directories among its COPY sources, if it copies a prebuilt program.
    """

    path: str
    kind: str
    stages: tuple[Stage, ...]
    final: tuple[Stage, ...]
    side: tuple[Stage, ...]
    compiling: tuple[Stage, ...]
    toolchain: str
    runtime: str
    cargo: Cargo
    values: Mapping[str, str] = field(default_factory=dict)
    header: tuple[Line, ...] = ()
    target: str = ""
    build_packages: tuple[str, ...] = ()
    folders: frozenset[str] = frozenset()

    @property
    def image(self) -> tuple[Stage, ...]:
        """The stages of the image, outermost base first, even if they compile."""
        by_name = {stage.name: stage for stage in self.stages}
        return tuple(chain(by_name.get(self.target) or self.stages[-1], by_name))[::-1]


def read(path: str, text: str, args: Mapping[str, str], target: str = "") -> Recipe | None:
    """Analyze a Dockerfile; None if no stage compiles Rust."""
    return of(parse(path, text, args), target)


def of(parsed: Parsed, target: str = "", keep: Collection[str] = ()) -> Recipe | None:
    """Analyze stages; None if none compiles Rust. `keep`: names of stages that compile something else."""
    parsed = replace(parsed, stages=tuple(replace(s, compiles=False) if s.name in keep else s for s in parsed.stages))
    found, values = parsed.stages, parsed.values
    if not found:
        return None
    by_name = {stage.name: stage for stage in found}
    # BuildKit skips all other stages, so cargo options and tools of other targets do not count
    final, used = parsed.needed(target)
    inputs = inputs_of(final, by_name)
    compiling = {s.name for s in used if s.compiles}
    if not compiling:
        return None
    single = [s for s in final if s.name in compiling]
    # the bases of the compile stages, unless another kept stage needs them
    replaced = {a.name for s in used if s.name in compiling for a in chain(s, by_name)}
    replaced |= {s.name for s in used if _HELPER_IMAGE.search(s.base)}
    replaced |= {
        s.name
        for s in used
        if _HELPER.search("\n".join(i.rest for i in s.items)) and s.name not in {*keep, *(f.name for f in final)}
    }
    side = [s for s in used if s.name in inputs and s.name not in replaced and s not in final]
    kept: dict[str, Stage] = {}
    for stage in side:
        for one in (*chain(stage, by_name), *(by_name[n] for n in inputs_of((stage,), by_name) if n in by_name)):
            kept[one.name] = one
    ordered = tuple(s for s in used if s.name in kept)
    builders = tuple(
        replace(s, items=tuple(map(install.flat, s.items))) for s in used if s.name in replaced | compiling
    )
    first = next((s for s in builders if s.compiles), builders[0])
    toolchain = tuple(chain(first, by_name))[-1].base
    commands = cargo_command.commands([i for s in builders if s.compiles for i in s.items], values)
    text_of = "\n".join(f"{i.rest}\n{i.body}" for s in builders for i in s.items if i.keyword == "RUN")
    kind = (
        "single-stage" if single else "chef" if "chef" in text_of else "mounts" if "type=cache" in text_of else "plain"
    )
    return Recipe(
        parsed.path,
        kind,
        found,
        () if single else final,
        ordered,
        builders,
        toolchain,
        "" if single else final[0].base,
        next(reversed(commands), Cargo()),
        values,
        parsed.header,
        final[-1].name,
        tuple(dict.fromkeys(p for s in builders for i in s.items for p in install.packages(i))),
    )


def syntax_defaults(text: str) -> dict[str, str]:
    """Return the defaults of ARGs and plain values of ENVs in a Dockerfile; the first value of a name wins."""
    found: dict[str, str] = {}
    for item in syntax.instructions(text):
        if item.keyword in ("ARG", "ENV"):
            for name, value in syntax.assignments(item):
                if value is not None:
                    found.setdefault(name, syntax.expand(value, found))
    return found


def line(item: Instruction) -> Line:
    """Return an instruction as written by the user."""
    return Line(item.line, item.keyword, "\n".join(part for _, part in item.parts))


def parse(path: str, text: str, args: Mapping[str, str]) -> Parsed:
    """Split a Dockerfile into its stages. `args`: the build arguments of the service."""
    values = {**syntax_defaults(text), **args}
    header: list[Line] = []
    found: list[tuple[str, str, str, int, list[Instruction]]] = []
    arguments: list[tuple[str, ...]] = []
    for item in syntax.instructions(text):
        if item.keyword == "FROM":
            options, rest = syntax.flags(item)
            words = rest.split()
            name = words[2].lower() if len(words) >= 3 and words[1].upper() == "AS" else str(len(found))
            base = syntax.expand(words[0], {**_PLATFORM, **values}).strip("\"'") if words else ""
            found.append((name, base, options.get("platform", ""), item.line, []))
            arguments.append(tuple(re.findall(r"\$\{?(\w+)", " ".join(words[:1]))))
        elif found:
            found[-1][4].append(item)
        else:
            header.append(line(item))
    stages = tuple(
        Stage(name, base, platform, number, tuple(items), cargo_command.compiles(items), path, at, arguments[number])
        for number, (name, base, platform, at, items) in enumerate(found)
    )
    return Parsed(path, stages, tuple(header), values)


def without_image(taken: Recipe) -> Stage | None:
    """Return the first needed stage with an invalid image in FROM because an argument has no value."""
    names = {stage.name for stage in taken.stages}
    needed = (*taken.compiling, *taken.side, *taken.final)
    return next((s for s in needed if s.base.lower() not in names and not IMAGE.fullmatch(s.base)), None)


def is_helper(name: str, taken: Recipe) -> bool:
    """Return whether a stage or image used as a copy source is only a compile-time helper."""
    base = next((s.base for s in taken.stages if s.name == name.lower()), name)
    return _HELPER_IMAGE.search(base) is not None or "chef" in name


def chain(stage: Stage, by_name: Mapping[str, Stage]) -> Iterator[Stage]:
    """Yield a stage and its base stages, starting with the stage itself."""
    seen: set[str] = set()
    current: Stage | None = stage
    while current and current.name not in seen:
        seen.add(current.name)
        yield current
        parent = by_name.get(current.base.lower())
        current = parent if parent and parent.number < current.number else None


def sources(stage: Stage) -> Iterator[str]:
    """Yield the names of stages and images that a stage copies from."""
    for item in stage.items:
        if item.keyword in ("COPY", "ADD"):
            given = syntax.flags(item)[0].get("from", "")
            if given:
                yield given.lower()
        for mount in mounts.run_mounts(item):
            if "from" in mount.options:
                yield mount.options["from"].lower()


def inputs_of(stages: Sequence[Stage], by_name: Mapping[str, Stage]) -> set[str]:
    """Return the names of all the stages that these stages copy from, directly or indirectly."""
    found: set[str] = set()
    todo = [name for s in stages for name in sources(s)]
    while todo:
        name = todo.pop()
        if name in found or name not in by_name:
            continue
        found.add(name)
        todo += [n for s in chain(by_name[name], by_name) for n in (s.name, *sources(s))]
    return found


def copies(recipe: Recipe) -> Iterator[Copy]:
    """Yield every COPY in the kept stages from a stage that compiles."""
    names = {s.name for s in recipe.compiling}
    for stage in (*recipe.side, *recipe.final):
        for item in stage.items:
            taken = copied(item, recipe.values)
            if taken and taken.stage.lower() in names:
                yield taken


def rewritten(item: Instruction, flags: Sequence[str], words: Sequence[str]) -> Instruction:
    """Return a COPY or ADD with other options and paths, as a JSON list if a path contains spaces."""
    text = json.dumps(words) if any(re.search(r"\s", word) for word in words) else " ".join(words)
    rest = " ".join([*flags, text])
    return replace(item, rest=rest, parts=((item.line, f"{item.keyword} {rest}"),))


def copied(item: Instruction, values: Mapping[str, str]) -> Copy | None:
    """Return a COPY or ADD as a value, with known variables expanded; None for other instructions."""
    if item.keyword not in ("COPY", "ADD"):
        return None
    options, rest = syntax.flags(item)
    words = syntax.json_words(rest) or syntax.words(rest)
    words = [syntax.expand(w, values, keep=True) for w in words]
    if len(words) < 2:
        return None
    flags = tuple(w for w in item.rest[: len(item.rest) - len(rest)].split() if not w.startswith("--from"))
    return Copy(line(item), tuple(words[:-1]), words[-1], flags, options.get("from", ""))
