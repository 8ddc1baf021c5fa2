"""Reads a compose file with unset variables, for commands that only inspect: a fresh checkout has no .env.

Compose rejects such a file, so required values are replaced with a number that is valid as a word, a port and a size.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Workspace
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.dotenv import disk as dotenv_disk

#: The placeholder value; no project has this name.
VALUE = "47083"

#: Variables that keep compose from reading .env; compose 2.26 supports only the second.
WITHOUT_DOTENV = {"COMPOSE_DISABLE_ENV_FILE": "1", "COMPOSE_ENV_FILES": "/dev/null"}

_REQUIRED = re.compile(r"\$\{(\w+):?\?")

#: Problems caused by .env, not by anything that the user asked for.
CODES = ("dotenv-incomplete", "dotenv-invalid")

#: Variables that set the name of the project or its caches. If .env contains one, an unreadable .env is not ignored.
_NAMES = re.compile(r"COMPOSE_|SCOPE")


def read(session: Session, problem: Problem, ask: Callable[[Session], Workspace]) -> Workspace:
    """Return the result of `ask` with placeholders. Raises `problem` if that fails or changes the project's name."""
    env = dict(session.world.env)
    dotenv: dict[str, str] = {}
    if problem.code == "dotenv-incomplete":
        dotenv = session.dotenv
    elif _NAMES.search(dotenv_disk.read(session.dotenv_file) or ""):
        raise problem
    else:  # keep compose from reading .env
        env |= WITHOUT_DOTENV
    raw = run.capture(session.within(env).world, compose_cli.raw_config(session.root, ())).stdout
    names = [n for n in dict.fromkeys(_REQUIRED.findall(raw)) if not (env.get(n) or dotenv.get(n))]
    env |= dict.fromkeys(names, VALUE)
    try:
        workspace = ask(session.within(env))
    except Problem:
        raise problem from None
    if VALUE in workspace.scope or VALUE in workspace.project:
        raise problem
    if problem.code == "dotenv-incomplete":
        session.report.say(
            f"  {', '.join(names)} {'has' if len(names) == 1 else 'have'} no value yet (run `invoke dotenv`)"
        )
    else:
        session.report.warn(f"{problem.message} The compose file was read without .env.")
    return workspace
