"""Find the programs that a Dockerfile puts into its image, and their names. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.workspaces.cargo import CargoWorkspace, Package

from . import cargo_command, install, recipe, stage_items
from .cargo_command import Cargo, builds
from .recipe import OUTPUT, Recipe, Stage, copies

#: The path where cargo puts an example.
EXAMPLE = re.compile(r"(?:^|/)target/(?:[\w-]+/)?[\w-]+/examples/([\w.-]+)$")


def compiled_in(taken: Recipe, name: str) -> tuple[Stage, ...]:
    """Return a stage with its base stages, innermost last, if any of them compiles; else empty."""
    by_name = {stage.name: stage for stage in taken.stages}
    stage = by_name.get(name.lower())
    chain = tuple(recipe.chain(stage, by_name))[::-1] if stage else ()
    return chain if any(s.compiles for s in chain) else ()


def commands_in(taken: Recipe, name: str) -> tuple[Cargo, ...]:
    """Return the options of the cargo commands in a stage and its base stages; if none compiles, in all stages."""
    stages = compiled_in(taken, name) or taken.compiling
    return cargo_command.commands([i for s in stages if s.compiles for i in s.items], taken.values)


def program(source: str, binaries: Collection[str]) -> str:
    """Return the workspace program at a path in a compile stage; empty for any other file."""
    if EXAMPLE.search(source):
        return ""
    name = posixpath.basename(source.rstrip("/"))
    built = OUTPUT.search(source)
    if built and built[1] in binaries:
        return built[1]
    folder = posixpath.dirname(source.rstrip("/"))
    likely = re.search(r"(?:^|/)(?:target|bin|out|build|app|dist|artifacts?)(?:/|$)", folder)
    return name if name in binaries and likely else ""


def example(taken: Recipe) -> str:
    """Return the example that a Dockerfile ships instead of a program; empty if it ships a program."""
    sources = [source for copy in copies(taken) for source in copy.sources]
    found = [match[1] for source in sources for match in [EXAMPLE.search(source)] if match]
    built = commands_in(taken, "")
    asked = [name for command in built for name in command.examples]
    only = bool(built) and all(command.examples for command in built)
    return (found or (asked if only else []) or [""])[0] if not any(map(OUTPUT.search, sources)) else ""


def elsewhere(taken: Recipe, binaries: Collection[str], others: Collection[str]) -> frozenset[str]:
    """Return the compile stages that ship programs of other workspaces (`others`) but none of this workspace."""
    return frozenset(stage for stage, (own, theirs) in _owners(taken, binaries, others).items() if theirs and not own)


def mixed(taken: Recipe, binaries: Collection[str], others: Collection[str]) -> tuple[str, ...]:
    """Return programs of other workspaces (`others`) from compile stages that also ship a program of this workspace.

    A source directory may have a program's name, so only paths written by cargo or a command count.
    """
    there = renamed(taken, others)
    sources = [s for own, theirs in _owners(taken, binaries, others).values() if own for s in theirs]
    made = [s for s in sources if OUTPUT.search(s) or "/bin/" in s or posixpath.basename(s) in there]
    return tuple(dict.fromkeys(program(source, others) for source in made))


def _owners(
    taken: Recipe, binaries: Collection[str], others: Collection[str]
) -> dict[str, tuple[bool, tuple[str, ...]]]:
    """Map each compile stage to whether it ships a program of this workspace, and the paths of `others`' programs."""
    own = renamed(taken, binaries)
    found: dict[str, tuple[bool, tuple[str, ...]]] = {}
    for copy in copies(taken):
        for source in copy.sources:
            ours = bool(program(source, binaries)) or posixpath.basename(source) in own
            theirs = (source,) if not ours and program(source, others) else ()
            before, paths = found.get(copy.stage.lower(), (False, ()))
            found[copy.stage.lower()] = (before or ours, (*paths, *theirs))
    return found


def installed(taken: Recipe) -> frozenset[str]:
    """Return the program directories in compile stages: of `cargo install --root`, and in the target directory."""
    found: set[str] = set()
    for stage in taken.compiling:
        workdir = "/"
        for item in stage.items:
            if item.keyword == "WORKDIR":
                workdir = posixpath.join(workdir, syntax.expand(item.rest, taken.values))
            text = syntax.expand(f"{item.rest}\n{item.body}", taken.values, keep=True)
            if item.keyword != "RUN" or not re.search(r"\bcargo\b", text):
                continue
            found.update(
                posixpath.normpath(posixpath.join(workdir, root, "bin"))
                for root in re.findall(r"\binstall\b[^;&|]*--path[^;&|]*--root[= ]+(\S+)", text)
                + re.findall(r"\binstall\b[^;&|]*--root[= ]+(\S+)[^;&|]*--path", text)
            )
            found.update(posixpath.normpath(posixpath.join(workdir, "target", kind)) for kind in ("release", "debug"))
    return frozenset(found)


