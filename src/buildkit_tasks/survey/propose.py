"""Propose services if the compose file has none: what the Dockerfiles ship, else the workspace's programs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import prebuilt, recipe, shipped, stage_items
from buildkit_tasks.workspaces.cargo import CargoWorkspace
from buildkit_tasks.workspaces.tree import Tree

from . import composed
from .finding import LeftAlone, Note, Service

#: Folders with programs and Dockerfiles that are not shipped.
ASIDE = re.compile(
    r"(?:^|/)(?:\.[^/]+|tests?|examples?|e2e|bench(?:es|marks?)?|fixtures|fuzz|vendor|third_party|xtask|playwright|cypress|testing|integration[_-]?tests?)(?:/|$)"
)

_DOCKERFILE = re.compile(r"(?:^|/)(?:(?:Docker|Container)file[^/]*|[^/]+\.(?:Docker|Container)file|dockerfile)$")
#: A stage that starts from a Rust image.
_WITH_RUST = re.compile(r"(?im)^\s*FROM\s+(?:--\S+\s+)*\S*(?:\brust\b|rustlang|muslrust|rust-musl|cargo-chef)")
_HINT = "add a service to the compose file with the build arguments that select the program"

Look = Callable[[Tree, Sequence[CargoWorkspace], str, Mapping[str, Any]], Service | LeftAlone]


def word(text: str) -> str:
    """Return a project or service name, derived from a directory's name as in compose."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).lstrip("_-") or "project"


def services(
    files: Tree, spaces: Sequence[CargoWorkspace], look: Look, add: Sequence[str]
) -> tuple[list[Service], list[Note]]:
    """Return a service for every Dockerfile that compiles a program here; if none seems to, for every program of the
    outermost workspace with programs. `add`: only for these programs, as PROGRAM or SERVICE=PROGRAM.

    Raises `Problem` bad-argument for an unknown program.
    """
    found, notes = _of_dockerfiles(files, spaces, look, selected=not add)
    if add:
        return [_added(item, spaces, found) for item in add], []
    # a program that another tool builds would lack what that tool adds
    other = [posixpath.dirname(note.where) for note in notes if note.text.endswith("does more than compile")]
    homes = {(w.directory, name): package.directory for w in spaces for name, package in w.binaries.items()}
    return found or [s for s in _programs(spaces) if not _owns(homes[s.workspace, s.binary], other)], notes


def _owns(home: str, folders: Sequence[str]) -> bool:
    """Return whether a package is in a Dockerfile's context: the Dockerfile is in the root or in the package."""
    return any(not folder or (home != "." and f"{folder}/".startswith(f"{home}/")) for folder in folders)


def _programs(spaces: Sequence[CargoWorkspace]) -> list[Service]:
    """Return a service for every program of the outermost workspace with programs."""
    for workspace in (s for s in spaces if s.binaries and not ASIDE.search(s.directory)):
        own = next((p.binaries for p in workspace.packages if p.directory == workspace.directory and p.binaries), None)
        # if the root is a crate, cargo builds only that crate by default
        names = own or [b for p in workspace.packages if not ASIDE.search(p.directory) for b in p.binaries]
        if names:
            return [Service(word(name), workspace.directory, name) for name in names]
    return []


def beside(
    files: Tree, spaces: Sequence[CargoWorkspace], look: Look, there: Mapping[str, Any]
) -> tuple[list[Service], list[Note]]:
    """Return services for the programs that the Dockerfiles ship, if the compose file builds none of them.

    Without a Dockerfile, and if no compose file builds anything, every program gets a service. A service that starts
    a program's published image is built instead; other programs get a new service.
    """
    found: list[Service] = []
    more: dict[str, list[str]] = {}
    # a compose file that builds something is complete; a compose file with only a database lacks its program
    idle = any(isinstance(entry, dict) and entry.get("build") for entry in there.values())
    proposed, notes = _of_dockerfiles(files, spaces, look, selected=not idle)
    if not (proposed or notes or idle or composed.any_builds(files)):
        proposed = _programs(spaces)
    started = "built but not started (to start it, remove `scale: 0`)" if idle else "started by `docker compose up`"
    for service in proposed:
        path = service.recipe.path if service.recipe else ""
        published = _published(service.binary, files if len(proposed) == 1 else None, there)
        if published and not any(s.name == published for s in found):
            image = there[published]["image"]
            found.append(replace(service, name=published))
            notes.append(
                Note(
                    f"service {published}",
                    f"used the published image {image}; now built from {path or 'this repository'}",
                )
            )
            continue
        taken = service.name in there or any(s.name == service.name for s in found)
        name = word(f"{service.binary}-app") if taken else service.name
        if name not in there:
            found.append(replace(service, name=name, added=True, idle=idle))
            more.setdefault(path, []).append(name)
    for path, names in more.items():
        where = f"service{'s' if len(names) > 1 else ''} {', '.join(names)}"
        what = f"{path}, which no service used" if path else "programs without a Dockerfile"
        notes.append(Note(where, f"added for {what}; {started}"))
    return found, notes


