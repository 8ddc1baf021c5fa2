"""Discovery: queries the engine's facts and the resolved compose model at the same time.

Compose decides which files it reads and what they mean; buildkit-tasks does not parse them. See
docs/explanation/compose.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from buildkit_tasks.config import root as project_root
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import lists, readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.files import replace as replace_file
from buildkit_tasks.core.model import Engine, Result, Workspace
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.dotenv import disk as dotenv_disk
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.engine import quick

from . import compose, compose_words, known_files, resolve, stand_ins


@dataclass(frozen=True)
class Project:
    """The result of discovery."""

    engine: Engine
    workspace: Workspace


def discover(session: Session, *, lesser: bool = False, named: Sequence[str] = (), looking: bool = False) -> Project:
    """Query the engine and the workspace in parallel. Raises problems from either; the engine's take precedence.

    `lesser`: for flows that also support an old engine or an engine without buildx; all flows need compose. `named`:
    the requested services; as in compose, requesting a service of an inactive profile activates it. `looking`: the
    flow neither builds nor starts anything, so it also works before .env exists.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        workspace = pool.submit(_workspace, session, named, looking=looking)  # first, because it takes longer
        facts = pool.submit(quick.find, session.world, session.root)
        found = facts.result()
        if lesser:
            engine_facts.require_compose(found)
        else:
            engine_facts.require_full(found)
        return Project(found, workspace.result())


def read_workspace(session: Session, *, named: Sequence[str] = (), looking: bool = False) -> Workspace:
    """Query only the workspace, without an engine. `looking` as for `discover`."""
    return _workspace(session, named, looking=looking)


def _workspace(session: Session, named: Sequence[str], *, looking: bool) -> Workspace:
    try:
        return _read(session, named)
    except Problem as problem:
        if not looking or problem.code not in stand_ins.CODES:
            raise
        return stand_ins.read(session, problem, lambda other: _read(other, named))


def _read(session: Session, named: Sequence[str]) -> Workspace:
    for dotenv in session.env_files:
        if str(dotenv) != os.devnull and not _readable_by_compose(dotenv):
            dotenv_disk.read(dotenv)
    files = session.compose_files
    config = _model(session, files)
    names = lists.names(named, "service")
    if any(name not in config.get("services", {}) for name in names):  # also true for a pattern
        config = _with_profiles(session, files, config, names)
    explicit = _named(session, files, config)
    workspace = compose.from_compose(config, session.settings, files, explicit=explicit)
    return workspace if workspace.services else replace(workspace, inactive=_inactive(session, files))


def _readable_by_compose(path: Path) -> bool:
    """Whether compose should read a file: it would wait forever for a FIFO, and read a file of any size into memory."""
    try:
        about = path.stat()
    except OSError:
        return True  # compose says what is wrong
    return stat.S_ISREG(about.st_mode) and about.st_size <= readfile.LARGEST