def stages(taken: Recipe, binaries: Collection[str]) -> dict[str, str]:
    """Map each program of the image to the compile stage it is copied from."""
    own, there = _moved(taken, binaries)
    named = (
        (there.get(_absolute("/", s)) or own.get(posixpath.basename(s)) or program(s, binaries), c.stage)
        for c in copies(taken)
        for s in c.sources
    )
    return {name: stage for name, stage in named if name}


def options(taken: Recipe, binaries: Mapping[str, Package], name: str) -> Cargo:
    """Return the cargo options for a program: those of the last command in its stage that builds it."""
    package = binaries[name]
    found = commands_in(taken, stages(taken, binaries).get(name, ""))
    built = [command for command in found if builds(command, name, package.name, package.directory)]
    return next(reversed(built or found), taken.cargo)


def target(asked: Cargo, taken: Recipe) -> str:
    """Return the target of a command, else of the copied program.

    If the shell computes it, return a musl target if the compile stages mention only musl, or the target as written
    if they mention both kinds.
    """
    if not re.search(r"[$`]", asked.target):
        return asked.target or _copied_target(taken)
    text = "\n".join(f"{i.rest}\n{i.body}" for stage in taken.compiling for i in stage.items)
    named = {kind: triple for triple, kind in re.findall(r"\b(\w+-\w+-linux-(gnu|musl)\w*)", text)}
    return asked.target if len(named) > 1 else named.get("musl", "")


def _copied_target(taken: Recipe) -> str:
    """Return the musl target in the path of a copied program, since the Rust image may choose it; else empty."""
    copied = [source for copy in copies(taken) for source in copy.sources]
    runs = stage_items.runs(taken.compiling)
    found = re.search(r"target/(\w+-[\w-]*musl\w*)/(?:release|debug)/", "\n".join([*copied, *runs]))
    return found[1] if found else ""


def features(asked: Cargo, workspace: CargoWorkspace, binary: str) -> tuple[str, ...]:
    """Return the non-default features that a command enables, as written for one program's crate.

    `--all-features` without `-p` applies to all workspace members, including those that the crate depends on.
    """
    if not asked.all_features:
        return () if asked.features == ("default",) else asked.features
    package = workspace.binaries[binary]
    found = [name for name in package.features if name != "default"]
    root = any(p.directory == workspace.directory for p in workspace.packages)
    if not (asked.packages or asked.paths or root):
        needed = {name for name, directory in package.built if directory}
        members = (p for p in workspace.packages if p.name in needed)
        found += [f"{p.name}/{name}" for p in members for name in p.features if name != "default"]
    return tuple(dict.fromkeys((*found, *asked.features)))


def compiling(taken: Recipe, binaries: Collection[str], name: str) -> tuple[Stage, ...]:
    """Return the stages that compile a program; all compile stages if unclear."""
    return compiled_in(taken, stages(taken, binaries).get(name, "")) or taken.compiling


def renamed(taken: Recipe, binaries: Collection[str]) -> dict[str, str]:
    """Map new base names to programs, for `cp target/release/api /app/server` in a compile stage.

    Files keep their names if several are copied at once or if `mkdir` created the destination. Copies of copies
    count, too.
    """
    return _moved(taken, binaries)[0]


def places(taken: Recipe, binaries: Collection[str]) -> dict[str, str]:
    """Map the paths in compile stages that programs were copied to, to these programs."""
    return _moved(taken, binaries)[1]