def _published(binary: str, files: Tree | None, there: Mapping[str, Any]) -> str:
    """Return the only service with an image named like the program, or like the repository if it ships one program;
    empty if ambiguous."""
    names = {word(binary), *([word(files.root.name)] if files else [])}
    found = [
        str(name)
        for name, entry in there.items()
        if isinstance(entry, dict) and not entry.get("build") and word(_last(str(entry.get("image", "")))) in names
    ]
    return found[0] if len(found) == 1 else ""


def _last(image: str) -> str:
    """Return the last component of an image's path, without the tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _of_dockerfiles(
    files: Tree, spaces: Sequence[CargoWorkspace], look: Look, *, selected: bool
) -> tuple[list[Service], list[Note]]:
    """Return what the Dockerfiles ship, and notes about unclear ones.

    `selected`: a Dockerfile with an argument that selects the program becomes one service per program.
    """
    found: dict[str, Service] = {}
    others: dict[str, str] = {}
    notes: list[Note] = []
    paths = [p for p in files.files if _DOCKERFILE.search(p)]
    for path in sorted(paths, key=lambda p: (p.count("/"), p)):
        if ASIDE.search(path) or path.endswith(".dockerignore"):
            continue
        variant, unclear = False, ""
        taken = _read(path, files.text(path))
        for context in dict.fromkeys((".", posixpath.dirname(path) or ".", *(s.directory for s in spaces))):
            if variant and not path.startswith(f"{context}/"):
                continue
            lacks = _lacks(files, taken, context)
            if taken and lacks and not unclear and context == ".":
                unclear = f"the Dockerfile copies {lacks}, which is not in the repository"
            if (lacks or not taken) and not (context == "." and _copies_a_program(files, spaces, path)):
                continue
            looked = _look_at(files, spaces, look, path, taken, context)
            if taken and selected and not any(isinstance(s, Service) for s in looked):
                looked = _of_an_argument(files, spaces, look, path, taken, context) or looked
            ships = [s for s in looked if isinstance(s, Service)]
            new = {s.binary: s for s in reversed(ships) if s.binary not in found or _nearer(s, found[s.binary], spaces)}
            others |= {old.path: name for name in new if name in found and (old := found[name].recipe)}
            found |= {name: replace(service, name=word(name)) for name, service in reversed(new.items())}
            if new:
                break
            # a variant of another Dockerfile ships the same program; only a context that contains it may fit better
            if ships:
                variant = True
                others[path] = ships[0].binary
            left = [s for s in looked if isinstance(s, LeftAlone)]
            several = next((_why(s, path) for s in left if s.mixed or s.unfit), "")
            if several:
                notes.append(Note(path, f"not converted, because {several}"))
                break
            unclear = next((f"{_why(s, path)}; {_HINT}" for s in left if s.unclear), unclear)
        else:
            if not taken and _WITH_RUST.search(files.text(path)):
                unclear = (
                    "the Dockerfile does not run cargo; if a script does, run cargo directly in the Dockerfile instead"
                )
            if unclear and not variant:
                notes.append(Note(path, f"not converted, because {unclear}"))
    used = {s.recipe.path for s in found.values() if s.recipe}
    for path, binary in others.items():
        chosen = found[binary].recipe
        if path not in used and chosen:
            notes.append(Note(path, f"not converted, because {chosen.path} also ships {binary}"))
    return list(found.values()), notes


def _read(path: str, text: str) -> recipe.Recipe | None:
    """Analyze a Dockerfile: its default target, or else the first target that compiles Rust."""
    named = [item.rest.split()[-1] for item in syntax.instructions(text) if item.keyword == "FROM" and item.rest]
    read = (recipe.read(path, text, {}, target) for target in ("", *reversed(named)))
    return next((taken for taken in read if taken), None)


def _nearer(service: Service, other: Service, spaces: Sequence[CargoWorkspace]) -> bool:
    """Return whether only this service's Dockerfile, not the other's, is in the directory of the program's package."""
    homes = [w.binaries[service.binary].directory for w in spaces if service.binary in w.binaries]
    places = [posixpath.dirname(s.recipe.path) or "." for s in (service, other) if s.recipe]
    return len(places) == 2 and places[0] in homes and places[1] not in homes


