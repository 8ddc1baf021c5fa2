"""Generate `DOCKERFILE.dockerignore`, which applies only to our Dockerfile and does not affect other services.

It is an allowlist: edits to other files do not affect the build.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Sequence

from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.survey.finding import Service, Workspace
from buildkit_tasks.workspaces.tree import Tree

from . import excluded, package_files

#: Files that may be added to a workspace's directory later: a new build script must not be silently excluded.
ALWAYS = (
    *("Cargo.toml", "Cargo.lock", ".cargo", "rust-toolchain", "rust-toolchain.toml"),
    *(".sqlx", "sqlx-data.json", "sqlx.toml"),
)
#: The same for a directory that is itself a crate.
CRATE = ("build.rs", "src", "migrations", "templates", "proto")
#: Artifacts of build tools and editors inside included directories.
NOISE = ("**/target", "**/node_modules", "**/.git", "**/.env", "**/.DS_Store", "**/*.swp", "**/*~")


def derive(
    files: Tree,
    workspace: Workspace,
    copied: Sequence[str],
    compiled: Sequence[str] = (),
    services: Sequence[Service] = (),
) -> str:
    """Generate the list for a workspace: what its images copy, and what their compile stages used to copy.

    `services`: their own ignore files still apply inside the copied directories.
    """
    wanted = {posixpath.normpath(p) for p in copied if p not in (".", "") and not p.startswith("../")}
    whole = any(p in (".", "") for p in copied)
    reached = set(workspace.reach.paths)
    cargo_workspace = workspace.cargo
    crate = any(p.directory == cargo_workspace.directory for p in cargo_workspace.packages)
    reached |= {cargo_workspace.path(name) for name in (*ALWAYS, *(CRATE if crate else ()))}
    texts = {p for p in reached if p.lower().endswith(".md")}
    code = {p for p in (*reached, *compiled) if not p.lower().endswith(".md")}
    own = [f"!docker/{name}" for name in package_files.compile_files()]
    head = ["# Build context of this Dockerfile only: the files that the compiler reads and that images copy."]
    if whole:
        head += ["# A stage copies the whole context, so this includes everything that your ignore file allows."]
        theirs = _common([excluded.text_of(files, s) for s in services if s.context == "."])
        again = [
            line
            for path in sorted({*code, *texts, *wanted})
            if _excludes(files, theirs, path)
            for line in included(path, theirs, list(files.below(path)))
        ]
        return "\n".join([*head, *theirs, *again, *NOISE, *own, *_named(wanted)]) + "\n"
    globs = [posixpath.normpath(cargo_workspace.path(glob)) for glob in cargo_workspace.globs]
    listed = {_escaped(p) for p in code | wanted if not any(fnmatch.fnmatchcase(p, glob) for glob in globs)}
    lines = [*head, "*", *own, *(f"!{p}" for p in _shortest(listed | set(globs)))]
    lines += [*NOISE, "**/*.md", *_lines(texts)]
    # compilation does not need Markdown, but images may copy it, even from a directory that has none yet
    lines += [f"!{_escaped(p)}/**/*.md" for p in sorted(wanted) if files.is_dir(p)]
    lines += _lines(p for p in wanted if p.endswith(".md") and not files.is_dir(p))
    inside = [line for p in sorted(wanted) if files.is_dir(p) for line in excluded.lines(files, services, p)]
    lines += inside
    lines += _lines(p for p in code if inside and _excludes(files, inside, p, below=False))
    return "\n".join([*lines, *_named(wanted)]) + "\n"


def included(path: str, lines: Sequence[str], below: Sequence[str]) -> list[str]:
    """Return the lines that include a path again; `below`: the files in it. `!DIRECTORY` has no effect if the lines
    exclude only files in the directory."""
    own = _lines([path])
    try:
        return [*own, f"{own[0]}/**"] if missing("\n".join([*lines, *own]), below) else own
    except ValueError:
        return own  # docker rejects the list and reports the pattern


def _lines(paths: Iterable[str]) -> list[str]:
    return [f"!{_escaped(p)}" for p in sorted(paths)]


def _common(texts: Sequence[str]) -> list[str]:
    """Return the lines that the ignore files have in common, because no image may lack a file."""
    several = [[line for line in text.splitlines() if line.strip()] for text in texts]
    return [line for line in several[0] if all(line in other for other in several)] if several else []


def _excludes(files: Tree, lines: Sequence[str], path: str, *, below: bool = True) -> bool:
    """Return whether lines exclude a path or a file below it."""
    try:
        ignore = Ignore.parse("\n".join(lines))
    except ValueError:
        return True  # docker rejects the list and reports the pattern
    return any(ignore.excludes(p) for p in (path, *(files.below(path) if below else ())))


def _named(wanted: Iterable[str]) -> list[str]:
    """Return the lines for files that images copy even though they match `NOISE`, such as `COPY .env`."""
    return _lines(missing("\n".join(NOISE), wanted))


def dropped(files: Tree, text: str, copied: Sequence[str], services: Sequence[Service]) -> list[str]:
    """Return existing .env files in copied directories that the images used to contain but no longer do."""
    tops = ["" if c in (".", "") else f"{posixpath.normpath(c)}/" for c in copied]
    found = [p for p in files.named(".env") if p.startswith(tuple(tops))]
    before = [p for p in found if any(excluded.sends(files, service, p) for service in services)]
    return missing(text, before) if before else []


def _escaped(path: str) -> str:
    """Return a pattern that matches only this path."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", posixpath.normpath(path))


def _shortest(paths: Iterable[str]) -> list[str]:
    """Sort paths and drop those below another path."""
    found: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(f"{other}/") for other in found):
            found.append(path)
    return found


def missing(text: str, paths: Iterable[str]) -> list[str]:
    """Return the files that a list excludes even though they are needed."""
    ignore = Ignore.parse(text)
    return [path for path in paths if ignore.excludes(path)]
