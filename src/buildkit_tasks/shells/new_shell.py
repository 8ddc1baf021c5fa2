"""Verifies `enable-buildkit`: starts a real shell and checks its variables."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import docker
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.shells.startup_file import read

from . import buildkit_line

#: Timeout in seconds for a new interactive shell to read its files.
SHELL_TIMEOUT = 15.0


def prove(session: Session, shell: str) -> None:
    """Start a real shell, run a real build, and print the results. Problems: verify-failed."""
    say = session.report.say
    seen = fresh_values(session.world, shell)
    if seen is None:
        say(f"not verified: {shell} is not on PATH")
    elif seen == dict(buildkit_line.VARIABLES):
        say(f"verified: a new {shell} has " + " ".join(f"{k}={v}" for k, v in seen.items()))
    else:
        raise Problem(
            "verify-failed",
            f"A new interactive {shell} does not set the BuildKit variables.",
            causes=["an earlier line in the startup file ends or replaces the shell (exec, return, exit)"]
            + [f"{k} is {v!r}" for k, v in seen.items()],
            hint="move the line marked `added by buildkit-tasks` to the top of the file",
        )
    try:
        seconds = probe(session)
        say(f"verified: BuildKit works ({seconds:.1f} s)")
    except Problem as problem:
        if not problem.code.startswith("engine-"):
            raise
        say(f"not verified with a build: {problem.message} Hint: {problem.hint}")
    once = "invoke env --shell fish | source" if shell == "fish" else 'eval "$(invoke env)"'
    say(f"for this session: {once}    to undo: invoke enable-buildkit --undo")


def fresh_values(world: World, shell: str) -> dict[str, str] | None:
    """Return the variables in a new interactive shell, or None if the shell is not installed.

    The result is passed through a file: a startup file may leave programs running that keep our pipe open.
    """
    program = shutil.which(shell, path=world.env.get("PATH"))
    if not program:
        return None
    bare = replace(world, env={k: v for k, v in world.env.items() if k not in buildkit_line.VARIABLES})
    script = "printf '%s\\n' " + " ".join(f'"{name}=${name}"' for name in buildkit_line.VARIABLES)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        answer = Path(scratch) / "answer"
        argv = ("sh", "-c", 'exec "$@" >"$0" 2>/dev/null </dev/null', str(answer), program, "-i", "-c", script)
        run.capture(bare, Command(argv, world.home), timeout=SHELL_TIMEOUT, group=True)
        rows = read(answer) or ""
    found = dict(row.split("=", 1) for row in rows.split("\n") if "=" in row)
    return {name: found.get(name, "") for name in buildkit_line.VARIABLES}


def probe(session: Session) -> float:
    """Time a minimal real BuildKit build, in seconds. Problems: verify-failed, and any from an unreachable engine."""
    result = run.capture(session.world, docker.probe_build(session.world.cwd), timeout=120)
    if result.code == 0:
        return result.seconds
    engine_facts.facts(session.world, session.world.cwd)  # raises the engine's own error, which is more useful
    raise Problem(
        "verify-failed",
        "A minimal BuildKit build failed.",
        details=result.stderr.strip(),
        hint="invoke doctor",
    )
