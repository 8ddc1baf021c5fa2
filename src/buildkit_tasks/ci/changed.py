"""`ci.changed`: ask git what changed since a base, and list the affected services."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import docker
from buildkit_tasks.project.discover import files_found, read_workspace
from buildkit_tasks.workspaces import tree

from . import affected
from . import context as ci_context
from .crates import Crates


@dataclass(frozen=True)
class Changed:
    """`base`: the commit to compare with; `services`: affected services and reasons; `every`: all built services."""

    base: str
    files: tuple[str, ...]
    services: dict[str, tuple[str, ...]]
    every: tuple[str, ...]


def find(session: Session, base: str = "") -> Changed:
    """Find what changed since `base`, including uncommitted changes. Problems: base-missing, those of discovery."""
    session.settings  # noqa: B018 - load them before two threads need them
    with ThreadPoolExecutor(max_workers=1) as pool:  # run compose and git in parallel
        asked = pool.submit(read_workspace, session, looking=True)
        top = _toplevel(session)
        commit = _base(session, top, base)
        paths = tuple(_paths(session, top, commit))
        crates = Crates(tree.read(top))
        workspace = asked.result()

    def before(path: str) -> str | None:
        shown = run.capture(session.world, docker.git(top, "show", f"{commit}:{path}"))
        return shown.stdout if shown.code == 0 else None

    found = affected.find(top, workspace, crates, paths, before, files_found(session))
    return Changed(commit, paths, found, workspace.names)


def show(session: Session, base: str = "") -> None:
    """Print one service per line, and the reasons to stderr."""
    began = time.perf_counter()
    changed = find(session, base)
    if session.report.json_only:
        session.report.envelope(
            {
                "changed": {
                    "base": changed.base,
                    "files": list(changed.files),
                    "services": list(changed.services),
                    "all": set(changed.services) == set(changed.every),
                    "reasons": {name: list(why) for name, why in changed.services.items()},
                }
            }
        )
        return
    for name, why in changed.services.items():
        more = f" and {len(why) - 1} more" if len(why) > 1 else ""
        session.report.say(f"{name}: {why[0]}{more}")
    total, seconds = len(changed.every), time.perf_counter() - began
    session.report.say(
        f"{units.counted(len(changed.files), 'file')} changed since {changed.base[:12]}: "
        f"{len(changed.services)} of {units.counted(total, 'service')} affected ({seconds:.2f} s)"
    )
    if changed.services:
        session.report.answer("\n".join(changed.services))


def _toplevel(session: Session) -> Path:
    asked = run.capture(session.world, docker.git(session.root, "rev-parse", "--show-toplevel"))
    if asked.code != 0:
        raise Problem(
            "base-missing",
            f"{session.root} is not in a git repository.",
            details=asked.stderr.strip(),
            hint="run this command in a git checkout; if another user owns the checkout: "
            "git config --global --add safe.directory DIRECTORY",
        )
    return Path(asked.stdout.rstrip("\n"))


def _base(session: Session, top: Path, given: str) -> str:
    """Return the merge base of HEAD and the given or default base."""
    if given.startswith("-"):
        raise Problem("bad-argument", f"--base {given} is not a commit.", hint="pass a branch, tag or commit")
    candidates = [given] if given else list(_usual(session))
    for name in candidates:
        common = run.capture(session.world, docker.git(top, "merge-base", "HEAD", name))
        if common.code == 0:
            return common.stdout.strip()
    shallow = run.capture(session.world, docker.git(top, "rev-parse", "--is-shallow-repository"))
    raise Problem(
        "base-missing",
        f"HEAD has no merge base with any of {', '.join(candidates)}.",
        causes=["this checkout is shallow"] if shallow.stdout.strip() == "true" else [],
        hint="fetch the history (GitHub: fetch-depth: 0; GitLab: GIT_DEPTH: 0; git fetch --unshallow), or pass --base",
    )


def _usual(session: Session) -> Iterator[str]:
    """Yield candidates for the base: the CI run's base, the previous commit on the default branch, that branch."""
    context = ci_context.read(session.world, session.settings.ci.default_branch)
    if context.base and not context.base.startswith("-"):
        yield from (f"origin/{context.base}", context.base)
    if context.is_default_branch:
        yield "HEAD^"
    default = session.settings.ci.default_branch
    yield from (
        ("origin/" + default, default) if default else ("origin/HEAD", "origin/main", "origin/master", "main", "master")
    )


def _paths(session: Session, top: Path, commit: str) -> Iterator[str]:
    """Yield the paths that differ between a commit and the working tree, including untracked files."""
    for words in (
        ("diff", "--name-only", "--no-renames", "-z", commit),
        ("ls-files", "--others", "--exclude-standard", "-z"),
    ):
        listed = run.check(session.world, docker.git(top, *words))
        yield from filter(None, listed.stdout.split("\0"))
