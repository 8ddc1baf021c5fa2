"""Parses cargo manifests, lock files and toolchain files. Runs nothing from the repository, not even cargo.

Rules: https://doc.rust-lang.org/cargo/reference/workspaces.html and cargo-targets.html
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import cargo_config, tree
from .cargo_config import parents, toml
from .tree import Tree


@dataclass(frozen=True)
class Package:
    """A crate of the repository. `directory`: relative to the root, `.` for the root; `paths`: path dependencies.

    `built`: the dependencies of a build, without those of tests: the name of each package, and its directory if it is
    in the repository. `conditional`: the programs that need a feature (`required-features`).
    """

    name: str
    directory: str
    binaries: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    build_script: str = ""
    paths: tuple[str, ...] = ()
    dependencies: frozenset[str] = frozenset()
    built: frozenset[tuple[str, str]] = frozenset()
    conditional: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Locked:
    """One package in a lock file."""

    name: str
    version: str
    source: str = ""
    dependencies: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CargoWorkspace:
    """The crates of one Cargo.lock.

    `extra`: other crates that they depend on by path; `outside`: directories of those outside the repository; `globs`:
    member patterns; `defaults`: those of default members.
    """

    directory: str
    packages: tuple[Package, ...]
    locked: tuple[Locked, ...] = ()
    has_lock: bool = True
    toolchain: str = ""
    channel: str = ""
    config: tuple[str, ...] = ()
    vendored: tuple[str, ...] = ()
    target: str = ""
    extra: tuple[Package, ...] = ()
    profiles: frozenset[str] = field(default=frozenset())
    globs: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    @property
    def binaries(self) -> dict[str, Package]:
        """Maps program names to crates."""
        return {name: package for package in self.packages for name in package.binaries}

    @property
    def names(self) -> frozenset[str]:
        """Names of all packages in the lock file."""
        return frozenset(package.name for package in self.locked)

    def path(self, inside: str) -> str:
        """Return a path in the workspace, relative to the root of the repository."""
        return tree.join(self.directory, inside)


def workspaces(files: Tree) -> tuple[CargoWorkspace, ...]:
    """Return every workspace and every standalone crate, those closest to the root first."""
    manifests = {posixpath.dirname(p) or ".": toml(files, p) for p in files.named("Cargo.toml")}
    heads = {d: t["workspace"] for d, t in manifests.items() if isinstance(t.get("workspace"), dict)}
    members: dict[str, list[str]] = {d: [] for d in heads}
    for directory, manifest in manifests.items():
        if not isinstance(manifest.get("package"), dict):
            continue
        head = directory if directory in heads else _head(directory, manifest, manifests, heads)
        members.setdefault(head, []).append(directory)
    found = [_workspace(files, head, sorted(inside), manifests) for head, inside in members.items()]
    return tuple(sorted(found, key=lambda w: (w.directory.count("/") if w.directory != "." else -1, w.directory)))


def _head(directory: str, manifest: Mapping[str, Any], manifests: Mapping[str, Any], heads: Mapping[str, Any]) -> str:
    """Return the directory of the workspace that a crate belongs to, or its own if it is standalone."""
    given = manifest["package"].get("workspace")
    if isinstance(given, str):
        return tree.join(directory, given)
    for head in parents(directory):
        if head not in heads:
            continue
        inside = posixpath.relpath(directory, head)
        section = heads[head]
        if any(inside == e.strip("/") or inside.startswith(f"{e.strip('/')}/") for e in _texts(section.get("exclude"))):
            return directory
        listed = any(fnmatch.fnmatchcase(inside, posixpath.normpath(m)) for m in _texts(section.get("members")))
        return head if listed or directory in _reachable(head, manifests, section) else directory
    return directory


def _reachable(head: str, manifests: Mapping[str, Any], section: Mapping[str, Any]) -> set[str]:
    """Return crates below a workspace that are members without being listed: members depend on them by path."""
    found: set[str] = set()
    patterns = [posixpath.normpath(m) for m in _texts(section.get("members"))]
    todo = [
        d
        for d in manifests
        if d == head or any(fnmatch.fnmatchcase(posixpath.relpath(d, head), pattern) for pattern in patterns)
    ]
    while todo:
        directory = todo.pop()
        if directory in found or directory not in manifests:
            continue
        found.add(directory)
        todo += _path_dependencies(directory, manifests[directory])
    return found


def _texts(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _tables(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dependency table with its kind, including target-specific, workspace and patch tables."""
    for kind in ("dependencies", "build-dependencies", "dev-dependencies"):
        yield kind, manifest.get(kind) or {}
        for table in (manifest.get("target") or {}).values():
            yield kind, (table.get(kind) or {}) if isinstance(table, dict) else {}
    workspace = manifest.get("workspace") or {}
    yield "workspace", workspace.get("dependencies") or {}
    for table in (manifest.get("patch") or {}).values():
        yield "patch", table if isinstance(table, dict) else {}


