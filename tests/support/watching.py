"""A long-running `invoke watch` or `invoke dev` in tests: its output so far, its exit, and what it leaves behind."""

from __future__ import annotations

import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import process


class Watching:
    """A program in a separate session, with both streams in one file. Every process it starts carries a mark."""

    def __init__(self, argv: Sequence[str | Path], cwd: Path, env: Mapping[str, str | None], log: Path) -> None:
        self.mark, self.log = f"BT_MARK={secrets.token_hex(8)}", log
        name, _, value = self.mark.partition("=")
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                [str(a) for a in argv],
                cwd=cwd,
                env=process.environment({**env, name: value}),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Return the output so far."""
        return self.log.read_text("utf-8", "replace")

    def wait_for(self, words: str, times: int = 1, seconds: float = 60) -> None:
        """Wait until the program has printed the words this many times; fail if it exits first or takes too long."""
        until = time.monotonic() + seconds
        while self.said.count(words) < times:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < until, f"no {words!r} in {seconds:.0f} s:\n{self.said[-4000:]}"
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal, wait for the program to exit, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def left(self) -> list[str]:
        """Return the command lines of processes that carry the mark."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (place / "environ").read_bytes():
                    found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        return [line for line in found if line]

    def processor_seconds(self) -> float:
        """Return the CPU seconds that the program's own threads have used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100
