"""Turn the compose model and the repository's files into a `Finding` with the Rust services. Pure."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.workspaces import cargo, reach
from buildkit_tasks.workspaces.cargo import CargoWorkspace
from buildkit_tasks.workspaces.tree import Tree

from . import called, cargo_command, gathered, needed, prebuilt, propose, recipe, shipped
from .finding import Finding, LeftAlone, Note, Program, Service, Workspace
from .workspace_notes import notes_of

_NO_RUST = "does not compile Rust code from this repository"
#: Prefix of the first line of our Dockerfiles.
MARK = "# buildkit-tasks:"
#: Files in the repository that we add to if they exist.
ADDED_TO = ("tasks.py", "noxfile.py", "pyproject.toml", ".env.example")


def find(
    files: Tree,
    config: Mapping[str, Any],
    compose: Sequence[str],
    *,
    listed: bool = False,
    add: Sequence[str] = (),
) -> Finding:
    """Analyze a repository. `config`: the resolved compose model, `{}` without a compose file; `add`: programs that get
    a service even if the compose file has none for them.

    Raises `Problem` manifest-invalid.
    """
    spaces = cargo.workspaces(files)
    services: list[Service] = []
    left: list[LeftAlone] = []
    notes: list[Note] = []
    for name, entry in (config.get("services") or {}).items():
        if not isinstance(entry, dict) or not entry.get("build"):
            continue
        found = _service(files, spaces, str(name), entry)
        if isinstance(found, Service):
            services.append(replace(found, profiles=tuple(map(str, entry.get("profiles") or ()))))
        else:
            left.append(found)
    if not config or add:
        there = {str(name) for name in config.get("services") or {}}
        found_more, more = propose.services(files, spaces, _service, add)
        notes += more
        services += [replace(s, added=bool(config)) for s in found_more if s.name not in there]
    elif not services:
        services, more = propose.beside(files, spaces, _service, config.get("services") or {})
        notes += more
    entries = config.get("services") or {}
    services = [replace(s, runs=called.of(files, s, entries.get(s.name) or {})) for s in services]
    used = [w for w in spaces if any(s.workspace == w.directory for s in services)]
    workspaces = tuple(Workspace(w, reach.find(files, w), needed.packages(files, w, services)) for w in used)
    for workspace in workspaces:
        notes += notes_of(files, workspace)
    for s in (s for s in services if s.recipe and re.search(r"[$`]", s.target)):
        text = f"the shell computes the cargo target {s.target}; the compile step links {s.binary} with glibc"
        notes.append(Note(s.recipe.path if s.recipe else s.name, text, True))
    texts = {path: files.text(path) for path in (*ADDED_TO, *compose) if files.has(path)}
    named = not listed or any(re.search(r"(?m)^name\s*:", files.text(path)) for path in compose)
    # many repositories have a folder `deploy`, so their caches would share that name
    project = str(config.get("name") or "") if named else ""
    project = project or propose.word(files.root.name)
    return Finding(project, tuple(compose), tuple(services), tuple(left), workspaces, tuple(notes), listed, texts)


def _service(files: Tree, spaces: Sequence[CargoWorkspace], name: str, entry: Mapping[str, Any]) -> Service | LeftAlone:
    build = entry["build"]
    given = str(build.get("context", "."))
    if re.match(r"[a-z+]+://|git@", given):
        return LeftAlone(name, f"its context is not in this repository: {given}")
    context = inside(files.root, given)
    if context is None:
        return LeftAlone(name, f"its context is outside the repository: {given}")
    args = {str(k): "" if v is None else str(v) for k, v in (build.get("args") or {}).items()}
    path, text = dockerfile_of(files, context, build)
    if text.startswith(MARK) or "docker/compile." in text:
        return _adopted(spaces, name, context, path, text, build, args)
    if not text:
        guess = _without_dockerfile(spaces, name, context)
        return guess or LeftAlone(name, f"its Dockerfile {path} does not exist")
    target, binaries = str(build.get("target") or ""), {b for workspace in spaces for b in workspace.binaries}
    compiling = functools.partial(gathered.read, path, text, args, target, binaries)
    is_dir = functools.partial(files.is_dir_in, context)
    taken = compiling() or prebuilt.read(path, text, args, target, binaries, is_dir)
    if taken is None:
        other = cargo_command.other_tool(text)
        why = f"builds with {other}, which does more than compile" if other else _NO_RUST
        return LeftAlone(name, f"{path} {why}")
    blank = recipe.without_image(taken)
    if blank:
        return LeftAlone(name, f"{path}:{blank.number} uses an argument without a value in FROM", unclear=True)
    if why := shipped.unfit(taken, {*syntax.arguments(text), *args}):
        return LeftAlone(name, f"{path} {why}", unfit=True)
    return _compiled(spaces, name, context, taken, args, entry, compiling)


def _adopted(
    spaces: Sequence[CargoWorkspace],
    name: str,
    context: str,
    path: str,
    text: str,
    build: Mapping[str, Any],
    args: Mapping[str, str],
) -> Service | LeftAlone:
    source = recipe.syntax_defaults(text).get("SOURCE", ".")
    directory = posixpath.normpath(posixpath.join(context, args.get("SOURCE") or source))
    if not any(workspace.directory == directory for workspace in spaces):
        return LeftAlone(
            name, f"{path} was generated by buildkit-tasks, but its SOURCE {directory} is no longer a workspace"
        )
    binary = args.get("BIN") or name
    return Service(name, directory, binary, context, None, args, (Program(binary),), build=build, adopted=path)


def inside(root: Path, given: str) -> str | None:
    """Return a directory relative to the root, with links resolved; None if it is outside."""
    place = os.path.relpath(os.path.realpath(root / given), os.path.realpath(root))
    return None if place == ".." or place.startswith("../") else Path(place).as_posix()


def dockerfile_of(files: Tree, context: str, build: Mapping[str, Any]) -> tuple[str, str]:
    """Return the path and text of the Dockerfile that buildx would read; the text is empty if there is none."""
    inline = build.get("dockerfile_inline")
    if inline:
        return "dockerfile_inline", str(inline)
    given = str(build.get("dockerfile") or "Dockerfile")
    if posixpath.isabs(given):
        path = inside(files.root, given) or given
    else:
        path = posixpath.normpath(posixpath.join(context, given))
    folder, name = posixpath.split(path)
    if name == "Dockerfile" and not files.has(path) and files.has(lower := posixpath.join(folder, "dockerfile")):
        path = lower  # as buildx does
    return path, files.text(path)


def _without_dockerfile(spaces: Sequence[CargoWorkspace], name: str, context: str) -> Service | None:
    """Return a service for a context that contains a crate but no Dockerfile yet."""
    for workspace in spaces:
        for package in workspace.packages:
            if package.directory == context and len(package.binaries) == 1:
                return Service(name, workspace.directory, package.binaries[0], context)
        if workspace.directory == context and name in workspace.binaries:
            return Service(name, workspace.directory, name, context)
    return None


def _compiled(
    spaces: Sequence[CargoWorkspace],
    name: str,
    context: str,
    taken: recipe.Recipe,
    args: Mapping[str, str],
    entry: Mapping[str, Any],
    again: Callable[[Collection[str]], recipe.Recipe | None],
) -> Service | LeftAlone:
    """`again` analyzes the Dockerfile again and keeps stages that compile something else."""
    candidates = _candidates(spaces, context, taken, entry)
    # workspaces with programs in the image come first
    for workspace in sorted(candidates, key=lambda workspace: not _programs(workspace, taken)):
        programs = _programs(workspace, taken)
        if not programs and taken.cargo.binaries and not set(taken.cargo.binaries) & workspace.binaries.keys():
            continue  # `--bin` is from another workspace or an argument without a value: do not guess
        binary = _main(workspace, programs, taken, name, entry)
        if not binary:
            continue
        if not any(p.name == binary for p in programs):
            programs = (Program(binary), *programs)
        others = {name for other in spaces if other is not workspace for name in other.binaries}
        more = shipped.mixed(taken, workspace.binaries, others)
        if more:
            why = f"ships programs from several workspaces ({', '.join((binary, *more))}) in one stage"
            return LeftAlone(name, f"{taken.path} {why}: give each workspace its own stage", mixed=True)
        keep = shipped.elsewhere(taken, workspace.binaries, others)
        taken = (again(keep) if keep else None) or taken
        asked = shipped.options(taken, workspace.binaries, binary)
        return Service(
            name,
            workspace.directory,
            binary,
            context,
            taken,
            args,
            programs,
            shipped.features(asked, workspace, binary),
            asked.default_features,
            asked.profile if asked.profile and "$" not in asked.profile else "release",
            shipped.target(asked, taken) or workspace.target or prebuilt.target(taken),
            entry["build"],
        )
    if not candidates:
        return LeftAlone(name, f"its context {context} contains no workspace")
    names = ", ".join(n for s in candidates for n in s.binaries) or "none"
    lost = ", ".join(f"--bin {b}" for b in taken.cargo.binaries if "$" not in b)
    why = f"builds {lost}, which is not in this repository" if lost else "does not show which program it ships"
    return LeftAlone(name, f"{taken.path} {why} (programs: {names})", unclear=True)


def _candidates(
    spaces: Sequence[CargoWorkspace], context: str, taken: recipe.Recipe, entry: Mapping[str, Any]
) -> list[CargoWorkspace]:
    """Return the workspaces that a context may refer to, best first: with crates in it, or containing it."""
    started = {posixpath.basename(word) for word in _started(taken, entry)}
    copied = [
        posixpath.normpath(posixpath.join(context, source.strip("/") or "."))
        for stage in taken.compiling
        for item in stage.items
        for copy in [recipe.copied(item, taken.values)]
        if copy and not copy.stage
        for source in copy.sources
    ]

    def rank(workspace: CargoWorkspace) -> tuple[int, int, int, int]:
        inside = workspace.directory == context or context == "." or workspace.directory.startswith(f"{context}/")
        member = any(p.directory == context for p in workspace.packages)
        named = any(c == workspace.directory or c == workspace.path("Cargo.toml") for c in copied)
        return (
            0 if workspace.directory == context or member else 1,
            0 if named else 1,
            0 if started & workspace.binaries.keys() else 1,
            workspace.directory.count("/") if inside else 99,
        )

    found = [s for s in spaces if rank(s)[3] < 99 or any(p.directory == context for p in s.packages)]
    return sorted(found, key=rank)


def _programs(workspace: CargoWorkspace, taken: recipe.Recipe) -> tuple[Program, ...]:
    if taken.kind == prebuilt.KIND:
        return tuple(Program(name, place) for name, place in prebuilt.programs(taken, workspace.binaries).items())
    found: dict[str, Program] = {}
    renamed = shipped.renamed(taken, workspace.binaries)
    for copy in recipe.copies(taken):
        for source in copy.sources:
            name = renamed.get(posixpath.basename(source)) or shipped.program(source, workspace.binaries)
            if name:
                found.setdefault(name, Program(name, copy.destination))
    return tuple(found.values())


def _main(
    workspace: CargoWorkspace, programs: Sequence[Program], taken: recipe.Recipe, service: str, entry: Mapping[str, Any]
) -> str:
    """Return the main program of a service: shipped, selected by `--bin` or `-p`, started, or named like it."""
    names = [p.name for p in programs]
    started = [posixpath.basename(w) for w in _started(taken, entry)]
    asked = [*taken.cargo.binaries, *taken.cargo.packages]
    for wanted in (
        [p.name for p in programs if p.name in started or posixpath.basename(p.path) in started],
        names if len(names) == 1 else [],
        [n for n in names if n == service],
        [n for n in names if n in asked],
        names,
        [n for n in (*started, *asked, service) if n in workspace.binaries],
        [b for p in workspace.packages if p.name in asked and len(p.binaries) == 1 for b in p.binaries],
        [
            b
            for p in workspace.packages
            if p.directory.rpartition("/")[2] == service and len(p.binaries) == 1
            for b in p.binaries
        ],
        list(workspace.binaries) if len(workspace.binaries) == 1 else [],
    ):
        if wanted:
            return wanted[0]
    return ""


def _started(taken: recipe.Recipe, entry: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for key in ("entrypoint", "command"):
        given = entry.get(key)
        words += given if isinstance(given, list) else str(given or "").split()
    for stage in taken.image[-1:]:
        for item in stage.items:
            if item.keyword in ("ENTRYPOINT", "CMD"):
                words += syntax.json_words(item.rest) or syntax.words(item.rest)
    return [syntax.expand(str(w), taken.values) for w in words]


def with_notes(finding: Finding, notes: Sequence[Note]) -> Finding:
    """Return the finding with additional notes, without duplicates."""
    return replace(finding, notes=tuple(dict.fromkeys((*finding.notes, *notes))))