def _moved(taken: Recipe, binaries: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    found: dict[str, str] = {}
    places: dict[str, str] = {}
    made: set[str] = set()
    for stage in taken.compiling:
        workdir = "/"
        for item in stage.items:
            if item.keyword == "WORKDIR":
                workdir = posixpath.join(workdir, syntax.expand(item.rest, taken.values))
            text = install.unrolled(f"{item.rest}\n{item.body}") if item.keyword == "RUN" else ""
            for command in install.commands(text):
                words = syntax.words(command)
                if words[:1] == ["mkdir"]:
                    made.update(syntax.expand(word, taken.values).rstrip("/") for word in words[1:])
                # `target/$(cat /target)/release/api`: the computed part contains no spaces
                plain = re.sub(r"\$\([^()]*\)|`[^`]*`", "computed", command)
                sources, target = copied_files(plain)
                target = syntax.expand(target, taken.values)
                for source in (syntax.expand(word, taken.values) for word in sources):
                    name = posixpath.basename(source)
                    built = re.search(r"target|release", source) and not EXAMPLE.search(source)
                    copied = places.get(_absolute(workdir, source)) or (name if name in binaries and built else "")
                    if copied and len(sources) == 1 and not target.endswith(("/", ".")) and target not in made:
                        found[posixpath.basename(target)] = places[_absolute(workdir, target)] = copied
                    elif copied:
                        places[_absolute(workdir, posixpath.join(target, name))] = copied
    return found, places


def _absolute(workdir: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(workdir, path))


#: Options of `strip` that remove all symbols or only debug symbols, with cargo's names for them.
_STRIPS = {
    **dict.fromkeys(("-s", "--strip-all"), "symbols"),
    **dict.fromkeys(("-g", "-S", "-d", "--strip-debug"), "debuginfo"),
}


def stripped(several: Sequence[Stage]) -> str:
    """Return what compile stages strip from their programs, as a value of cargo's profile option `strip`.

    Empty if they strip nothing; `?` for options that cargo does not have.
    """
    found = ""
    for item in (i for stage in several for i in stage.items if i.keyword == "RUN"):
        for command in install.commands(f"{syntax.flags(item)[1]}\n{item.body}"):
            words = syntax.words(command.partition("||")[0])
            if not words or not re.fullmatch(r"(?:.*/)?(?:[\w-]+-)?strip", words[0]):
                continue
            options = [w for w in words[1:] if w.startswith("-") and w not in ("-o", "-p", "-v")]
            kinds = {_STRIPS.get(option, "?") for option in options} or {"symbols"}
            found = kinds.pop() if len(kinds) == 1 and found in ("", *kinds) else "?"
    return found


#: Options of `install` that take the next word as their value.
_VALUED = ("-m", "--mode", "-o", "-g", "--owner", "--group")


#: Commands that end with the files they read and write.
_COPIES = ("cp", "mv", "install", "strip", "objcopy")


def copied_files(command: str) -> tuple[tuple[str, ...], str]:
    """Return the files that a command copies or moves, and the destination; empty for other commands.

    `strip -o` and `objcopy` count, too: their output is a copy.
    """
    words = syntax.words(command)
    at = next((n for n, word in enumerate(words) if posixpath.basename(word) in _COPIES), None)
    if at is None:
        return (), ""
    tool, rest = posixpath.basename(words[at]), words[at + 1 :]
    if tool == "strip":
        if "-o" not in rest[:-1]:
            return (), ""
        place = rest.index("-o")
        inputs = [word for word in (*rest[:place], *rest[place + 2 :]) if not word.startswith("-")]
        return ((inputs[0],), rest[place + 1]) if len(inputs) == 1 else ((), "")
    valued = _VALUED if tool == "install" else ()
    files = [w for before, w in zip(["", *rest], rest, strict=False) if not w.startswith("-") and before not in valued]
    return (tuple(files[:-1]), files[-1]) if len(files) >= 2 else ((), "")


#: Arguments reserved for our compile step. A Dockerfile's own arguments with these names would change it.
_OURS = frozenset(
    ("SOURCE", "BINS", "PROGRAMS", "STATIC", "REBUILD", "STRICT_TOOLCHAIN", "CROSS_PACKAGES", "CACHE_SCOPE")
)


def unfit(taken: Recipe, arguments: Collection[str]) -> str:
    """Return why a Dockerfile with these arguments, declared or given, cannot be converted; empty if it can."""
    if taken.cargo.tool != "cargo":
        return f"builds with cargo {taken.cargo.tool}, which does more than compile"
    if "wasm" in taken.cargo.target:
        return f"compiles for {taken.cargo.target}"
    if name := example(taken):
        return f"ships the example {name}, but the compile step does not build examples"
    if same := sorted(_OURS & set(arguments)):
        named = (
            f"an argument named {same[0]}, which is"
            if len(same) == 1
            else f"arguments named {', '.join(same)}, which are"
        )
        what = "it" if len(same) == 1 else "them"
        return f"has {named} reserved for the compile step; rename {what} to convert the file"
    return ""
