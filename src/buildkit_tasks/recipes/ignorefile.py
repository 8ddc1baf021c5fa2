"""`DOCKERFILE.dockerignore`: the build context of our Dockerfile only, so that other services are not affected.

An allowlist: edits to all other files do not affect the build.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Sequence

from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.survey.finding import Workspace
from buildkit_tasks.survey.tree import Tree

from . import package_files

#: Artifacts of build tools and editors inside included directories.
#: Files that may be added to a workspace's directory later: a new build script must not be silently excluded.
ALWAYS = (
    *("Cargo.toml", "Cargo.lock", ".cargo", "rust-toolchain", "rust-toolchain.toml"),
    *(".sqlx", "sqlx-data.json", "sqlx.toml"),
)
#: The same for a directory that is a crate itself.
CRATE = ("build.rs", "src", "migrations", "templates", "proto")
NOISE = ("**/target", "**/node_modules", "**/.git", "**/.env", "**/.DS_Store", "**/*.swp", "**/*~")


def derive(files: Tree, workspace: Workspace, copied: Sequence[str], compiled: Sequence[str] = ()) -> str:
    """The list for a workspace: what its images copy, and what their compile stages copied before."""
    wanted = {_escaped(p) for p in copied if p not in (".", "") and not p.startswith("../")}
    whole = any(p in (".", "") for p in copied)
    reached = {_escaped(p) for p in workspace.reach.paths}
    space = workspace.cargo
    crate = any(p.directory == space.directory for p in space.packages)
    reached |= {_escaped(space.path(name)) for name in (*ALWAYS, *(CRATE if crate else ()))}
    texts = {p for p in reached if p.lower().endswith(".md")}
    code = (reached - texts) | {_escaped(p) for p in compiled if not p.lower().endswith(".md")}
    globs = [posixpath.normpath(space.path(glob)) for glob in space.globs]
    code = {p for p in code if not any(fnmatch.fnmatchcase(p, glob) for glob in globs)} | set(globs)
    own = [f"docker/{name}" for name in package_files.compile_files()]
    head = ["# The build context of this Dockerfile only: the files that compiling reads and that images copy."]
    if whole:
        head += [
            "# A stage copies the whole context, so this includes all that the repository's own list does not exclude."
        ]
        theirs = [line for line in files.text(".dockerignore").splitlines() if line.strip()]
        return "\n".join([*head, *theirs, *NOISE, *(f"!{p}" for p in sorted({*own, *code, *texts, *wanted}))]) + "\n"
    lines = [*head, "*", *(f"!{p}" for p in own), *(f"!{p}" for p in _shortest(code | wanted))]
    lines += [*NOISE, "**/*.md", *(f"!{p}" for p in sorted(texts))]
    lines += [f"!{p}/**/*.md" if files.is_dir(p) else f"!{p}" for p in sorted(wanted) if _has_texts(files, p)]
    return "\n".join(lines) + "\n"


def _has_texts(files: Tree, path: str) -> bool:
    """Whether an image copies Markdown files, which a compilation does not need."""
    return path.endswith(".md") or any(p.endswith(".md") for p in files.below(path))


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
    found = []
    for path in paths:
        matched: list[bool] = []
        out, parts = False, path.split("/")
        for at in range(1, len(parts) + 1):
            out, matched = ignore.matches("/".join(parts[:at]), matched)
        if out:
            found.append(path)
    return found
