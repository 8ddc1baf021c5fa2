"""Notes for the maintainer of a workspace, such as a missing lock file or private sources."""

from __future__ import annotations

import re
from collections.abc import Sequence

from buildkit_tasks.workspaces.tree import Tree

from .finding import Note, Workspace


def notes_of(files: Tree, workspace: Workspace) -> list[Note]:
    """Return what a maintainer should know before the first build of the workspace, most important first."""
    cargo_workspace, found = workspace.cargo, []
    where = cargo_workspace.path("Cargo.toml")
    if not cargo_workspace.has_lock:
        found.append(
            Note(
                where,
                "Cargo.lock is missing, but builds use --locked: run `cargo generate-lockfile` and commit it",
                True,
            )
        )
    if workspace.reach.database:
        name, command = _prepared(workspace)
        more = "" if name == ".sqlx" else " (with the sqlx feature `offline`)"
        text = f"sqlx needs a database because {name} is missing: run `{command}` and commit {name}{more}"
        found.append(Note(where, text, True))
    ssh = sorted({p.name for p in cargo_workspace.locked if p.source.startswith("git+ssh")})
    if ssh:
        found.append(
            Note(cargo_workspace.path("Cargo.lock"), f"fetched over ssh: {_few(ssh)}; the build uses your ssh agent")
        )
    git = sorted({p.name for p in cargo_workspace.locked if re.match(r"git\+https?:", p.source)})
    if git:
        found.append(
            Note(
                cargo_workspace.path("Cargo.lock"),
                f"git dependencies: {_few(git)}; set build.cargo_config for private dependencies",
            )
        )
    if outside := cargo_workspace.outside:
        are = "path dependency" if len(outside) == 1 else "path dependencies"
        text = f"{are} outside the repository, which the build context cannot contain: {_few(outside)}. "
        found.append(Note(where, f"{text}Move them into the repository, or depend on a git URL or a version", True))
    for package in (*cargo_workspace.packages, *cargo_workspace.extra):
        script = files.text(package.build_script) if package.build_script else ""
        if re.search(r"Command::new\(\s*\"git\"", script):
            found.append(
                Note(
                    package.build_script,
                    "runs git, but .git is not in the build context: pass the commit as a build argument",
                )
            )
    return found


def _prepared(workspace: Workspace) -> tuple[str, str]:
    """Return where sqlx stores prepared queries and the command that prepares them; both changed in sqlx 0.7."""
    cargo_workspace = workspace.cargo
    if any(p.name == "sqlx" and re.match(r"0\.[3-6]\.", p.version) for p in cargo_workspace.locked):
        return "sqlx-data.json", f"cargo sqlx prepare{' --merged' if len(cargo_workspace.packages) > 1 else ''}"
    return ".sqlx", "cargo sqlx prepare --workspace"


def _few(names: Sequence[str]) -> str:
    """Return the first few names and the number of the rest."""
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[: 4 if more else 5]) + more
