"""Repairs a builder that cannot list its build cache: finds the mount with a path that is too long and empties it.

BuildKit measures a mount by walking through it. If a mount of any project contains a path longer than the kernel's
limit, `docker buildx du` fails for every project, and `prune` by id does not delete that mount (engine 26.1.5). A build
step that mounts the id can still remove its contents.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.project.discover import Project

from . import mount_open
from .mount_script import Opened
from .view import ANY

#: Platforms whose mounts are checked in addition to the engine's own.
PLATFORMS = ("amd64", "arm64")

_T = TypeVar("_T")


def listed(session: Session, project: Project, ask: Callable[[], _T], *, scope: str = "", builder: str = "") -> _T:
    """Return the result of `ask`. If the builder cannot list its cache, empty the offending mounts and ask again.

    `scope`: the project whose mounts may be emptied, by default the current project. Asks for consent first. Problems:
    those of `ask`, consent-missing, cache-unlistable if the mount belongs to another project.
    """
    try:
        return ask()
    except Problem as problem:
        if problem.code != "cache-unlistable":
            raise
        unlistable = problem
    owner = scope or project.workspace.scope
    if not session.report.consent(
        f"{unlistable.message} Each cache mount of {owner} that contains such a path will be emptied"
    ):
        raise unlistable
    emptied = mount_open.empty_long(session, project, candidates(project, owner), builder)
    if emptied:
        session.report.say(f"emptied {', '.join(emptied)}, which contained paths that are too long for the engine")
    try:
        return ask()
    except Problem as problem:
        if problem.code != "cache-unlistable":
            raise
        raise Problem(
            problem.code,
            problem.message,
            causes=[f"the cache mount with the long path does not belong to {owner}"],
            hint="run `invoke cache.clear --project NAME` for the mount's project; "
            "if you do not know the project, use --everything",
        ) from problem


def candidates(project: Project, scope: str) -> list[Opened]:
    """Return the mounts that a project may have: those in its Dockerfiles or, for another project, the usual ids."""
    if scope == project.workspace.scope:
        patterns = mount_open.sharing(project)
    else:
        kinds = {"cargo-registry": "shared", "cargo-git": "shared", f"target-{ANY}": "locked"}
        patterns = {f"{scope}-{kind}": sharing for kind, sharing in kinds.items()}
    found: dict[str, Opened] = {}
    for pattern, sharing in patterns.items():
        for platform in dict.fromkeys((*PLATFORMS, project.engine.arch or PLATFORMS[0])):
            identity = pattern.replace(ANY, platform)
            with contextlib.suppress(Problem):  # skip an id that cannot be opened
                found[identity] = Opened(identity, sharing)
    return list(found.values())
