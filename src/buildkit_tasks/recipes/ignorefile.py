"""`DOCKERFILE.dockerignore`: the build context of our Dockerfile only, so that other services are not affected.

An allowlist: edits to all other files do not affect the build.
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

#: Artifacts of build tools and editors inside included directories.
#: Files that may be added to a workspace's directory later: a new build script must not be silently excluded.
ALWAYS = (
    *("Cargo.toml", "Cargo.lock", ".cargo", "rust-toolchain", "rust-toolchain.toml"),
    *(".sqlx", "sqlx-data.json", "sqlx.toml"),
)
#: The same for a directory that is a crate itself.
CRATE = ("build.rs", "src", "migrations", "templates", "proto")
NOISE = ("**/target", "**/node_modules", "**/.git", "**/.env", "**/.DS_Store", "**/*.swp", "**/*~")


def derive(
    files: Tree,
    workspace: Workspace,
    copied: Sequence[str],
    compiled: Sequence[str] = (),
    services: Sequence[Service] = (),
) -> str:
    """The list for a workspace: what its images copy, and what their compile stages copied before. `services`: those
    whose own ignore files still apply inside the copied directories.
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
    head = ["# The build context of this Dockerfile only: the files that compiling reads and that images copy."]
    if whole:
        head += [
            "# A stage copies the whole context, so this includes all that the repository's own list does not exclude."
        ]
        theirs = _common([excluded.text_of(files, s) for s in services if s.context == "."])
        again = _lines(p for p in {*code, *texts, *wanted} if _excludes(files, theirs, p))
        return "\n".join([*head, *theirs, *again, *NOISE, *own, *_named(wanted)]) + "\n"
    globs = [posixpath.normpath(cargo_workspace.path(glob)) for glob in cargo_workspace.globs]
    listed = {_escaped(p) for p in code | wanted if not any(fnmatch.fnmatchcase(p, glob) for glob in globs)}
    lines = [*head, "*", *own, *(f"!{p}" for p in _shortest(listed | set(globs)))]
    lines += [*NOISE, "**/*.md", *_lines(texts)]
    # a compilation does not need Markdown, but images may copy it, also from a directory that has none yet
    lines += [f"!{_escaped(p)}/**/*.md" for p in sorted(wanted) if files.is_dir(p)]
    lines += _lines(p for p in wanted if p.endswith(".md") and not files.is_dir(p))
    inside = [line for p in sorted(wanted) if files.is_dir(p) for line in excluded.lines(files, services, p)]
    lines += inside
    lines += _lines(p for p in code if inside and _excludes(files, inside, p, below=False))
    return "\n".join([*lines, *_named(wanted)]) + "\n"


def _lines(paths: Iterable[str]) -> list[str]:
    return [f"!{_escaped(p)}" for p in sorted(paths)]


def _common(texts: Sequence[str]) -> list[str]:
    """The lines of an ignore file, or those that several have in common: no image may lack a file."""
    several = [[line for line in text.splitlines() if line.strip()] for text in texts]
    return [line for line in several[0] if all(line in other for other in several)] if several else []


def _excludes(files: Tree, lines: Sequence[str], path: str, *, below: bool = True) -> bool:
    """Whether lines exclude a path, or a file below it."""
    try:
        ignore = Ignore.parse("\n".join(lines))
    except ValueError:
        return True  # docker refuses the list, and then names the pattern
    return any(ignore.excludes(p) for p in (path, *(files.below(path) if below else ())))


def _named(wanted: Iterable[str]) -> list[str]:
    """What images copy by a name that is otherwise noise, such as `COPY .env`."""
    return _lines(missing("\n".join(NOISE), wanted))


def dropped(files: Tree, text: str, copied: Sequence[str], services: Sequence[Service]) -> list[str]:
    """Existing .env files that the images contained before, in a directory that they copy, and do not contain now."""
    tops = ["" if c in (".", "") else f"{posixpath.normpath(c)}/" for c in copied]
    found = [p for p in files.named(".env") if p.startswith(tuple(tops))]
    before = [p for p in found if any(excluded.sends(files, service, p) for service in services)]
    return missing(text, before) if before else []


def _escaped(path: str) -> str:
    """A path as a pattern that matches only this path."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", posixpath.normpath(path))


def _shortest(paths: Iterable[str]) -> list[str]:
    """Sort, and drop paths that are below another path."""
    found: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(f"{other}/") for other in found):
            found.append(path)
    return found


def missing(text: str, paths: Iterable[str]) -> list[str]:
    """Files that a list excludes even though they are needed."""
    ignore = Ignore.parse(text)
    return [path for path in paths if ignore.excludes(path)]
