"""Reading a compose file whose variables have no value yet, for commands that only look: a fresh checkout has no .env.

compose refuses such a file. It gets a number in the place of each required value, which is a word, a port and a size.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import compose_cli, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Workspace
from buildkit_tasks.dotenv import disk as dotenv_disk

#: What stands in for a value. No project is called so.
VALUE = "47083"

#: Variables that keep compose from reading .env; compose 2.26 knows the second only.
WITHOUT_DOTENV = {"COMPOSE_DISABLE_ENV_FILE": "1", "COMPOSE_ENV_FILES": "/dev/null"}

_REQUIRED = re.compile(r"\$\{(\w+):?\?")

#: The problems that a command has with .env and not with anything it asked for.
CODES = ("dotenv-incomplete", "dotenv-invalid")

#: What names the project or its caches. Where .env says it, a file that cannot be read is not passed over.
_NAMES = re.compile(r"COMPOSE_|SCOPE")


def read(session: Session, problem: Problem, ask: Callable[[Session], Workspace]) -> Workspace:
    """What `ask` answers with stand-ins. Raises `problem` where not even that helps, or the name depends on one."""
    env = dict(session.world.env)
    dotenv: dict[str, str] = {}
    if problem.code == "dotenv-incomplete":
        dotenv = session.dotenv
    elif _NAMES.search(dotenv_disk.read(session.root / ".env") or ""):
        raise problem
    else:  # compose is not to read the file
        env |= WITHOUT_DOTENV
    raw = run.capture(session.within(env).world, compose_cli.raw_config(session.root, ())).stdout
    names = [n for n in dict.fromkeys(_REQUIRED.findall(raw)) if not (env.get(n) or dotenv.get(n))]
    env |= dict.fromkeys(names, VALUE)
    try:
        space = ask(session.within(env))
    except Problem:
        raise problem from None
    if VALUE in space.scope or VALUE in space.project:
        raise problem
    if problem.code == "dotenv-incomplete":
        session.report.say(f"  {', '.join(names)} {'has' if len(names) == 1 else 'have'} no value yet (invoke dotenv)")
    else:
        session.report.warn(f"{problem.message} The compose file was read without it.")
    return space
