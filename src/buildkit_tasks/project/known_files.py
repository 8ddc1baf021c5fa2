"""Determines, without running compose, whether every file that it reads is known, and what the files cannot contain.

Parses nothing. If a file contains a word that includes other files, or that may hide one, only compose knows the
answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem

#: Words in compose files that include other files, or may hide such a word: only compose knows what it reads.
#: A service's `env_file` and `label_file` set its environment and labels, which no build reads.
_BRINGS_FILES = re.compile(rb"\b(?:include|extends)\b|\\|!!|\0")

#: Compose variables that do not select other files. With any other variable, only compose knows what it reads.
_COMPOSE_KNOWN = frozenset(
    {
        *("COMPOSE_ANSI", "COMPOSE_BAKE", "COMPOSE_DOCKER_CLI_BUILD", "COMPOSE_EXPERIMENTAL", "COMPOSE_FILE"),
        *("COMPOSE_IGNORE_ORPHANS", "COMPOSE_MENU", "COMPOSE_PARALLEL_LIMIT", "COMPOSE_PATH_SEPARATOR"),
        *("COMPOSE_PROFILES", "COMPOSE_PROGRESS", "COMPOSE_PROJECT_NAME", "COMPOSE_REMOVE_ORPHANS"),
        "COMPOSE_STATUS_STDOUT",
    }
)


def unsure(session: Session, files: Sequence[Path]) -> str:
    """Return why compose may read files other than these compose files and .env; empty if it does not.

    Raises `OSError` for an unreadable file. Problems: any from .env.
    """
    for name in (*session.world.env, *session.dotenv):
        if name.startswith("COMPOSE_") and name not in _COMPOSE_KNOWN:
            return f"{name} is set"
    if not files or not all(file.is_file() for file in files):
        return "the compose files are elsewhere"
    for file in files:
        if word := _BRINGS_FILES.search(readfile.content(file)):
            return f"{file.name} may include other files ({word[0].decode('ascii', 'replace')!r})"
    return ""


def may_have(session: Session, found: Callable[[], Sequence[Path]], word: bytes) -> bool:
    """Return whether a word may be in the files that compose reads; True for an invalid .env, which compose reports."""
    try:
        files = found()
        return bool(unsure(session, files)) or any(word in readfile.content(file) for file in files)
    except (OSError, Problem):
        return True
