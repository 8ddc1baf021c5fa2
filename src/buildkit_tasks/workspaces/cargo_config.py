"""Finds the toolchain and configuration files that cargo and rustup use in a directory, including those above it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tomli

from buildkit_tasks.core.errors import Problem

from . import tree
from .tree import Tree


def toml(files: Tree, path: str) -> dict[str, Any]:
    """Parse a TOML file. Raises `Problem` manifest-invalid with file and line."""
    try:
        return dict(tomli.loads(files.text(path)))
    except tomli.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise Problem(
            "manifest-invalid",
            f"{path}{f', line {line[1]}' if line else ''} is not valid TOML.",
            causes=[str(error)],
            hint=f"fix {path} (check it with `cargo metadata`)",
        ) from None


def parents(directory: str) -> Iterator[str]:
    """Yield the parent directories, up to the root of the repository."""
    while directory not in (".", ""):
        directory = posixpath.dirname(directory) or "."
        yield directory


def toolchain(files: Tree, head: str) -> tuple[str, str]:
    """Return the toolchain file that rustup uses in a directory, and its channel."""
    for directory in (head, *parents(head)):
        for name in ("rust-toolchain", "rust-toolchain.toml"):
            path = tree.join(directory, name)
            text = files.text(path)
            if not text.strip():
                continue
            if "[" not in text:
                return path, text.strip()
            section = toml(files, path).get("toolchain") or {}
            return path, str(section.get("channel", "")) if isinstance(section, dict) else ""
    return "", ""


def config(files: Tree, head: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return cargo's effective configuration files, the vendored directories in them, and `build.target`."""
    paths, vendored, target = [], [], ""
    for directory in (head, *parents(head)):
        for name in (".cargo/config.toml", ".cargo/config"):
            path = tree.join(directory, name)
            if not files.has(path):
                continue
            paths.append(path)
            content = toml(files, path)
            for source in (content.get("source") or {}).values():
                if isinstance(source, dict) and isinstance(source.get("directory"), str):
                    vendored.append(tree.join(directory, source["directory"]))
            given = (content.get("build") or {}).get("target")
            target = target or (given if isinstance(given, str) else "")
    return tuple(paths), tuple(vendored), target


#: Targets that are not compiled here.
_ELSEWHERE = re.compile(r"windows|msvc|apple|darwin|macos|ios|android|wasm|freebsd|none")
#: Maps linkers to their Debian packages.
_LINKERS = {"clang": "clang", "clang++": "clang", "mold": "mold", "lld": "lld", "ld.lld": "lld"}


def for_linux(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of a configuration file that apply to a build for Linux: `build`, and those of targets."""
    targets = content.get("target")
    sections = [v for k, v in targets.items() if not _ELSEWHERE.search(k)] if isinstance(targets, dict) else []
    return [section for section in (content.get("build"), *sections) if isinstance(section, dict)]


def sets_rustflags(content: Mapping[str, Any]) -> bool:
    """Return whether a configuration file sets rustflags for Linux."""
    return any("rustflags" in section for section in for_linux(content))


def linkers(files: Tree, paths: Iterable[str]) -> dict[str, str]:
    """Map the Debian packages of linkers that are selected for Linux to the configuration file that selects each."""
    found: dict[str, str] = {}
    for path in paths:
        content = toml(files, path)
        for section in for_linux(content):
            flags = section.get("rustflags")
            words = flags.split() if isinstance(flags, str) else map(str, flags if isinstance(flags, list) else ())
            chosen = [str(section.get("linker") or "")]
            chosen += [w.rpartition("=")[2] for w in words if re.search(r"-fuse-ld=|^(?:-C)?linker=|--ld-path=", w)]
            for name in chosen:
                package = _LINKERS.get(posixpath.basename(name))
                if package:
                    found.setdefault(package, path)
    return found
