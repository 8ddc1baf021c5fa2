"""The crate graph of a repository: which crate owns a file, and which crates and packages a program needs. Pure.

It is read from manifests and lock files, without running cargo.
https://doc.rust-lang.org/cargo/reference/specifying-dependencies.html
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import tomli

from buildkit_tasks.workspaces import cargo, reach
from buildkit_tasks.workspaces.cargo import CargoWorkspace, Package
from buildkit_tasks.workspaces.tree import Tree

#: If a crate contains other crates, only these directories belong to it. Other crates may use its other files.
_OWN = ("src/", "tests/", "benches/", "examples/")


@dataclass(frozen=True)
class Locked:
    """A lock file: the dependencies and identity (with checksum) of each package. Keys are `name version source`."""

    edges: Mapping[str, tuple[str, ...]]
    identity: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> Locked | None:
        """Parse a lock file. Return None if it is invalid."""
        try:
            listed = tomli.loads(text)["package"]
            found = {(str(p["name"]), str(p["version"]), str(p.get("source", ""))): p for p in listed}
        except (tomli.TOMLDecodeError, KeyError, TypeError, AttributeError):
            return None
        by_name: dict[str, list[tuple[str, str, str]]] = {}
        for key in found:
            by_name.setdefault(key[0], []).append(key)
        edges, identity = {}, {}
        for key, entry in found.items():
            name = " ".join(key)
            identity[name] = f"{name} {entry.get('checksum', '')}"
            edges[name] = tuple(
                " ".join(other) for word in entry.get("dependencies", ()) for other in _meant(word, by_name)
            )
        return cls(edges, identity)

    def closure(self, start: Package, built: Mapping[str, frozenset[str]]) -> frozenset[str]:
        """Return the keys of all the packages that a crate needs. `built`: non-test dependencies of local crates."""
        todo = [key for key in self.edges if key.split(" ")[0] == start.name and key.endswith(" ")]
        seen: set[str] = set()
        while todo:
            key = todo.pop()
            if key in seen:
                continue
            seen.add(key)
            name = key.split(" ")[0]
            wanted = built.get(name) if key.endswith(" ") else None  # the lock file also contains test dependencies
            todo += [other for other in self.edges.get(key, ()) if wanted is None or other.split(" ")[0] in wanted]
        return frozenset(seen)


def _meant(word: object, by_name: Mapping[str, list[tuple[str, str, str]]]) -> list[tuple[str, str, str]]:
    """Resolve `name`, `name version` or `name version (source)` to packages."""
    parts = str(word).split(" ")
    found = by_name.get(parts[0], [])
    if len(parts) > 1:
        found = [key for key in found if key[1] == parts[1]]
    if len(parts) > 2:
        found = [key for key in found if key[2] == parts[2].strip("()")]
    return found


class Crates:
    """All crates of a tree."""

    def __init__(self, files: Tree) -> None:
        self.files = files
        self.workspaces = cargo.workspaces(files)
        self.of: dict[str, CargoWorkspace] = {}
        self.packages: dict[str, Package] = {}
        for workspace in self.workspaces:
            for package in workspace.packages:
                self.packages[package.directory] = package
                self.of[package.directory] = workspace
        for workspace in self.workspaces:
            for package in workspace.extra:
                self.packages.setdefault(package.directory, package)
                self.of.setdefault(package.directory, workspace)
        self._beyond: dict[str, frozenset[str]] = {}

    @cached_property
    def _built(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for package in self.packages.values():  # two workspaces may have crates with the same name
            found[package.name] = found.get(package.name, frozenset()) | {name for name, _ in package.built}
        return found

    @cached_property
    def _with_crates_below(self) -> frozenset[str]:
        inner: set[str] = set()
        for directory in self.packages:
            parent = directory
            while parent not in (".", ""):
                parent = posixpath.dirname(parent) or "."
                inner.add(parent)
        return frozenset(inner & self.packages.keys())

    def program(self, name: str, below: str, workspace: str | None = None) -> Package | None:
        """Return the crate of a program in the directory `below`; None unless exactly one exists."""
        found = [
            w.binaries[name]
            for w in self.workspaces
            if name in w.binaries and inside(w.directory, below) and (workspace is None or w.directory == workspace)
        ]
        return found[0] if len(found) == 1 else None

    def owner(self, path: str) -> str | None:
        """Return the directory of the crate that owns a file, or None if other crates may also use it."""
        directory = path
        while directory not in (".", ""):
            directory = posixpath.dirname(directory) or "."
            if directory not in self.packages:
                continue
            package = self.packages[directory]
            rest = path if directory == "." else path[len(directory) + 1 :]
            if directory not in self._with_crates_below or rest.startswith(_OWN) or path == package.build_script:
                return directory
            return None
        return None

    def ruled(self, path: str) -> frozenset[str]:
        """Return directories of workspaces that use this file as a manifest, toolchain file or cargo configuration."""
        return frozenset(w.directory for w in self.workspaces if path in (w.path("Cargo.toml"), w.toolchain, *w.config))

    def closure(self, start: Package) -> frozenset[str]:
        """Return the directories of all the crates that a program needs, including patched packages."""
        workspace = self.of[start.directory]
        by_name = {p.name: p.directory for p in (*workspace.packages, *workspace.extra)}
        lock = self.lock(workspace.path("Cargo.lock"))
        todo = [start.directory]
        if lock:
            local = (key.split(" ")[0] for key in lock.closure(start, self._built) if key.endswith(" "))
            todo += [by_name[name] for name in local if name in by_name]
        seen: set[str] = set()
        while todo:
            directory = todo.pop()
            if directory in seen or directory not in self.packages:
                continue
            seen.add(directory)
            todo += [path for _, path in self.packages[directory].built if path]
        return frozenset(seen)

    def lock(self, path: str) -> Locked | None:
        """Return the parsed lock file at `path`."""
        if path not in self._locks:
            self._locks[path] = Locked.read(self.files.text(path)) if self.files.has(path) else None
        return self._locks[path]

    @cached_property
    def _locks(self) -> dict[str, Locked | None]:
        return {}

    def relocked(self, start: Package, then: Locked | None) -> bool:
        """Return whether any package that a program needs differs from the old lock file (None: assume so)."""
        now = self.lock(self.of[start.directory].path("Cargo.lock"))
        if now is None or then is None:
            return True
        new, old = (
            {lock.identity[key] for key in lock.closure(start, self._built) if key in lock.identity}
            for lock in (now, then)
        )
        return new != old

    def locked(self, start: Package) -> dict[str, tuple[str, ...]] | None:
        """Return the locked packages that a crate is built from, with their dependencies; None without a lock file.

        Keys are `name version source`. Test dependencies of the repository's own crates are excluded.
        """
        lock = self.lock(self.of[start.directory].path("Cargo.lock"))
        if lock is None:
            return None
        keys = lock.closure(start, self._built)
        return {key: tuple(other for other in lock.edges.get(key, ()) if other in keys) for key in sorted(keys)}

    def checksum(self, start: Package, key: str) -> str:
        """Return the SHA-256 of a package's archive from the lock file of this crate's workspace; "" if it has none."""
        lock = self.lock(self.of[start.directory].path("Cargo.lock"))
        return lock.identity.get(key, "").rpartition(" ")[2] if lock else ""

    def reads(self, directories: Iterable[str], path: str) -> bool:
        """Return whether a source file in one of these crates refers to this file outside its crate."""
        for directory in directories:
            if directory not in self._beyond:
                self._beyond[directory] = reach.beyond(self.files, self.of[directory], self.packages[directory])
            if any(inside(path, place) for place in self._beyond[directory]):
                return True
        return False


def inside(path: str, directory: str) -> bool:
    """Return whether a path equals a directory or is below it; `.` contains everything."""
    return directory in (".", "") or path == directory or path.startswith(f"{directory}/")