def _inactive(session: Session, files: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Return services with a `build:` section that belong to profiles, with their profiles."""
    if not known_files.may_have(session, lambda: files or files_found(session), b"profiles"):
        return {}
    entries = (_answer(session, files, "*").config or {}).get("services") or {}
    found = {
        name: tuple(map(str, entry.get("profiles") or ())) for name, entry in entries.items() if entry.get("build")
    }
    return {name: profiles for name, profiles in found.items() if profiles}


def files_found(session: Session) -> tuple[Path, ...]:
    """Return the files that compose reads, for commands that must list them all; compose does not print them."""
    if files := session.compose_files:
        return files
    given = session.world.env.get("COMPOSE_FILE") or session.dotenv.get("COMPOSE_FILE", "")
    if given:
        return tuple(session.root / part for part in given.split(session.compose_separator) if part)
    return project_root.compose_files(session.root)


def read_files(session: Session, files: Sequence[Path]) -> None:
    """Use these compose files from now on, regardless of the settings."""
    session.flags["project.compose_file"] = session.compose_separator.join(map(str, files))
    session.__dict__.pop("_loaded", None)


def variables(session: Session, names: Sequence[str]) -> dict[str, str]:
    """Return the variables that are not in the environment but that compose reads elsewhere, usually from .env."""
    missing = [name for name in names if name not in session.world.env]
    if not missing:
        return {}
    known = session.dotenv
    if any(name not in known for name in missing):
        asked = run.capture(session.world, compose_cli.environment(session.root, session.compose_files))
        if asked.code == 0:  # compose >= 2.31; a multi-line value seems to end where it contains another `NAME=`
            lines = re.findall(r"^([A-Za-z_]\w*)=(.*(?:\n(?![A-Za-z_]\w*=).*)*)", asked.stdout, re.MULTILINE)
            known = {**{name: value.rstrip("\n") for name, value in lines}, **known}
    return {name: known[name] for name in missing if name in known}


def _model(session: Session, files: Sequence[Path]) -> dict[str, Any]:
    """Return the resolved model with the default profiles. Problems: same as `_unreadable`."""
    answer = _answer(session, files)
    if answer.config is None:
        raise _unreadable(session, files, answer.result)
    if answer.without:
        session.report.warn(compose_words.about_env_file(session, answer.without))
    for line in dict.fromkeys(_warnings(answer.result.stderr)):
        session.report.warn(f"compose: {session.masked(line)}")
    return answer.config


def _answer(session: Session, files: Sequence[Path], *profiles: str) -> resolve.Answer:
    """Return compose's resolved model and output."""
    return resolve.model(session, files, _found(session, files), profiles)


def _found(session: Session, files: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files that compose reads; only those passed to it if .env is invalid, which compose reports."""
    try:
        return files_found(session)
    except Problem:
        return tuple(files)


def _with_profiles(
    session: Session, files: Sequence[Path], config: dict[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """Return the model plus the named services that belong to an inactive profile."""
    more = _answer(session, files, "*").config
    if more is None:
        return config  # the caller will suggest near matches
    wanted = {n: s for n, s in (more.get("services") or {}).items() if any(lists.matching(name, [n]) for name in names)}
    secrets_known = {**(more.get("secrets") or {}), **(config.get("secrets") or {})}
    return {**config, "services": {**(config.get("services") or {}), **wanted}, "secrets": secrets_known}


#: A folder name that no project uses.
_PROBE = "buildkit-tasks-unnamed"


def _named(session: Session, files: Sequence[Path], config: Mapping[str, Any]) -> bool:
    """Return whether the project's name is set in a compose file or a variable, and is not just the folder's name.

    If the names are equal, compose is queried again through a symlink with a different name. A "yes" is remembered.
    """
    builds = (entry.get("build") for entry in (config.get("services") or {}).values())
    if session.settings.caches.scope or any(
        isinstance(build, Mapping) and (build.get("args") or {}).get("CACHE_SCOPE") for build in builds
    ):
        return True  # the caches' scope does not depend on either name
    name = str(config.get("name", ""))
    folder = files[0].parent if files else session.root
    usual = re.sub(r"[^a-z0-9_-]", "", folder.name.lower()).lstrip("_-")
    if name != usual or session.world.env.get("COMPOSE_PROJECT_NAME"):
        return True
    memory = session.state / "project-name"
    with contextlib.suppress(OSError):
        if readfile.text(memory, "replace") == name:
            return True
    place = session.state / f"probe-{secrets.token_hex(4)}"
    place.mkdir(mode=0o700)
    link = place / _PROBE

    def renamed(paths: Sequence[Path]) -> list[Path]:
        return [link / path.relative_to(folder) if path.is_relative_to(folder) else path for path in paths]

    try:
        link.symlink_to(folder, target_is_directory=True)
        answer = resolve.model(session, renamed(files), renamed(_found(session, files)), link=link)
    finally:
        link.unlink(missing_ok=True)
        place.rmdir()
    explicit = answer.config is not None and answer.config.get("name") == name
    if explicit:
        with contextlib.suppress(OSError):  # it only saves a query
            replace_file(memory, name, durable=False)
    return explicit


def _warnings(said: str) -> list[str]:
    """Return the messages of compose's warnings, one per line."""
    found = []
    for line in said.splitlines():
        match = re.search(r'level=warning msg=("(?:[^"\\]|\\.)*")', line)
        if match:
            with contextlib.suppress(ValueError):
                found.append(shapes.loads(match[1], str))
    return found


def _unreadable(session: Session, files: Sequence[Path], result: Result) -> Problem:
    said = result.stderr.strip()
    about_dotenv = compose_words.about_dotenv(session, said)
    if about_dotenv:
        return about_dotenv
    if "unknown command" in said or "is not a docker command" in said:
        return Problem(
            "compose-missing",
            "The compose plugin is not installed.",
            causes=[session.masked(said)],
            hint="invoke engine.install",
        )
    if about_environment := compose_words.about_environment(session, said, files):
        return about_environment
    if re.search(r"invalid project name|project name must not be empty", said):
        return Problem(
            "compose-invalid",
            "The project's name is not valid.",
            details=session.masked(said),
            hint="set `name:` in the compose file, or COMPOSE_PROJECT_NAME; the default is the directory's name",
        )
    where = ", ".join(str(f) for f in files or files_found(session)) or str(session.root)
    line = re.search(r"line (\d+)", said)
    return Problem(
        "compose-invalid",
        f"Compose cannot read {where}" + (f", line {line[1]}." if line else "."),
        details=session.masked(said),
        hint="fix the file (check it with `docker compose config`)",
    )
