"""`init --check`: find what a build of the adopted services would be missing, without building. Pure.

Repositories change after adoption: a macro reads a new file, a crate needs a library, a program is renamed.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from buildkit_tasks.dotenv import text as dotenv_text
from buildkit_tasks.existing import recipe
from buildkit_tasks.recipes import ignorefile, package_files
from buildkit_tasks.survey.finding import Finding, Note, Workspace
from buildkit_tasks.workspaces.tree import Tree

from .record import Entry


def check(files: Tree, finding: Finding, ours: Collection[str] = ()) -> list[Note]:
    """Return everything that is missing, with fixes. `ours`: files that `init` created, which nothing else reads."""
    found = [note for note in finding.notes if note.open]
    for workspace in finding.workspaces:
        adopted = [s for s in finding.services if s.workspace == workspace.cargo.directory and s.adopted]
        for file in dict.fromkeys(s.adopted for s in adopted):
            found += _context(files, workspace, file, ours)
            found += _packages(files, workspace, file)
            found += rejected(workspace, files.text(file))
        for service in adopted:
            if service.binary not in workspace.cargo.binaries:
                names = ", ".join(workspace.cargo.binaries) or "none"
                text = f"BIN is {service.binary}, but the workspace has no program with that name (available: {names})"
                found.append(Note(f"service {service.name}", text, True))
    return found


def older(files: Tree, written: Mapping[str, Entry]) -> list[str]:
    """Return the paths of our unedited compile files that differ from those in this version of the package."""
    found = []
    for name, text in package_files.compile_files().items():
        path = f"docker/{name}"
        entry, now = written.get(path), files.text(path)
        if entry and now not in ("", text) and entry.pristine(now.encode("utf-8", "surrogateescape")):
            found.append(path)
    return found


def unconverted(notes: Sequence[Note], sources: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Return the places and texts of open notes on the users' Dockerfiles (`sources`), for the record."""
    return tuple((n.where, n.text) for n in notes if n.open and n.where.partition(":")[0] in sources)


def still_there(files: Tree, pairs: Sequence[tuple[str, str]]) -> tuple[Note, ...]:
    """Return recorded notes on Dockerfiles that still exist; deleting the file ends the conversion."""
    return tuple(Note(where, text, True) for where, text in pairs if files.has(where.partition(":")[0]))


def variables(files: Tree, compose_file: str, missing: Sequence[str]) -> list[Note]:
    """Return a note on unset variables that the compose file requires, and any file next to it that sets them."""
    if not missing:
        return []
    env = posixpath.join(posixpath.dirname(compose_file), ".env")
    names = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
    sets = [(len(set(missing) - _set_in(files.text(path))), path) for path in files.files if _is_template(path, env)]
    left, path = min(sets, default=(len(missing), ""))
    if left == len(missing):
        return [Note(env, f"compose requires a value for {names}: add NAME=VALUE to {env}", True)]
    rest = f", then set the remaining {left}" if left else ""
    copy = f"cp {shlex.quote(path)} {shlex.quote(env)}"
    return [Note(env, f"compose requires a value for {names}: run `{copy}`{rest}", True)]


def _is_template(path: str, env: str) -> bool:
    """Return whether a file looks like an example for the .env next to it, such as `.env.example` or `deploy.env`."""
    beside = posixpath.dirname(path) == posixpath.dirname(env) and path != env
    return beside and bool(re.search(r"(?:^|[._-])env(?:[._-]|$)", posixpath.basename(path)))


def _set_in(text: str) -> set[str]:
    try:
        return {name for name, value in dotenv_text.values(text).items() if value}
    except dotenv_text.Refused:
        return set()


def _context(files: Tree, workspace: Workspace, file: str, ours: Collection[str]) -> list[Note]:
    """Return notes on files that the compile step reads but the Dockerfile's ignore file excludes."""
    own = f"{file}.dockerignore"
    name = own if files.has(own) else ".dockerignore"
    if not files.has(name):
        return []
    read = [p for path in workspace.reach.paths for p in ([path] if files.has(path) else files.below(path))]
    wanted = [p for p in read if p not in ours and (not p.endswith(".md") or p in workspace.reach.paths)]
    out = [p for p in ignorefile.missing(files.text(name), wanted) if not _noise(p)]
    tops = dict.fromkeys(_top(p, workspace) for p in out)
    text = "excludes {}, which the compile step reads: add the line `{}`"
    lines = {p: ignorefile.included(p, [files.text(name)], [o for o in out if o.startswith(p)]) for p in tops}
    return [Note(name, text.format(path, lines[path][-1]), True) for path in tops]


def _top(path: str, workspace: Workspace) -> str:
    """Return the listed directory or file that contains `path`."""
    return next((p for p in workspace.reach.paths if path == p or path.startswith(f"{p}/")), path)


#: Crate versions that newer compilers reject: the series, the first good version, the first compiler that rejects it.
REJECTED = {"time": ((0, 3), (0, 3, 35), (1, 80))}


def rejected(workspace: Workspace, text: str) -> list[Note]:
    """Return notes on locked crates that the Dockerfile's compiler is known to reject (the newest if not pinned)."""
    image = recipe.syntax_defaults(text).get("RUST_IMAGE", "")
    pinned = re.search(r"rust:(\d+)\.(\d+)", image)
    found = []
    for package in workspace.cargo.locked:
        if package.name not in REJECTED:
            continue
        line, good, compiler = REJECTED[package.name]
        version = tuple(int(n) for n in re.findall(r"\d+", package.version)[:3])
        if version[:2] != line or version >= good or (pinned and (int(pinned[1]), int(pinned[2])) < compiler):
            continue
        name = ".".join(map(str, compiler))
        fix = f"run `cargo update -p {package.name}@{package.version}` and commit Cargo.lock"
        text = f"{package.name} {package.version} does not compile with Rust {name} or newer: {fix}"
        found.append(Note(workspace.cargo.path("Cargo.lock"), text, True))
    return found


def _noise(path: str) -> bool:
    return path.endswith((".env", ".DS_Store", ".swp", "~")) or "/target/" in f"/{path}"


def _packages(files: Tree, workspace: Workspace, file: str) -> list[Note]:
    """Return a note on packages that crates need, according to the table, but that the Dockerfile does not install."""
    text = files.text(file)
    image = recipe.syntax_defaults(text).get("RUST_IMAGE", "")
    if "alpine" in image:
        return []
    words = set(re.findall(r"[a-z0-9][a-z0-9+.-]+", text))
    needed, why = workspace.packages, dict(workspace.packages.why)
    missing = [name for name in needed.build if name not in words and name not in needed.optional]
    if not missing:
        return []
    crates = ", ".join(dict.fromkeys(why[name] for name in missing))
    line = f'ARG BUILD_PACKAGES="{" ".join(missing)}"'
    need = f"{crates} may need packages that are not installed: add them to BUILD_PACKAGES (`{line}`)"
    return [Note(file, need, True)]
