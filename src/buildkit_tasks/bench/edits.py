"""The benchmark's edits: text in string literals of a service and of a shared crate, and a new dependency.

Settings can define them (docs/reference/bench.md); otherwise they are found in the workspace. The first build shows
whether the program really contains a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from buildkit_tasks.core import readfile, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.workspaces import cargo
from buildkit_tasks.workspaces.cargo import CargoWorkspace, Package
from buildkit_tasks.workspaces.tree import Tree, join

#: Crates without dependencies that every supported toolchain compiles: two versions each, to add one and bump it to the
#: other, with the checksums of crates.io.
_SMALL = (
    (
        *("fnv", "1.0.6", "2fad85553e09a6f881f739c29f0b00b0f01357c743266d478b68951ce23285f3"),
        *("1.0.7", "3f9eec918d3f24069decb9af1554cad7c880e2da24a9afd88aca000531ab82c1"),
    ),
    (
        *("hex", "0.4.2", "644f9158b2f133fd50f5fb3242878846d9eb792e445c893805ff0e3824006e35"),
        *("0.4.3", "7f24254aa9a54b5c858eaee2f5bccdb46aaf0e486a595ed5fd8f86ba55232a70"),
    ),
    (
        *("lazy_static", "1.4.0", "e2abad23fbc42b3700f2f279844dc832adb2b2eb069b2df918f455c4e18cc646"),
        *("1.5.0", "bbd2bcb4c963f2ddae06a2efc7e9f3591312473c50c6685e1f298068316e66fe"),
    ),
)
#: Calls with text that is only displayed, so a longer text changes nothing else.
_SHOWN = re.compile(
    r"\b(?:e?println!|e?print!|info!|warn!|error!|panic!|bail!|anyhow!|expect|context|unwrap_or_else)\s*\(\s*"
    r'"((?:[^"\\\n]|\\.)*)"'
)
#: Any other text, on a line where the compiler or a macro does not read it.
_OTHER = re.compile(r'"((?:[^"\\\n]|\\.){8,})"')
_READ = re.compile(r"^\s*//|#!?\[|\b(?:include\w*|env|option_env|concat|cfg|query\w*|asm|json|extern|regex|Regex)\b")
#: Maximum number of candidates to try.
_MOST = 60
_EDIT = {"file": str, "text": str}
_VERSION = {"version": str, "checksum": str}
#: The table in pyproject.toml.
_TABLE = {
    "service": str,
    "code": _EDIT,
    "shared": _EDIT,
    "dependency": {"manifest": str, "package": str, "name": str, **_VERSION, "newer": _VERSION},
}
_OPTIONAL = ("package", "newer")


@dataclass(frozen=True)
class Edit:
    """A text within a string literal. `file`: relative to the root of the repository."""

    file: str
    text: str


@dataclass(frozen=True)
class Dependency:
    """A crate to add: to the manifest of a package that has it in its Cargo.lock. `newer`: a version to bump it to."""

    manifest: str
    package: str
    crate: Mapping[str, str]
    newer: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Edits:
    """What to edit. `code`, `shared`: candidates, the best first; the first that the program contains is used."""

    service: str
    code: tuple[Edit, ...]
    shared: tuple[Edit, ...] = ()
    dependency: Dependency | None = None


def configured(table: Mapping[str, Any], services: Collection[str], root: Path) -> Edits:
    """Return the edits in `[tool.buildkit-tasks.bench]`. Raises `Problem` settings-invalid."""
    try:
        shapes.check(table, _TABLE)
        _complete(table, _TABLE)
        added = dict(table["dependency"])
        manifest, newer = added.pop("manifest"), added.pop("newer", None)
        parent = PurePosixPath(manifest).parent.name
        package = added.pop("package", parent)
        if not package:
            raise ValueError("dependency.package is missing; it cannot be the name of the manifest's directory here")
        if table["service"] not in services:
            raise ValueError(f"service: {table['service']!r} is not one of {', '.join(sorted(services))}")
        for name in ("code", "shared"):
            _readable(root, f"{name}.file", table[name]["file"], table[name]["text"])
        _readable(root, "dependency.manifest", manifest, "")
        dependency = Dependency(manifest, package, added, {**added, **newer} if newer else None)
        return Edits(table["service"], (Edit(**table["code"]),), (Edit(**table["shared"]),), dependency)
    except ValueError as error:
        raise Problem(
            "settings-invalid",
            f"[tool.buildkit-tasks.bench] in pyproject.toml: {error}.",
            hint="fix the table (docs/reference/bench.md), or remove it to let buildkit-tasks find the edits",
        ) from None


def _complete(table: Mapping[str, Any], shape: Mapping[str, Any], where: str = "") -> None:
    """Raise ValueError if a setting is missing or unknown."""
    for name, inner in shape.items():
        if name not in table and name not in _OPTIONAL:
            raise ValueError(f"{where}{name} is missing")
        if isinstance(inner, Mapping) and name in table:
            _complete(table[name], inner, f"{where}{name}.")
    if unknown := [name for name in table if name not in shape]:
        raise ValueError(f"{where}{unknown[0]} is not a setting")


def _readable(root: Path, setting: str, file: str, text: str) -> None:
    """Raise ValueError if a file is outside the repository, cannot be read, or does not contain the text."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{setting}: {file!r} is not a path in the repository")
    try:
        content = readfile.text(root / file)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{setting}: cannot read {file!r}: {getattr(error, 'strerror', None) or error}") from None
    if text not in content:
        raise ValueError(f"{setting}: {file!r} does not contain {text!r}")


