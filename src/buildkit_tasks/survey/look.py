"""Turn the compose model and the repository's files into a `Finding` with the Rust services. Pure."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from buildkit_tasks.existing import (
    cargo_command,
    gathered,
    prebuilt,
    providers,
    recipe,
    shipped,
    spliced,
    stage_items,
    through,
)
from buildkit_tasks.existing.providers import Provider
from buildkit_tasks.workspaces import cargo, reach
from buildkit_tasks.workspaces.cargo import CargoWorkspace
from buildkit_tasks.workspaces.tree import Tree

from . import called, chosen, needed, propose, used_images
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
    entries = config.get("services") or {}
    building = providers.read(files, config)
    for name in (provider.name for provider in building):
        entry = entries[name]
        found = _service(files, spaces, name, entry, building)
        if isinstance(found, Service):
            services.append(replace(found, profiles=tuple(map(str, entry.get("profiles") or ()))))
        else:
            left.append(found)
    services, left, more = used_images.together(services, left, building)
    notes += more
    if not config or add:
        there = {str(name) for name in config.get("services") or {}}
        found_more, more = propose.services(files, spaces, _service, add)
        notes += more
        services += [replace(s, added=bool(config)) for s in found_more if s.name not in there]
    elif not services:
        services, more = propose.beside(files, spaces, _service, config.get("services") or {})
        notes += more
    for one in [s for s in services if not s.adopted]:
        if command := called.cargo(files, one, entries.get(one.name) or {}):
            services.remove(one)
            short = command if len(command) <= 60 else f"{command[:57]}..."
            why = f"its containers run cargo (`{short}`), which the new image would not contain: remove this command "
            left.append(LeftAlone(one.name, f"{why}to run the compiled program", unfit=True))
    services = [replace(s, runs=called.of(files, s, entries.get(s.name) or {})) for s in services]
    used = [w for w in spaces if any(s.workspace == w.directory for s in services)]
    workspaces = tuple(Workspace(w, reach.find(files, w), needed.packages(files, w, services)) for w in used)
    for workspace in workspaces:
        notes += notes_of(files, workspace)
    for s in (s for s in services if s.recipe and re.search(r"[$`]", s.target)):
        text = f"the shell computes the cargo target {s.target}, but the compile step links {s.binary} with glibc"
        notes.append(Note(s.recipe.path if s.recipe else s.name, text, True))
    texts = {path: files.text(path) for path in (*ADDED_TO, *compose) if files.has(path)}
    named = not listed or any(re.search(r"(?m)^name\s*:", files.text(path)) for path in compose)
    # many repositories have a folder `deploy`, so their caches would share that name
    project = str(config.get("name") or "") if named else ""
    project = project or propose.word(files.root.name)
    return Finding(project, tuple(compose), tuple(services), tuple(left), workspaces, tuple(notes), listed, texts)


def _service(
    files: Tree,
    spaces: Sequence[CargoWorkspace],
    name: str,
    entry: Mapping[str, Any],
    building: Sequence[Provider] = (),
) -> Service | LeftAlone:
    """`building`: every service that builds an image."""
    own, build = providers.of(files, name, entry), entry["build"]
    context, path, text, args = own.context, own.path, own.text, own.args
    if own.why and not path:
        return LeftAlone(name, own.why)
    if text.startswith(MARK) or "docker/compile." in text:
        return _adopted(spaces, name, context, path, text, build, args)
    if not text:
        guess = _without_dockerfile(spaces, name, context)
        return guess or LeftAlone(name, own.why)
    target, binaries = str(build.get("target") or ""), {b for workspace in spaces for b in workspace.binaries}
    found = spliced.read(own, building)
    if found.why:
        return LeftAlone(name, f"{path} {found.why}", unclear=True)
    parsed = through.resolve(found.parsed, target, binaries, trim=bool(found.services))
    whole = chosen.only(spaces, found.context)
    compiling = functools.partial(gathered.read, parsed, target, binaries, workspace=whole)
    is_dir = functools.partial(files.is_dir_in, context)
    taken = compiling() or prebuilt.read(parsed, target, binaries, is_dir)
    if taken is None:
        other = cargo_command.other_tool(text)
        why = f"builds with {other}, which does more than compile" if other else ""
        return LeftAlone(name, f"{path} {why or used_images.uncompiled(own, building, binaries, MARK) or _NO_RUST}")
    blank = recipe.without_image(taken)
    if blank:
        return LeftAlone(name, f"{blank.path}:{blank.line} uses an argument without a value in FROM", unclear=True)
    if why := shipped.unfit(taken, {*stage_items.declared(taken), *args, *found.args}):
        return LeftAlone(name, f"{path} {why}", unfit=True)
    if found.services and (why := through.unclear(parsed, target, binaries) or used_images.lacks(taken)):
        return LeftAlone(name, why, unclear=True)
    service = _compiled(spaces, name, context, taken, args, entry, compiling, found.context)
    if isinstance(service, Service) and taken.kind == prebuilt.KIND and (manifest := _leptos(files, spaces, service)):
        why = f"{path} copies a program of {manifest} built with cargo leptos, which does more than compile"
        return LeftAlone(name, why, unfit=True)
    if isinstance(service, LeftAlone) or not found.services:
        return service
    if not used_images.ships(service):
        return LeftAlone(name, f"{path} does not copy a program from the image that it uses", unclear=True)
    return replace(service, providers=found.services, inherited=found.args)


def _leptos(files: Tree, spaces: Sequence[CargoWorkspace], service: Service) -> str:
    """Return the manifest that builds a program of the service, and a site, with cargo leptos; empty if none does."""
    space = next(w for w in spaces if w.directory == service.workspace)
    names = {service.binary, *(program.name for program in service.programs)}
    for package in (space.binaries[name] for name in sorted(names & space.binaries.keys())):
        path = posixpath.normpath(posixpath.join(package.directory, "Cargo.toml"))
        if re.search(r"(?m)^\[\[?package\.metadata\.leptos", files.text(path)):
            return path
        path = posixpath.normpath(posixpath.join(space.directory, "Cargo.toml"))
        head = re.search(r"(?ms)^\[\[?workspace\.metadata\.leptos.*", files.text(path))
        built = re.findall(r"(?m)^\s*bin-package\s*=\s*[\"']([^\"']+)", head[0]) if head else []
        if head and (not built or package.name in built):
            return path
    return ""


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
    sources: str,
) -> Service | LeftAlone:
    """`again` analyzes the Dockerfile again and keeps stages that compile something else. `sources`: the context of the
    stages that compile."""
    candidates = chosen.workspaces(spaces, context, taken, entry, sources)
    # workspaces with programs in the image come first
    for workspace in sorted(candidates, key=lambda workspace: not chosen.programs(workspace, taken)):
        programs = chosen.programs(workspace, taken)
        if not programs and taken.cargo.binaries and not set(taken.cargo.binaries) & workspace.binaries.keys():
            continue  # `--bin` is from another workspace or an argument without a value: do not guess
        binary = chosen.main(workspace, programs, taken, name, entry)
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
        return LeftAlone(name, f"the build context {sources} contains no Cargo workspace")
    names = ", ".join(n for s in candidates for n in s.binaries) or "none"
    lost = ", ".join(f"--bin {b}" for b in taken.cargo.binaries if "$" not in b)
    why = f"builds {lost}, which is not in this repository" if lost else "does not show which program it ships"
    return LeftAlone(name, f"{taken.path} {why} (programs: {names})", unclear=True)


def with_notes(finding: Finding, notes: Sequence[Note]) -> Finding:
    """Return the finding with additional notes, without duplicates."""
    return replace(finding, notes=tuple(dict.fromkeys((*finding.notes, *notes))))