def _why(left: LeftAlone, path: str) -> str:
    """Return the reason, with the Dockerfile's path at its start replaced for a note about that file."""
    why = re.sub(rf"^{re.escape(path)}(?=[ :])", "it", left.why)
    return re.sub(r"^it:(?=\d)", "line ", why)


def _look_at(
    files: Tree,
    spaces: Sequence[CargoWorkspace],
    look: Look,
    path: str,
    taken: recipe.Recipe | None,
    context: str,
) -> list[Service | LeftAlone]:
    """Return what each final stage of a Dockerfile ships, with the default target at the end."""
    name = word(files.root.name) if "/" not in path else word(posixpath.basename(posixpath.dirname(path)))
    build = {"context": context, "dockerfile": posixpath.relpath(path, context)}
    stages = taken.stages if taken else ()
    used = {used for s in stages for used in (s.base.lower(), *recipe.sources(s))}
    targets = [s.name for s in stages[:-1] if s.name not in used and not s.compiles and not s.name.isdigit()]
    return [
        _shipping(look(files, spaces, name, {"build": {**build, **({"target": target} if target else {})}}))
        for target in (*targets, "")
    ]


def _of_an_argument(
    files: Tree, spaces: Sequence[CargoWorkspace], look: Look, path: str, taken: recipe.Recipe, context: str
) -> list[Service | LeftAlone]:
    """Return a service for each program that an argument without a value can select: `cargo build --bin $SERVICE`."""
    without = {name for name, value in stage_items.arguments(taken.stages) if value is None}
    used = re.findall(r"(?:--bin|--package|-p)[= ]+[\"']?\$\{?(\w+)\}?", "\n".join(stage_items.runs(taken.compiling)))
    names = [name for name in dict.fromkeys(used) if name in without]
    if len(names) != 1:
        return []
    build = {"context": context, "dockerfile": posixpath.relpath(path, context)}
    programs = [s.binary for s in _programs(spaces)]
    made = {p: look(files, spaces, word(p), {"build": {**build, "args": {names[0]: p}}}) for p in programs}
    return [s for p, s in made.items() if isinstance(s, Service) and s.binary == p and any(q.path for q in s.programs)]


def _shipping(found: Service | LeftAlone) -> Service | LeftAlone:
    """Return the service, or leave it alone if its image does not contain the program, such as a website's image."""
    taken = found.recipe if isinstance(found, Service) else None
    if taken is None or isinstance(found, LeftAlone) or not taken.final or any(p.path for p in found.programs):
        return found
    copied = stage_items.shipped(taken)
    if copied & shipped.installed(taken):
        return found  # the image copies the whole directory
    items = [f"{i.rest}\n{i.body}" for s in taken.final for i in s.items if i.keyword not in ("LABEL", "COPY")]
    if re.search(rf"(?<![\w-]){re.escape(found.binary)}(?![\w-])", "\n".join(items)):
        return found
    return LeftAlone(
        found.name, f"{taken.path} compiles {found.binary}, but the image does not contain the program", unclear=True
    )


def _copies_a_program(files: Tree, spaces: Sequence[CargoWorkspace], path: str) -> bool:
    """Return whether a Dockerfile copies a program compiled elsewhere; the copied file need not exist."""
    binaries = {name for workspace in spaces for name in workspace.binaries}
    return prebuilt.read(recipe.parse(path, files.text(path), {}), "", binaries, files.is_dir) is not None


def _lacks(files: Tree, taken: recipe.Recipe | None, context: str) -> str:
    """Return the first path that a Dockerfile copies but that its context lacks; empty if there is none."""
    for item in (i for stage in (taken.stages if taken else ()) for i in stage.items):
        copy = recipe.copied(item, taken.values if taken else {})
        for source in copy.sources if copy and not copy.stage else ():
            plain = re.split(r"[$*?\[]", source, maxsplit=1)[0].strip("/")
            if "://" in source or source.startswith("<<") or plain in ("", "."):
                continue
            path = posixpath.normpath(posixpath.join(context, plain))
            # .git is not among the files, but BuildKit copies it
            there = files.exists(path) or (path.split("/")[0] == ".git" and (files.root / path).exists())
            if not there and plain == source.strip("/"):
                return path
    return ""


def _added(item: str, spaces: Sequence[CargoWorkspace], found: Sequence[Service]) -> Service:
    name, _, program = item.rpartition("=")
    known = next((s for s in found if s.binary == program), None)
    if known:
        return replace(known, name=name or known.name)
    for workspace in spaces:
        if program in workspace.binaries:
            return Service(name or word(program), workspace.directory, program)
    names = ", ".join(n for s in spaces for n in s.binaries) or "none"
    raise Problem(
        "bad-argument", f"The program {program!r} does not exist in any workspace.", hint=f"available programs: {names}"
    )
