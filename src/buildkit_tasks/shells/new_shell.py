"""Proof that a new shell sees what `enable-buildkit` wrote: a real one is started and asked."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import docker, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.shells.rcfile import read

from . import rc as shellrc

#: Seconds a freshly started interactive shell may take to read its files.
SHELL_TIMEOUT = 15.0


def prove(session: Session, shell: str) -> None:
    """Start a real shell, run a real build, and report the results. Problems: verify-failed."""
    say = session.report.say
    seen = fresh_values(session.world, shell)
    if seen is None:
        say(f"not tested: {shell} is not on PATH")
    elif seen == dict(shellrc.VARIABLES):
        say(f"tested: a new {shell} has " + " ".join(f"{k}={v}" for k, v in seen.items()))
    else:
        raise Problem(
            "verify-failed",
            f"A new interactive {shell} does not set the BuildKit variables.",
            causes=["something earlier in its start-up file ends or replaces the shell (exec, return, exit)"]
            + [f"{k} is {v!r}" for k, v in seen.items()],
            hint="move our line to the top of the file; it is marked `added by buildkit-tasks`",
        )
    try:
        seconds = probe(session)
        say(f"tested: BuildKit builds ({seconds:.1f} s, one label, no registry needed)")
    except Problem as problem:
        if not problem.code.startswith("engine-"):
            raise
        say(f"BuildKit itself is not tested: {problem.message} Hint: {problem.hint}")
    once = "invoke env --shell fish | source" if shell == "fish" else 'eval "$(invoke env)"'
    say(f"this session: {once}    undo: invoke enable-buildkit --undo")


def fresh_values(world: World, shell: str) -> dict[str, str] | None:
    """The variables in a new interactive shell; None if the shell is not installed.

    The answer comes through a file: a start-up file may leave programs running that hold our pipe open.
    """
    program = shutil.which(shell, path=world.env.get("PATH"))
    if not program:
        return None
    bare = replace(world, env={k: v for k, v in world.env.items() if k not in shellrc.VARIABLES})
    script = "printf '%s\\n' " + " ".join(f'"{name}=${name}"' for name in shellrc.VARIABLES)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        answer = Path(scratch) / "answer"
        argv = ("sh", "-c", 'exec "$@" >"$0" 2>/dev/null </dev/null', str(answer), program, "-i", "-c", script)
        run.capture(bare, Command(argv, world.home), timeout=SHELL_TIMEOUT, group=True)
        rows = read(answer) or ""
    found = dict(row.split("=", 1) for row in rows.split("\n") if "=" in row)
    return {name: found.get(name, "") for name in shellrc.VARIABLES}


def probe(session: Session) -> float:
    """Seconds of the smallest real BuildKit build. Problems: those of an unreachable engine, verify-failed."""
    result = run.capture(session.world, docker.probe_build(session.world.cwd), timeout=120)
    if result.code == 0:
        return result.seconds
    engine_facts.facts(session.world, session.world.cwd)  # the engine's own error is more useful
    raise Problem(
        "verify-failed",
        "The smallest possible BuildKit build fails.",
        details=result.stderr.strip(),
        hint="invoke doctor",
    )
