"""Asks compose for the resolved model, without the env files of services if compose cannot read them.

`docker compose config` reads the `env_file` of every service, but no build needs them: `docker compose build` ignores
a file that is missing or invalid.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.model import Result
from buildkit_tasks.dockercli import compose_cli

from . import known_files


@dataclass(frozen=True)
class Answer:
    """The resolved model (None if compose cannot resolve it), and compose's output.

    `without`: compose's words about an `env_file` that it cannot read; the model then lacks the variables of all env
    files.
    """

    config: dict[str, Any] | None
    result: Result
    without: str = ""


def model(
    session: Session,
    files: Sequence[Path],
    found: Sequence[Path],
    profiles: Sequence[str] = (),
    link: Path | None = None,
) -> Answer:
    """Return compose's answer. `files`: the files to pass; `found`: those that compose reads if none are passed.

    `link`: run compose in this symlink to the project's directory; both kinds of files are below it.
    """
    asked = _asked(session, files, found, profiles, link)
    if asked.config is not None:
        return asked
    root = link or session.root
    # compose does not read the env files to list the services; if this fails as well, they are not the cause
    listed = run.capture(session.world, compose_cli.services(root, files, profiles=profiles, link=link is not None))
    if listed.code != 0 or not listed.stdout.split():
        return asked
    override = session.state / f"no-env-files-{secrets.token_hex(4)}.yaml"
    try:
        override.write_text(compose_cli.without_env_files(listed.stdout.split()), "utf-8")
        more = (*(files or found), override)
        again = _asked(session, more, more, profiles, link)
    finally:
        override.unlink(missing_ok=True)
    return asked if again.config is None else Answer(again.config, again.result, asked.result.stderr)


def _asked(
    session: Session, files: Sequence[Path], found: Sequence[Path], profiles: Sequence[str], link: Path | None
) -> Answer:
    """Return compose's answer to a single question.

    The JSON omits `x-bake`, so the YAML is queried at the same time if a file may contain it.
    """
    root, linked = link or session.root, link is not None
    more = not linked and known_files.may_have(session, lambda: found, b"x-bake")
    yaml = compose_cli.config_yaml(root, files, profiles=profiles)
    with ThreadPoolExecutor(max_workers=1) as pool:
        plain = pool.submit(run.capture, session.world, yaml) if more else None
        result = run.capture(session.world, compose_cli.config(root, files, profiles=profiles, link=linked))
        text = plain.result() if plain else None
    if result.code != 0 and "SSHKey" in result.stderr:
        # compose cannot write `ssh: [id=path]` as JSON (2.26 and 2.40)
        text = text or run.capture(session.world, yaml)
        if text.code == 0:
            return Answer(_model_of(text, yaml=True), text)
    if result.code != 0:
        return Answer(None, result)
    config = _model_of(result)
    if text and text.code == 0 and re.search(r"^ +x-bake:", text.stdout, re.MULTILINE):
        _add_extensions(config, _model_of(text, yaml=True))
    return Answer(config, result)


def _model_of(result: Result, *, yaml: bool = False) -> dict[str, Any]:
    """Return the model that compose printed. Raises `Problem` answer-invalid."""
    try:
        return compose_cli.read_model(result.stdout, yaml=yaml)
    except ValueError as error:
        raise shapes.invalid(result, error) from None


def _add_extensions(config: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    for name, entry in (whole.get("services") or {}).items():
        more = (entry.get("build") or {}).get("x-bake") if isinstance(entry.get("build"), Mapping) else None
        if more and isinstance(config["services"].get(name, {}).get("build"), dict):
            config["services"][name]["build"]["x-bake"] = more
