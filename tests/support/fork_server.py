"""Run our real command line many times a second: a process that has imported everything forks once per run.

`python -m tests.support.fork_server` reads one request per line and answers each with one line. Each run is a separate
process in a separate session, and is killed with everything it started if it takes too long. Python does not start
again, so tests of what Python decides at startup (the encoding of the locale) cannot use this server.
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

#: A user who is not in the user database, as in containers.
NOBODY = 54321


#: Modules that we or Python import late.
LATE = (
    *("_strptime", "docker", "encodings.ascii", "encodings.idna", "http.cookiejar", "importlib.readers", "requests"),
    *("rich.console", "sqlite3", "watchfiles"),
)


@dataclass(frozen=True)
class Ran:
    """A finished run. `late`: it took too long and was killed."""

    done: Done
    seconds: float
    late: bool


@dataclass(frozen=True)
class Request:
    """A run of `invoke ARGV`, with its streams in files below `place`.

    `seconds`: the time limit; `user`: the user who runs it; `out` and `err`: other files, or None for a closed stream;
    `encoding`: the encoding of the streams; `gone`: the working directory has been deleted.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    place: Path
    seconds: float = 20
    user: int = 0
    out: str | None = ""
    err: str | None = ""
    encoding: str = "utf-8"
    gone: bool = False

    def values(self) -> dict[str, Any]:
        """Return the values for the forking process."""
        files = [str(self.place / n) if given == "" else given for n, given in (("out", self.out), ("err", self.err))]
        argv, env = ["invoke", *self.argv], dict(self.env)
        kept = {"cwd": str(self.cwd), "seconds": self.seconds, "user": self.user, "gone": self.gone}
        return {"argv": argv, "env": env, "streams": files, "encoding": self.encoding, **kept}

    def ran(self, answer: Mapping[str, Any]) -> Ran:
        """Return the run, from the answer of the forking process."""
        texts = [self.place / n for n in ("out", "err")]
        out, err = (t.read_text("utf-8", errors="surrogateescape") if t.exists() else "" for t in texts)
        return Ran(Done(answer["code"], out, err), answer["seconds"], answer["late"])


@dataclass
class Server:
    """The forking process. Close it like a file."""

    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], place: Path, **more: Any) -> Ran:
        """Run a single request with the arguments of `Request`."""
        return self.run_all([Request(argv, cwd, env, place, **more)])[0]

    def run_all(self, requests: Sequence[Request]) -> list[Ran]:
        """Run all requests at the same time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([request.values() for request in requests]) + "\n")
        self.process.stdin.flush()
        answers = json.loads(self.process.stdout.readline())
        return [request.ran(answer) for request, answer in zip(requests, answers, strict=True)]

    def close(self) -> None:
        self.process.communicate(timeout=10)


# ---- the forking process


def _serve() -> None:
    import buildkit_tasks

    ours = (m.name for m in pkgutil.walk_packages(buildkit_tasks.__path__, "buildkit_tasks.") if "__main" not in m.name)
    for name in (*ours, *LATE):  # includes modules that other users cannot read if Python belongs to one user
        importlib.import_module(name)
    for line in sys.stdin:
        requests, began, running = json.loads(line), time.monotonic(), {}
        for number, request in enumerate(requests):
            child = os.fork()
            if not child:
                _be_invoke(request)
            running[child] = number
        answers: list[dict[str, Any]] = [{} for _ in requests]
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            now = time.monotonic() - began
            if pid:
                code, late = os.waitstatus_to_exitcode(status), answers[running[pid]].get("late", False)
                answers[running.pop(pid)] = {"code": code, "seconds": now, "late": late}
                continue
            for child, number in running.items():
                if now > requests[number]["seconds"]:
                    answers[number] = {"late": True}
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child, signal.SIGKILL)
            time.sleep(0.002)
        print(json.dumps(answers), flush=True)


def _be_invoke(request: dict[str, Any]) -> NoReturn:
    code: Any = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(request["streams"], 1):
            if path is None:
                os.close(number)
            else:
                opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
                os.dup2(opened, number)
                os.close(opened)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = _text(request, 1, "strict")
        sys.stderr = _text(request, 2, "backslashreplace")
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        if request["gone"]:
            Path("gone").mkdir()
            os.chdir("gone")
            Path("../gone").rmdir()
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

        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _text(request: Mapping[str, Any], number: int, errors: str) -> Any:
    """Return a stream as Python creates it at startup, or None for a closed stream."""
    if request["streams"][number - 1] is None:
        return None
    binary = open(number, "wb", closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(binary, request["encoding"], errors, line_buffering=number == 2)


if __name__ == "__main__":
    _serve()
