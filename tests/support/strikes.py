"""Kill commands at random moments and check what they leave behind: running processes, and secrets in the wrong places.

A run is identified by an environment variable that every process it starts inherits. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import process

MARK = "BUILDKIT_TASKS_TESTS_RUN"

#: Ctrl-C is sent to the terminal's whole process group, the other signals only to the command.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP)

#: Seconds after which everything that a killed command started must have exited.
GONE_WITHIN = 10.0

#: Seconds that a command has to exit after a signal.
ENDS_WITHIN = 40.0


@dataclass(frozen=True)
class Struck:
    """How a command ended. `hit`: it was still running when the signal arrived; `left`: processes that kept running."""

    number: signal.Signals
    code: int
    said: str
    hit: bool
    late: bool
    left: tuple[str, ...]
    seen: frozenset[str]
    seconds: float


@dataclass
class Watch:
    """Watch the processes of a run: their command lines, and the memory of all of them together."""

    mark: str
    seen: set[str] = field(default_factory=set)
    peak: int = 0
    most: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            pids = running(self.mark)
            self.seen.update(command_line(pid) for pid in pids)
            self.peak = max(self.peak, sum(map(memory, pids)))
            self.most = max(self.most, len(pids))


def running(mark: str) -> list[int]:
    """Return the processes of a run."""
    found, words = [], f"{MARK}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if words in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def command_line(pid: int) -> str:
    """Return the arguments of a process, or an empty string if it has exited."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def memory(pid: int) -> int:
    """Return the memory of a process in bytes, with its share of shared memory."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1]) * 1024
    return 0


def new_mark() -> str:
    return secrets.token_hex(8)


def strike(
    argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str | None], number: signal.Signals, after: float
) -> Struck:
    """Start a command, and send it a signal after this many seconds."""
    mark, began = new_mark(), time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as said, Watch(mark) as watch:
        running_command = subprocess.Popen(
            [str(word) for word in argv],
            cwd=cwd,
            env=process.environment({**env, MARK: mark}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            preexec_fn=_as_from_a_terminal,
        )
        hit = late = False
        try:
            running_command.wait(timeout=after)
        except subprocess.TimeoutExpired:
            hit = True
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if number == signal.SIGINT else os.kill)(running_command.pid, number)
        try:
            running_command.wait(timeout=ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            late = True
            running_command.kill()
            running_command.wait()
        seconds = time.monotonic() - began
        left = _left(mark)
        said.seek(0)
        text = said.read()
    return Struck(number, running_command.returncode, text, hit, late, left, frozenset(watch.seen), seconds)


def _as_from_a_terminal() -> None:
    """Reset signals that the parent of the tests ignores (`nohup`, a background job)."""
    for number in SIGNALS:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)


def _left(mark: str) -> tuple[str, ...]:
    """Return what still runs after a while, and kill it so that it does not affect the next try."""
    until = time.monotonic() + GONE_WITHIN
    while pids := running(mark):
        if time.monotonic() > until:
            lines = tuple(filter(None, map(command_line, pids)))
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return lines
        time.sleep(0.1)
    return ()


def places(secret_texts: Mapping[str, str], text: str, where: str) -> list[str]:
    """Return which secrets a text contains."""
    return [f"the secret {name} is in {where}" for name, secret in secret_texts.items() if secret in text]


def places_in_files(secret_texts: Mapping[str, str], folder: Path, without: Sequence[Path] = ()) -> list[str]:
    """Return which secrets occur in files below a directory."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in without:
            found += places(secret_texts, path.read_bytes().decode(errors="replace"), str(path))
    return found
