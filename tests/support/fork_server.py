"""Runs our real command line many times a second: a process that has imported everything forks once per run.

`python -m tests.support.fork_server` reads one request per line and answers each with one line. Each run is a process
of its own, in a session of its own, and is killed with everything that it started if it takes too long. Python itself
is not started again, so what is decided at its start (the encoding of the locale) needs a run without this.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.support.process import Done

#: A user without an entry in the user database, as containers have.
NOBODY = 54321


@dataclass(frozen=True)
class Ran:
    """A finished run. `late`: it was killed because it took too long."""

    done: Done
    seconds: float
    late: bool


@dataclass
class Server:
    """The process that forks. Closed like a file."""

    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def run(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        place: Path,
        *,
        seconds: float,
        user: int = 0,
    ) -> Ran:
        """Run `invoke ARGV`, with streams in files below `place`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        out, err = place / "stdout", place / "stderr"
        request = {"argv": ["invoke", *argv], "cwd": str(cwd), "env": dict(env), "seconds": seconds, "user": user}
        self.process.stdin.write(json.dumps({**request, "out": str(out), "err": str(err)}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        texts = [path.read_text("utf-8", errors="surrogateescape") for path in (out, err)]
        return Ran(Done(answer["code"], *texts), answer["seconds"], answer["late"])

    def close(self) -> None:
        self.process.communicate(timeout=10)


# ---- the process that forks


def _serve() -> None:
    import buildkit_tasks

    for module in pkgutil.walk_packages(buildkit_tasks.__path__, "buildkit_tasks."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.monotonic()
        child = os.fork()
        if not child:
            _be_invoke(request)
        code = _wait(child, began + request["seconds"])
        late = code is None
        if late:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            code = _wait(child, float("inf"))
        print(json.dumps({"code": code, "seconds": time.monotonic() - began, "late": late}), flush=True)  # noqa: T201


def _wait(child: int, end: float) -> int | None:
    """The exit code, None if it runs on at the end."""
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def _be_invoke(request: dict[str, Any]) -> NoReturn:
    code: Any = 70
    try:
        os.setsid()
        for number, (path, flags) in enumerate(
            ((os.devnull, os.O_RDONLY), (request["out"], os.O_WRONLY), (request["err"], os.O_WRONLY))
        ):
            opened = os.open(path, flags | (os.O_CREAT | os.O_TRUNC if number else 0), 0o666)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = _text(1, "strict")
        sys.stderr = _text(2, "backslashreplace")
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        if request["user"]:
            os.setgroups([])
            os.setgid(request["user"])
            os.setuid(request["user"])
        sys.argv = request["argv"]
        sys.path[:] = [place for place in sys.path if place not in ("", str(Path(__file__).parents[2]))]
        from invoke.main import program

        program.run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _text(number: int, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(open(number, "wb", closefd=False), "utf-8", errors, line_buffering=number == 2)


if __name__ == "__main__":
    _serve()
