"""Decides what a file change triggers, and for which service. Pure; the caller reads the ignore files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from buildkit_tasks.dockerfiles.ignore import Ignore


class Action(Enum):
    """What a rule triggers; the values are those of `develop.watch`, and `reload` for the compose files themselves."""

    REBUILD = "rebuild"
    SYNC = "sync"
    RESTART = "restart"
    SYNC_RESTART = "sync+restart"
    RELOAD = "reload"

    @property
    def syncs(self) -> bool:
        """Whether files are copied into the containers."""
        return self in (Action.SYNC, Action.SYNC_RESTART)

    @property
    def restarts(self) -> bool:
        """Whether the containers are restarted."""
        return self in (Action.RESTART, Action.SYNC_RESTART)


#: Short-lived editor files, from compose's list (pkg/watch/ephemeral.go), and git's own directory.
EPHEMERAL = (
    *("**/*___jb_old___", "**/*___jb_tmp___", "**/.idea/**", "**/.#*", "**/#*#", "**/4913", "**/*~"),
    *("**/.*.swp", "**/.*.swx", "**/.*.swo", "**/.*.swn", "**/.*.kate-swp", "**/*-go-tmp-umask", "**/.git"),
)


#: If more paths than this change at once, for example after a branch switch, not every path is examined.
MANY = 1000


@dataclass(frozen=True)
class Below:
    """Patterns of an ignore file, and the directory that they are relative to."""

    root: str
    patterns: Ignore

    def excludes(self, path: str) -> bool:
        """Return whether the patterns match this path or a directory above it."""
        inside = under(path, self.root)
        return inside not in (None, ".") and self.patterns.excludes(str(inside))

    def may_include(self, path: str) -> bool:
        """Return whether this path, or something below it, may remain included."""
        return not self.excludes(path) or not self.patterns.skips(under(path, self.root) or ".")


SHORT_LIVED = Below("/", Ignore.parse("\n".join(EPHEMERAL)))


@dataclass(frozen=True)
class Rule:
    """One rule: below `path`, except what `ignores` exclude, a change triggers `action` on `service`.

    `include`: only the paths that these patterns match. `target`: the directory or file in the container that `path` is
    copied to.
    """

    service: str
    action: Action
    path: str
    ignores: tuple[Below, ...] = ()
    include: Below | None = None
    target: str = ""

    def matches(self, path: str) -> bool:
        """Return whether a change to this path triggers the rule."""
        if under(path, self.path) is None or (self.include and not self.include.excludes(path)):
            return False
        return not any(ignore.excludes(path) for ignore in self.ignores)

    def may_concern(self, path: str) -> bool:
        """Return whether a change to this path, or to something below it, may trigger the rule."""
        if under(self.path, path) is not None:
            return True
        return under(path, self.path) is not None and all(ignore.may_include(path) for ignore in self.ignores)

    def place(self, path: str) -> str:
        """Return a file's path in the container."""
        return posixpath.normpath(posixpath.join(self.target, under(path, self.path) or "."))


def under(path: str, directory: str) -> str | None:
    """Return the path relative to a directory: `.` for the directory itself, None for a path outside."""
    if path == directory:
        return "."
    start = directory.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else None


@dataclass(frozen=True)
class Work:
    """What to do. `sync`: for each service, host paths and their container paths. `causes`: the changed files."""

    rebuild: frozenset[str] = frozenset()
    sync: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    restart: frozenset[str] = frozenset()
    reload: bool = False
    causes: tuple[str, ...] = ()

    def words(self, root: str) -> str:
        """Return the first few changed files, relative to a directory, and the number of other files."""
        names = [path.removeprefix(f"{root}/") for path in self.causes]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return ", ".join(names[:3]) + more or "something"

    def and_also(self, other: Work) -> Work:
        """Return the combined work of both."""
        names = {**self.sync, **other.sync}
        return Work(
            self.rebuild | other.rebuild,
            {name: {**self.sync.get(name, {}), **other.sync.get(name, {})} for name in names},
            self.restart | other.restart,
            self.reload or other.reload,
            tuple(dict.fromkeys((*self.causes, *other.causes))),
        )

    def __bool__(self) -> bool:
        return bool(self.rebuild or self.sync or self.restart or self.reload)


#: Nothing to do.
NOTHING = Work()


def work(rules: Iterable[Rule], changed: Iterable[str]) -> Work:
    """Return the work for a set of changed, new or deleted paths. All matching rules apply, as in compose.

    If there are very many paths, skips those that would add no new work.
    """
    rebuild, restart, reload = set[str](), set[str](), False
    sync: dict[str, dict[str, str]] = {}
    causes: dict[str, None] = {}
    known, paths = tuple(rules), sorted(changed)
    for path in paths:
        for rule in known:
            if len(paths) > MANY and rule.action is Action.REBUILD and rule.service in rebuild:
                continue
            if not rule.matches(path):
                continue
            causes[path] = None
            reload = reload or rule.action is Action.RELOAD
            if rule.action is Action.REBUILD:
                rebuild.add(rule.service)
            if rule.action.syncs:
                sync.setdefault(rule.service, {})[path] = rule.place(path)
            if rule.action.restarts:
                restart.add(rule.service)
    return Work(frozenset(rebuild), sync, frozenset(restart), reload, tuple(causes))
