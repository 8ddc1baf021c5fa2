"""Repair a builder that cannot list its build cache: find the mount with a path that is too long, and empty it.

BuildKit measures a mount by walking through it. One path longer than the kernel takes, in one mount of one project,
and `docker buildx du` fails for everybody, and `prune` by id does not delete that mount (engine 26.1.5). A build step
that mounts the id can still remove what is in it.
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

#: Platforms whose mounts we check, besides the engine's own.
PLATFORMS = ("amd64", "arm64")

_T = TypeVar("_T")


def listed(session: Session, project: Project, ask: Callable[[], _T], *, scope: str = "", builder: str = "") -> _T:
    """What `ask` answers about the cache. If the builder cannot list it, empty the offending mounts and ask again.

    `scope`: the project whose mounts may be emptied, by default ours. Asks for consent first. Problems: those of `ask`,
    consent-missing, cache-unlistable if it is another project's mount.
    """
    try:
        return ask()
    except Problem as problem:
        if problem.code != "cache-unlistable":
            raise
        unlistable = problem
    owner = scope or project.workspace.scope
    if not session.report.consent(f"{unlistable.message} Mounts of {owner} that hold such paths are emptied"):
        raise unlistable
    emptied = mount_open.empty_long(session, project, candidates(project, owner), builder)
    if emptied:
        session.report.say(f"emptied {', '.join(emptied)}: it contained paths that are too long for the engine")
    try:
        return ask()
    except Problem as problem:
        if problem.code != "cache-unlistable":
            raise
        raise Problem(
            problem.code,
            problem.message,
            causes=[f"the mount does not belong to {owner}"],
            hint="invoke cache.clear --project NAME for the project that owns the mount, else --everything",
        ) from problem


def candidates(project: Project, scope: str) -> list[Opened]:
    """Mounts that a project may have, listed or not: those our Dockerfiles declare, or the usual names of another's."""
    if scope == project.workspace.scope:
        patterns = mount_open.sharing(project)
    else:
        kinds = {"cargo-registry": "shared", "cargo-git": "shared", f"target-{ANY}": "locked"}
        patterns = {f"{scope}-{kind}": sharing for kind, sharing in kinds.items()}
    found: dict[str, Opened] = {}
    for pattern, sharing in patterns.items():
        for platform in dict.fromkeys((*PLATFORMS, project.engine.arch or PLATFORMS[0])):
            identity = pattern.replace(ANY, platform)
            with contextlib.suppress(Problem):  # an id that cannot be opened does not keep the others from it
                found[identity] = Opened(identity, sharing)
    return list(found.values())
