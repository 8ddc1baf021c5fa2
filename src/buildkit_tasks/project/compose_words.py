"""Converts compose's errors to a `Problem`: compose's message with .env values masked, and a fix."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.dotenv import disk as dotenv_disk
from buildkit_tasks.dotenv import edit as dotenv_edit
from buildkit_tasks.dotenv import text as dotenv_text

_DOTENV = "invoke dotenv    (creates .env from .env.example, with generated secrets; keeps existing values)"
_WANTED = re.compile(r"required variable (\w+) is missing a value(?:: *([^\n]*))?")


def about_dotenv(session: Session, said: str) -> Problem | None:
    """Return the problem if compose requires a variable or cannot read .env; None for any other failure."""
    unread = re.search(r"failed to read ([^\n]*?): ", said)
    if unread:
        return Problem(
            "dotenv-invalid",
            f"Compose cannot read {unread[1]}.",
            details=session.masked(said),
            hint="fix the line (values are hidden, because they may be secrets)",
        )
    wanted = _WANTED.search(said)
    return _wanted(session, wanted[1], wanted[2] or "") if wanted else None


def _wanted(session: Session, name: str, reason: str) -> Problem:
    path = (session.env_files or (session.dotenv_file,))[-1]
    causes = [f"compose: required variable {name} is missing a value"]
    if reason:
        causes[0] += f": {session.masked(reason)}"
    text = dotenv_disk.read(path)
    if session.world.env.get(name) == "":
        causes.append(f"{name} is set to an empty string in the environment, which overrides .env")
        hint = f"unset {name}"
    elif name in session.dotenv:
        causes.append(f"{path} sets {name} to an empty string")
        hint = f"set {name} to a non-empty value in {path}"
    else:
        causes.append(f"{path} does not set {name}" + (" (the file does not exist)" if text is None else ""))
        hint = f"add {name}=VALUE to {path}, or set {name} in the environment"
    if path == session.dotenv_file and _completes(session, name, text or ""):
        hint = _DOTENV
    return Problem("dotenv-incomplete", f"The variable {name} has no value.", causes=causes, hint=hint)


def about_environment(session: Session, said: str, files: Sequence[Path]) -> Problem | None:
    """Return the problem if compose rejects a variable of its own, or if a compose file does not exist.

    `files`: the compose files passed to compose.
    """
    variable = re.match(r"(COMPOSE_[A-Z_]+)\b", said)
    if variable:
        return Problem(
            "compose-invalid",
            f"Compose does not accept the value of {variable[1]}.",
            details=session.masked(said),
            hint=f"correct {variable[1]} in the environment or in .env, or unset it",
        )
    missing = re.fullmatch(r"(stat|open) ([^\n]+): no such file or directory", said)
    if missing:
        origin = "`include` or `extends` in the compose file"
        if missing[1] == "stat" or Path(missing[2]) in files:
            setting = session.settings.project.compose_file
            origin = "the setting project.compose_file" if setting else "COMPOSE_FILE in the environment or in .env"
        return Problem(
            "compose-invalid",
            f"The compose file {missing[2]} does not exist.",
            hint=f"correct {origin}, or create the file",
        )
    return None


def about_env_file(session: Session, said: str) -> str:
    """Return the warning that compose cannot read the `env_file` of a service. `said`: compose's output."""
    missing = compose_cli.MISSING_ENV_FILE.search(said)
    if missing:
        words = f"the env file {missing[1]} is missing: builds do not need it, but the stack cannot start without it"
        return session.masked(words)
    error = session.masked("\n".join(line for line in said.strip().splitlines() if "level=warning" not in line))
    return f"compose cannot read the `env_file` of a service (builds do not need it, but the stack does): {error}"


def required(said: str) -> list[str]:
    """Return the variable without which compose refuses to continue, if there is one."""
    return [match[1] for match in _WANTED.finditer(said)]


def unset(session: Session, said: str) -> tuple[list[str], str]:
    """Return a cause for each variable that compose replaced with an empty string, and a hint; both may be empty."""
    names = compose_cli.unset_variables(said)
    if not names:
        return [], ""
    causes = [f"{name} is not set, so compose used an empty string" for name in names]
    path = next((path for path in reversed(session.env_files) if str(path) != os.devnull), None)
    try:
        text = (dotenv_disk.read(path) or "") if path else ""
    except Problem:
        text = ""
    if path == session.dotenv_file and any(_completes(session, name, text) for name in names):
        return causes, _DOTENV
    return causes, f"add {names[0]}=VALUE to {path}" if path else f"set {names[0]} in the environment"


def _completes(session: Session, name: str, text: str) -> bool:
    """Return whether `invoke dotenv` would set this variable."""
    try:
        example = dotenv_disk.read(session.dotenv_file.with_name(".env.example"))
        return example is not None and name in dotenv_edit.lacking(example, text, dotenv_edit.empty_names(example))
    except (Problem, dotenv_text.Refused):
        return False