def _path_dependencies(directory: str, manifest: Mapping[str, Any]) -> list[str]:
    found = []
    for _, table in _tables(manifest):
        for value in table.values():
            if isinstance(value, dict) and isinstance(value.get("path"), str):
                found.append(tree.join(directory, value["path"]))
    return list(dict.fromkeys(found))


def package(files: Tree, directory: str, manifest: Mapping[str, Any], head: str, above: Mapping[str, Any]) -> Package:
    """Convert a manifest with a `[package]` to a value. `above`: the manifest of its workspace, in `head`."""
    section = manifest["package"]
    name = str(section.get("name", directory))
    script = section.get("build", "build.rs")
    script = script if isinstance(script, str) else "build.rs" if script is True else ""
    path = tree.join(directory, script) if script else ""
    return Package(
        name,
        directory,
        _binaries(files, directory, name, manifest),
        _features(manifest),
        path if path and files.has(path) else "",
        tuple(_path_dependencies(directory, manifest)),
        frozenset(n for kind, table in _tables(manifest) if kind not in ("workspace", "patch") for n in table),
        frozenset(_built(directory, manifest, head, above)),
        frozenset(str(b.get("name")) for b in _given_binaries(manifest) if b.get("required-features")),
    )


def _features(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a crate's features, including optional dependencies that no feature refers to with `dep:`."""
    given = manifest.get("features") or {}
    named = {item for items in given.values() for item in _texts(items)}
    optional = [
        name
        for kind, table in _tables(manifest)
        if kind in ("dependencies", "build-dependencies")
        for name, value in table.items()
        if isinstance(value, dict) and value.get("optional") is True and f"dep:{name}" not in named
    ]
    return tuple(dict.fromkeys((*given, *optional)))


def _built(
    directory: str, manifest: Mapping[str, Any], head: str, above: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the package name and directory of each build dependency; resolves renamed and inherited dependencies."""
    shared = (above.get("workspace") or {}).get("dependencies") or {}
    for kind, table in _tables(manifest):
        if kind not in ("dependencies", "build-dependencies"):
            continue
        for name, given in table.items():
            value, base = (given if isinstance(given, dict) else {}), directory
            if value.get("workspace") is True:
                value, base = (shared[name] if isinstance(shared.get(name), dict) else {}), head
            path = value.get("path")
            yield str(value.get("package", name)), tree.join(base, path) if isinstance(path, str) else ""


def _binaries(files: Tree, directory: str, name: str, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    given = _given_binaries(manifest)
    found = [str(b["name"]) for b in given if b.get("name")]
    if manifest["package"].get("autobins") is not False:
        taken = {tree.join(directory, str(b["path"])) for b in given if b.get("path")}
        main = tree.join(directory, "src/main.rs")
        if files.has(main) and main not in taken:
            found.append(name)
        folder = tree.join(directory, "src/bin")
        for path in files.below(folder):
            inside = path[len(folder) + 1 :]
            if path not in taken and inside.endswith(".rs") and "/" not in inside:
                found.append(inside.removesuffix(".rs"))
            elif path not in taken and inside.count("/") == 1 and inside.endswith("/main.rs"):
                found.append(inside.split("/", maxsplit=1)[0])
    return tuple(dict.fromkeys(found))


def _given_binaries(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [b for b in manifest.get("bin") or () if isinstance(b, dict)]


def _workspace(files: Tree, head: str, inside: Sequence[str], manifests: Mapping[str, Any]) -> CargoWorkspace:
    above = manifests.get(head, {})
    packages = tuple(package(files, d, manifests[d], head, above) for d in inside)
    todo = [path for p in packages for path in p.paths]
    if head in manifests:
        todo += _path_dependencies(head, manifests[head])
    extra: dict[str, Package] = {}
    outside: set[str] = set()
    while todo:
        directory = todo.pop()
        outside |= {directory} if directory.startswith("..") else set()
        if directory in inside or directory in extra or "package" not in manifests.get(directory, {}):
            continue
        extra[directory] = package(files, directory, manifests[directory], head, above)
        todo += extra[directory].paths
    toolchain, channel = cargo_config.toolchain(files, head)
    config, vendored, target = cargo_config.config(files, head)
    lock = tree.join(head, "Cargo.lock")
    return CargoWorkspace(
        head,
        packages,
        _locked(files, lock),
        files.has(lock),
        toolchain,
        channel,
        config,
        vendored,
        target,
        tuple(extra[d] for d in sorted(extra)),
        frozenset((manifests.get(head, {}).get("profile") or {}).keys()),
        tuple(m for m in _texts((manifests.get(head, {}).get("workspace") or {}).get("members")) if "*" in m),
        tuple(_texts((manifests.get(head, {}).get("workspace") or {}).get("default-members"))),
        tuple(sorted(outside)),
    )


def _locked(files: Tree, path: str) -> tuple[Locked, ...]:
    if not files.has(path):
        return ()
    found = toml(files, path).get("package") or ()
    return tuple(
        Locked(
            str(p.get("name", "")),
            str(p.get("version", "")),
            str(p.get("source", "")),
            frozenset(d.split(" ", 1)[0] for d in _texts(p.get("dependencies"))),
        )
        for p in found
        if isinstance(p, dict)
    )