def find(files: Tree, programs: Mapping[str, tuple[str, str]]) -> Edits:
    """Find the edits for these services, given as `{service: (workspace, program)}`.

    Raises `Problem` bench-failed if no service has text to edit.
    """
    spaces = {workspace.directory: workspace for workspace in cargo.workspaces(files)}
    for service, (directory, program) in programs.items():
        workspace = spaces.get(directory)
        own = workspace.binaries.get(program) if workspace else None
        if not workspace or not own:
            continue
        code = tuple(dict.fromkeys(_texts(files, own, first="main.rs")))[:_MOST]
        if not code:
            continue
        users = [workspace.binaries[p] for d, p in programs.values() if d == directory and p in workspace.binaries]
        return Edits(service, code, _shared(files, workspace, own, users), _dependency(files, workspace, own))
    raise Problem(
        "bench-failed",
        "No service has text that can be edited: no program's crate has a string literal of 8 or more characters.",
        hint="set the text in [tool.buildkit-tasks.bench] (docs/reference/bench.md)",
    )


def _shared(files: Tree, workspace: CargoWorkspace, own: Package, users: Sequence[Package]) -> tuple[Edit, ...]:
    """Return texts of the libraries that this program uses, those used by most programs first."""
    libraries = {p.directory: p for p in (*workspace.packages, *workspace.extra) if p.directory != own.directory}
    reached = [_reached(workspace, user) for user in users]
    needed = [d for d in _reached(workspace, own) if d in libraries and not libraries[d].binaries]
    needed.sort(key=lambda directory: -sum(directory in one for one in reached))
    return tuple(dict.fromkeys(e for d in needed for e in _texts(files, libraries[d], first="lib.rs")))[:_MOST]


def _reached(workspace: CargoWorkspace, package: Package) -> list[str]:
    """Return directories of the crates that a crate depends on by path, directly or indirectly."""
    known = {p.directory: p for p in (*workspace.packages, *workspace.extra)}
    found: dict[str, None] = {}
    todo = [directory for _, directory in package.built if directory]
    while todo:
        directory = todo.pop()
        if directory not in found and directory in known:
            found[directory] = None
            todo += [other for _, other in known[directory].built if other]
    return sorted(found)


def _texts(files: Tree, package: Package, *, first: str) -> Iterator[Edit]:
    """Yield the texts of a crate, those in the file `first` first."""
    paths = [p for p in files.files if p.endswith(".rs") and p.startswith(f"{join(package.directory, 'src')}/")]
    others: list[Edit] = []
    for path in sorted(paths, key=lambda p: (not p.endswith(first), p)):
        text = files.text(path)
        yield from _usable(path, text, [match[1] for match in _SHOWN.finditer(text)])
        lines = [line for line in text.splitlines() if not _READ.search(line)]
        others += _usable(path, text, [match[1] for line in lines for match in _OTHER.finditer(line)])
    yield from others


def _usable(path: str, text: str, literals: Sequence[str]) -> Iterator[Edit]:
    """Yield the longest plain piece of each literal (between `{}` and escapes) if it is unique in the file."""
    for literal in literals:
        piece = max(re.split(r"\{[^{}]*\}|\{\{|\}\}|\\.", literal), key=len).strip()
        if len(piece) >= 8 and text.count(piece) == 1 and piece.isprintable():
            yield Edit(path, piece)


def _dependency(files: Tree, workspace: CargoWorkspace, own: Package) -> Dependency | None:
    manifest = join(own.directory, "Cargo.toml")
    if not re.search(r"(?m)^\[dependencies\]$", files.text(manifest)):
        return None
    for name, version, checksum, newer, newer_checksum in _SMALL:
        if name not in workspace.names:
            crate = {"name": name, "version": version, "checksum": checksum}
            return Dependency(manifest, own.name, crate, {**crate, "version": newer, "checksum": newer_checksum})
    return None
