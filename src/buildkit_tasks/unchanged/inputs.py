"""Collects the inputs of a build other than its context: request, environment, configuration files. Runs nothing."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.engine import ask

from . import record
from .fingerprint import content
from .record import FOLDER, Moment

if TYPE_CHECKING:  # late: an up-to-date build does not need it
    from concurrent.futures import Future

#: This package's own files are inputs too, because a newer version may build differently.
PACKAGE = Path(__file__).parents[1]

#: Tolerance in ns for a clock that seems to go backwards between readings of two clocks.
_JITTER = 2_000_000

#: Variables that differ between terminals and that neither docker nor we read. All other variables are inputs, and
#: so are variables in this set that a compose file or a .env mentions.
HARMLESS = frozenset(
    {
        *("_", "ALACRITTY_LOG", "ALACRITTY_SOCKET", "ALACRITTY_WINDOW_ID", "COLORTERM", "COLUMNS", "GPG_TTY"),
        *("INVOCATION_ID", "ITERM_PROFILE", "ITERM_SESSION_ID", "JOURNAL_STREAM", "KITTY_PID", "KITTY_WINDOW_ID"),
        *("KONSOLE_DBUS_SESSION", "LC_TERMINAL", "LC_TERMINAL_VERSION", "LINES", "OLDPWD", "SHLVL"),
        *("SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "STY", "TERM", "TERMINATOR_UUID"),
        *("TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TERM_SESSION_ID", "TMUX", "TMUX_PANE", "VSCODE_GIT_IPC_HANDLE"),
        *("VSCODE_IPC_HOOK_CLI", "VTE_VERSION", "WEZTERM_PANE", "WEZTERM_UNIX_SOCKET", "WINDOW", "WINDOWID"),
        *("WT_PROFILE_ID", "WT_SESSION", "XDG_SESSION_ID", "XDG_VTNR"),
    }
)

_COMPOSE_NAMES = (
    *("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"),
    *(f"{stem}.override.{end}" for stem in ("compose", "docker-compose") for end in ("yml", "yaml")),
)


@dataclass(frozen=True)
class Ahead:
    """The images that the engine was asked about before the build was planned, and its answer."""

    names: tuple[str, ...]
    answer: ask.Answer


@dataclass(frozen=True)
class Attempt:
    """A starting build: the file of its record, and the state before anything in the project was read.

    `services`: the services requested by the user. `wider`: the attempt for the same build of all services. Its record
    also applies to each of these services. `ahead`: the engine's answer about the images of the last record.
    """

    file: Path
    request: str
    environment: Mapping[str, str]
    began: Moment
    contents: str
    services: tuple[str, ...] = ()
    wider: Attempt | None = None
    ahead: Future[Ahead] | None = field(default=None, compare=False)


def begin(session: Session, request: BuildRequest) -> Attempt | None:
    """Begin an attempt. Return None for a request that always needs BuildKit. Problems: no-project."""
    if request.no_cache or request.push or request.oci or request.platforms or request.by_digest:
        return None
    began = now()
    environment = dict(session.world.env)
    try:
        small = contents(session)
    except OSError:
        return None

    def attempt(of: BuildRequest, wider: Attempt | None) -> Attempt:
        key = _key(session, of)
        return Attempt(session.state / FOLDER / key[:24], key, environment, began, small, of.services, wider)

    return attempt(request, attempt(replace(request, services=()), None) if request.services else None)


def ask_ahead(session: Session, attempt: Attempt) -> Ahead:
    """Ask the engine about the base images of the last record: usually those of this build. Raises as `ask.images`."""
    found, path = record.load(attempt.file), ask.address(session.world)
    if found is None or path is None:
        raise ValueError("nothing to ask")
    names = tuple(found.bases)
    return Ahead(names, ask.images(path, names))


def _key(session: Session, request: BuildRequest) -> str:
    """Return the name of a request's record, derived from the request, the directory and the Python used."""
    words = {**asdict(request), "progress": "", "flags": session.flags, "cwd": str(session.world.cwd)}
    text = json.dumps([words, str(session.root), sys.version, sys.prefix], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def now() -> Moment:
    """Return the current time. If the system reports no boot id, only the wall clock is used."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        for _ in range(10):  # on a busy machine, we may be preempted between reading the two clocks
            running, wall = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns()
            if time.clock_gettime_ns(time.CLOCK_BOOTTIME) - running < _JITTER / 4:
                break
        return Moment(wall, boot, running)
    except (OSError, AttributeError, ValueError):
        return Moment(time.time_ns(), "", 0)


def forward(before: Moment, after: Moment) -> bool:
    """Return whether the clock only moved forward between two moments, as far as we can determine."""
    same = before.boot == after.boot
    drift = (after.wall - before.wall) - (after.running - before.running) if same and before.boot else 0
    return after.wall >= before.wall and drift >= -_JITTER


def digest(environment: Mapping[str, str], harmless: Collection[str], salt: str) -> str:
    """Return a salted digest of all variables except the harmless ones. The salt prevents guessing the values."""
    found = hashlib.blake2b(key=bytes.fromhex(salt)[:32], digest_size=32)
    for name, value in sorted(environment.items()):
        if name not in harmless:
            found.update(f"{len(name)} {len(value)} {name}{value}".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def contents(session: Session) -> str:
    """Return digests of files that may be rewritten unchanged: the current builder and the chosen base images."""
    home = session.world.buildx_config
    files = (home / "current", home / "defaults", session.state / "images.json")
    return "-".join(content(file) or "none" for file in files)


def compose_candidates(session: Session, named: Iterable[Path]) -> Iterator[Path]:
    """Yield every compose file and .env that compose may read for this project, existing or not."""
    folders = dict.fromkeys([session.root, session.world.cwd, *(file.parent for file in named)])
    yield from named
    yield from (session.root / name for name in _COMPOSE_NAMES)
    yield from (folder / ".env" for folder in folders)


def harmless(texts: Iterable[bytes]) -> tuple[str, ...]:
    """Return the harmless variables that no text mentions."""
    words = {word for text in texts for word in re.findall(rb"[A-Za-z_][A-Za-z0-9_]*", text)}
    return tuple(sorted(name for name in HARMLESS if name.encode() not in words))
