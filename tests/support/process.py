"""Start programs in tests: real processes, argv lists, all output kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent

#: The engine's error for a layer that it deleted too early (26 to 29, containerd image store).
_LAYER_DELETED = re.compile(r"parent snapshot \S+ does not exist")


@dataclass(frozen=True)
class Done:
    """The exit code and both streams of a finished program."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Return both streams, for text that must (or must not) appear in either."""
        return self.out + self.err


def environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return this process's environment with this Python's tools first on PATH; a value of None removes a variable."""
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    for name, value in (extra or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def run(
    argv: Sequence[str | Path],
    cwd: Path,
    env: Mapping[str, str | None] | None = None,
    *,
    stdin: str | None = None,
    timeout: float = 600,
) -> Done:
    """Run a program to the end; the caller checks the exit code."""
    done = subprocess.run(
        [str(a) for a in argv],
        cwd=cwd,
        env=environment(env),
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def ok(argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str | None] | None = None, **more: float) -> Done:
    """Like `run`, but any exit code other than 0 fails the test with the program's complete output.

    Plain docker commands are repeated if the engine deleted a layer between unpacking and using it, which happens while
    other tests delete images. The product repeats its own.
    """
    for _ in range(3):
        done = run(argv, cwd, env, timeout=more.get("timeout", 600))
        if done.code == 0 or argv[0] != "docker" or not _LAYER_DELETED.search(done.all):
            break
    assert done.code == 0, f"{argv} ended with {done.code}\n{done.out}\n{done.err}"
    return done


_MEASURED = """\
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def measured(
    argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str | None] | None = None, *, timeout: float = 60
) -> tuple[Done, float, float]:
    """Like `run`, but also return the seconds it took and the peak memory in MB of its largest process.

    An intermediate process starts the program, so memory inherited from this process does not count.
    """
    with tempfile.NamedTemporaryFile("r") as peak:
        began = time.monotonic()
        done = run([sys.executable, "-I", "-c", _MEASURED, peak.name, *argv], cwd, env, timeout=timeout)
        seconds = time.monotonic() - began
        size = int(peak.read()) * (1 if sys.platform == "darwin" else 1024)
    return done, seconds, size / 1e6


def start(argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str | None] | None = None) -> subprocess.Popen[str]:
    """Start a program in a new session, so a test can interrupt it without interrupting itself."""
    return subprocess.Popen(
        [str(a) for a in argv],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(argv: list[str], words: str, seconds: float = 300) -> None:
    """Wait until a command that follows a log prints a line with these words; fail if it exits first or times out."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as follower:
        assert follower.stdout is not None
        said = []
        limit = threading.Timer(seconds, follower.terminate)
        limit.start()
        try:
            for line in follower.stdout:
                said.append(line)
                if words in line:
                    follower.terminate()
                    return
        finally:
            limit.cancel()
    raise AssertionError(f"no {words!r} in {seconds:.0f} s:\n" + "".join(said[-40:]))


def wait_for_container(name: str, words: str) -> None:
    """Wait until a container has printed a line with these words since it was last down.

    Its start time cannot be used: a busy engine records it after the first lines.
    """
    down = ok(["docker", "inspect", "--format", "{{.State.FinishedAt}}", name], Path.cwd()).out.strip()
    since = [] if down.startswith("0001-") else ["--since", down]
    wait_for(["docker", "logs", "--follow", *since, name], words)
