"""Finds a project's migration tool and directory, from its manifests, its files and the settings."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.workspaces import cargo_config
from buildkit_tasks.workspaces.tree import Tree

#: For each tool, a pattern for the path of a migration file below its directory. The first match counts.
_SHAPES = (
    ("refinery", re.compile(r"(?:.*/)?[UV]\d+(?:\.\d+)?__\w+\.(?:sql|rs)")),
    ("diesel", re.compile(r"[^/.][^/]*/up\.sql")),
    ("sqlx", re.compile(r"[+-]?[0-9]+_[^/]*\.sql")),
    ("sql", re.compile(r"[^/]+\.sql")),
)

#: Directories with migrations that do not belong to the project.
_OTHERS = re.compile(r"(?:^|/)(?:tests?|fixtures|examples?|benches|vendor|third_party)(?:/|$)")

#: Crates with migrations in Rust code, which only the project's own program can run.
_RUST_ONLY = ("sea-orm-migration", "sea-schema", "butane", "rbatis")


@dataclass(frozen=True)
class Found:
    """A tool, its migrations directory, and why they were chosen."""

    tool: str
    directory: Path
    reason: str


def find(tree: Tree, tool: str = "auto", directory: str = "") -> Found:
    """Return the tool and the directory. `tool` and `directory`: the values of the settings.

    Problems: migrations-unknown (none or multiple), database-unsupported (a tool that only a Rust program can run).
    """
    crates = _dependencies(tree)
    if directory:
        relative = posixpath.normpath(directory)
        if relative.startswith(("/", "..")) or not tree.is_dir(relative):
            raise Problem(
                "migrations-unknown",
                f"The database.migrations setting is {directory}, which is empty or not in this project.",
                hint="use a path relative to the compose file, for example migrations",
            )
        candidates = [relative]
    else:
        candidates = [d for d in _directories(tree) if _shape(tree, d)]
    if len(candidates) > 1:
        raise Problem(
            "migrations-unknown",
            f"Found migrations in {len(candidates)} directories: {', '.join(candidates[:8])}.",
            hint='set migrations = "DIRECTORY" under [tool.buildkit-tasks.database]',
        )
    if not candidates:
        raise _none(crates)
    found = candidates[0]
    shape = _shape(tree, found)
    if tool == "auto":
        if not shape:
            raise _none(crates, found)
        chosen = "sql" if shape == "sqlx" and "sqlx" not in crates else shape
        reason = f"the file names in {found}" + (" and the dependency on sqlx" if chosen == "sqlx" else "")
    else:
        chosen, reason = tool, "the database.tool setting"
    if chosen == "sqlx":
        _check_sqlx(tree, found)
    if chosen == "refinery" and "int8-versions" in crates.get("refinery", frozenset()):
        raise Problem(
            "database-unsupported",
            "The refinery feature int8-versions uses different checksums, which db.migrate does not support.",
            hint="run the program that applies the migrations: `invoke run --service SERVICE -- ARGUMENTS`",
        )
    return Found(chosen, tree.root / found, reason)


def _none(crates: Mapping[str, object], directory: str = "") -> Problem:
    rust = [name for name in _RUST_ONLY if name in crates]
    if rust:
        return Problem(
            "database-unsupported",
            f"{rust[0]} migrations are Rust code, which only the project's own program can run.",
            hint="run that program: `invoke run --service SERVICE -- ARGUMENTS`",
        )
    where = f"{directory} contains no migrations" if directory else "No directory named `migrations` contains SQL files"
    return Problem(
        "migrations-unknown",
        f"{where}.",
        causes=["supported: sqlx, refinery and diesel migrations, and plain .sql files"],
        hint='set migrations = "DIRECTORY" under [tool.buildkit-tasks.database]',
    )


def _directories(tree: Tree) -> list[str]:
    """Return the directories named `migrations` that belong to the project itself."""
    found = set()
    for path in tree.files:
        parts = path.split("/")[:-1]
        for at, part in enumerate(parts):
            if part == "migrations":
                found.add("/".join(parts[: at + 1]))
                break
    return sorted(d for d in found if not _OTHERS.search(d))


def _shape(tree: Tree, directory: str) -> str:
    """Return the tool with matching file names, or an empty string if none match."""
    prefix = len(directory) + 1 if directory != "." else 0
    names = [path[prefix:] for path in tree.below(directory)]
    return next((tool for tool, pattern in _SHAPES if any(pattern.fullmatch(n) for n in names)), "")


def _dependencies(tree: Tree) -> dict[str, frozenset[str]]:
    """Return the dependencies in the project's manifests, with the features they enable."""
    found: dict[str, frozenset[str]] = {}
    for path in tree.named("Cargo.toml"):
        if _OTHERS.search(posixpath.dirname(path)):
            continue
        for name, entry in _entries(cargo_config.toml(tree, path)):
            table = entry if isinstance(entry, Mapping) else {}
            features = table.get("features")
            more = [str(f) for f in features] if isinstance(features, list) else []
            crate = str(table.get("package") or name)
            found[crate] = found.get(crate, frozenset()) | frozenset(more)
    return found


def _entries(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    workspace = manifest.get("workspace")
    for table in (manifest, workspace if isinstance(workspace, Mapping) else {}):
        for key in ("dependencies", "build-dependencies"):
            entries = table.get(key)
            yield from entries.items() if isinstance(entries, Mapping) else ()


def _check_sqlx(tree: Tree, directory: str) -> None:
    """Reject an `sqlx.toml` that changes the table's name, its schema or the characters that checksums ignore."""
    parent = posixpath.dirname(directory)
    while True:
        path = posixpath.join(parent, "sqlx.toml")
        if tree.has(path):
            settings = cargo_config.toml(tree, path).get("migrate") or {}
            odd = [k for k in ("table-name", "create-schemas", "ignored-chars") if settings.get(k)]
            if odd:
                raise Problem(
                    "database-unsupported",
                    f"{path} sets migrate.{odd[0]}, which changes how sqlx records migrations.",
                    hint="let the service apply its migrations when it starts, or use sqlx-cli",
                )
            return
        if not parent:
            return
        parent = posixpath.dirname(parent)
