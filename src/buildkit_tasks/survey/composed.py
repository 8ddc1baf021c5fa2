"""Guess from a compose file's text whether it builds Rust services, before compose resolves it."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.workspaces import cargo
from buildkit_tasks.workspaces.tree import Tree

from . import yaml_text

_RUST = re.compile(r"\bcargo\b|\brust|\btarget/|\.rs\b", re.IGNORECASE)


_COMPOSE = re.compile(r"(?:^|/)[^/]*compose[^/]*\.ya?ml$")
_BUILD = re.compile(r"(?m)^\s+[\"']?build[\"']?\s*:")


def any_builds(files: Tree) -> bool:
    """Return whether any compose file in the repository, used or not, seems to build a service."""
    return any(builds(files.text(path)) for path in files.files if _COMPOSE.search(path))


def builds(text: str) -> bool:
    """Return whether a compose file seems to build a service."""
    return _BUILD.search(text) is not None


def starting_ours(files: Tree) -> Callable[[str], bool]:
    """Return a test of whether a compose file starts an image that is named like a program of the repository."""
    programs = functools.cache(functools.partial(_programs, files))

    def starts(path: str) -> bool:
        images = re.findall(r"(?m)^\s+image\s*:\s*[\"']?([^\s\"'#]+)", files.text(path))
        named = programs() if images else None
        return named is not None and any(
            named.fullmatch(posixpath.basename(i.partition("@")[0]).partition(":")[0]) for i in images
        )

    return starts


def building_rust(files: Tree, paths: Sequence[str]) -> str:
    """Return the first compose file that builds Rust; empty if none does."""
    programs = functools.cache(functools.partial(_programs, files))
    return next((path for path in paths if _concerns_rust(files, path, programs)), "")


def _programs(files: Tree) -> re.Pattern[str] | None:
    """Return a pattern that matches the name of any program in the repository."""
    names = sorted({re.escape(name) for workspace in cargo.workspaces(files) for name in workspace.binaries})
    return re.compile(rf"(?<![\w-])(?:{'|'.join(names)})(?![\w-])") if names else None


def _concerns_rust(files: Tree, path: str, programs: Callable[[], re.Pattern[str] | None]) -> bool:
    """Return whether a Dockerfile compiles Rust or mentions a program of the repository; true if unclear."""
    try:
        texts = list(_dockerfiles(files, path))
    except Problem:
        return True  # compose reports this better
    if any(text is None or _RUST.search(text) for text in texts):
        return True
    named = programs()
    return named is not None and any(named.search(text) for text in texts if text)


def _dockerfiles(files: Tree, path: str) -> Iterator[str | None]:
    """Yield the text of each service's Dockerfile: empty if it does not exist, None if only compose can find it."""
    document = yaml_text.load(path, files.text(path), plain=True)
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or (isinstance(document, dict) and "include" in document):
        yield None
        return
    for entry in services.values():
        build: Any = entry.get("build") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and "extends" in entry:
            yield None
        elif isinstance(build, str):
            yield _text(files, path, build, "Dockerfile")
        elif isinstance(build, dict) and isinstance(build.get("dockerfile_inline"), str):
            yield build["dockerfile_inline"]
        elif isinstance(build, dict):
            yield _text(files, path, str(build.get("context", ".")), str(build.get("dockerfile", "Dockerfile")))


def _text(files: Tree, path: str, context: str, dockerfile: str) -> str | None:
    if "$" in context or "$" in dockerfile:
        return None
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(path), context))
    text = files.text(posixpath.normpath(posixpath.join(folder, dockerfile)))
    # a crate without a Dockerfile gets one
    return None if not text and files.has(posixpath.normpath(posixpath.join(folder, "Cargo.toml"))) else text
