"""Discovery: the engine's facts and the resolved compose file, asked for at the same time."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import docker, run
from buildkit_tasks.core import root as project_root
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Workspace
from buildkit_tasks.core.session import Session
from buildkit_tasks.engine import facts as engine_facts

from . import compose, compose_words


@dataclass(frozen=True)
class Project:
    """What discovery found."""

    engine: Engine
    workspace: Workspace


def discover(session: Session, *, lesser: bool = False) -> Project:
    """Engine and workspace in the time of the slower of two questions. Problems of both; the engine's come first.

    `lesser` is for flows that also work with an old engine or without buildx; compose they all need.
    """
    files = compose_files(session)
    with ThreadPoolExecutor(max_workers=2) as pool:
        facts = pool.submit(engine_facts.facts, session.world, session.root)
        config = pool.submit(_config, session, files)
        found = facts.result()
        if lesser:
            engine_facts.require_compose(found)
        else:
            engine_facts.require_full(found)
        return Project(found, compose.from_compose(config.result(), session.settings, files))


def read_workspace(session: Session) -> Workspace:
    """The workspace alone, where no engine is needed."""
    files = compose_files(session)
    return compose.from_compose(_config(session, files), session.settings, files)


def compose_files(session: Session) -> tuple[Path, ...]:
    """The compose files in force: the setting, else COMPOSE_FILE as compose reads it, else what compose would find."""
    _ = session.dotenv  # a broken .env is our clearer words, before compose's
    given = session.settings.project.compose_file
    if not given:
        given = session.world.env.get("COMPOSE_FILE") or session.dotenv.get("COMPOSE_FILE", "")
    if given:
        separator = session.world.env.get("COMPOSE_PATH_SEPARATOR", ":")
        return tuple((session.root / part).resolve() for part in given.split(separator) if part)
    return project_root.compose_files(session.root)


def _config(session: Session, files: tuple[Path, ...]) -> dict[str, object]:
    result = run.capture(session.world, docker.compose_config(session.root, files))
    if result.code == 0:
        return dict(json.loads(result.stdout))
    said = result.stderr.strip()
    about_dotenv = compose_words.about_dotenv(session, said)
    if about_dotenv:
        raise about_dotenv
    if "unknown command" in said or "is not a docker command" in said:
        raise Problem("compose-missing", "docker has no compose plugin.", causes=[said], hint="invoke engine.install")
    where = ", ".join(str(f) for f in files) or str(session.root)
    line = re.search(r"line (\d+)", said)
    raise Problem(
        "compose-invalid",
        f"compose cannot read {where}" + (f", line {line[1]}." if line else "."),
        details=session.masked(said),
        hint="correct the file; `docker compose config` checks it",
    )
