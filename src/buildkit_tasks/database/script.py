"""Joins SQL files into one script, and maps its lines back to files and lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core.errors import Problem


@dataclass(frozen=True)
class Script:
    """A script. `starts`: each file, the number of its first line in the script, and its number of lines."""

    text: str
    starts: tuple[tuple[Path, int, int], ...]

    def place(self, line: int) -> tuple[Path, int]:
        """Return the file and line that a line of the script comes from. Lines count from 1."""
        path, first, lines = next((s for s in reversed(self.starts) if s[1] <= line), self.starts[0])
        return path, max(1, min(line - first + 1, lines))

    def failed(self, line: int, said: str) -> Problem:
        """Return the problem for an error at this line (0 if unknown)."""
        path, number = self.place(line) if line else (self.starts[0][0], 0)
        return Problem(
            "sql-failed",
            f"{path}, line {number}: the database rejected the statement ending on this line; the seed was rolled back."
            if number
            else "The database rejected the seed, which was rolled back.",
            causes=[said],
            hint="fix the file and retry",
        )


def joined(files: Sequence[tuple[Path, str]]) -> Script:
    """Join files into one script. A file's last statement does not run into the next file, even without a semicolon.

    Adds nothing unless needed, because psql 15.20 stops with exit code 0 at an empty statement after a COPY.
    """
    text, starts, line = "", [], 1
    for path, content in files:
        part = content if content.endswith("\n") or not content else f"{content}\n"
        starts.append((path, line, part.count("\n")))
        part += ";\n" if _open(part) else ""
        text += part
        line += part.count("\n")
    return Script(text, tuple(starts))


def _open(text: str) -> bool:
    """Return whether the last statement is unterminated: no semicolon, or no line that ends the data of a COPY."""
    lines = [line for line in map(str.rstrip, text.splitlines()) if line and not line.lstrip().startswith("--")]
    return bool(lines) and not lines[-1].endswith(";") and not lines[-1].startswith("\\")
