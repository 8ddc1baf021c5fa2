"""A program in an emulated terminal (pyte), for make_transcript.py and make_recording.py."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte

#: Seconds to wait for a text to appear.
PATIENCE = 900.0


class Terminal:
    """A program running in a terminal. The screen holds the text, and the history the lines that scrolled off the top.

    `seen` is called after each output.
    """

    def __init__(
        self, root: Path, argv: list[str], columns: int, lines: int, seen: Callable[[], None] = lambda: None
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self.stream = pyte.Stream(self.screen)
        self.seen = seen
        env = {**os.environ, "TERM": "xterm-256color", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for name in ("CI", "NO_COLOR", "COLUMNS", "LINES"):
            env.pop(name, None)
        self.child = pexpect.spawn(
            argv[0], argv[1:], cwd=str(root), env=env, dimensions=(lines, columns), encoding="utf-8", timeout=1
        )

    @property
    def lines(self) -> list[str]:
        """Return all lines so far, as currently displayed."""
        width = self.screen.columns
        top = ["".join(row[x].data for x in range(width)).rstrip() for row in self.screen.history.top]
        return [*top, *(line.rstrip() for line in self.screen.display)]

    def read(self, seconds: float) -> bool:
        """Read output for this long; return False once the program has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self.stream.feed(self.child.read_nonblocking(65536, timeout=0.1))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                return False
            finally:
                self.seen()
        return True

    def until(self, words: str, times: int = 1) -> None:
        """Wait until the terminal shows the words this many times. Lines may be wrapped."""
        began = time.monotonic()
        while "".join(self.lines).count(words) < times:
            if not self.read(0.2) or time.monotonic() - began > PATIENCE:
                raise SystemExit("\n".join([f"no {words!r}:", *self.lines]))
