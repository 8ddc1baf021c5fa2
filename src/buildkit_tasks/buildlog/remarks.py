"""Finds errors and warnings in a step's output. Pure.

Parses the human-readable output of rustc, clippy, rustfmt and failed tests: container builds have no other output.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

#: Maximum number of remarks per job. GitHub shows ten of each severity.
MOST = 50
#: Maximum length of a message, and of a line to examine, in characters.
_MESSAGE, _LINE = 500, 2000

_HEAD = re.compile(r"^(error|warning)(?:\[[A-Za-z0-9_:]+\])?: (.+)$")
_PLACE = re.compile(r"^\s*--> (.+?):(\d+):(\d+)$")
_PANIC = re.compile(r"^thread '(.+?)'(?: \(\d+\))? panicked at (.+?):(\d+):(\d+):$")
_FORMAT = re.compile(r"^Diff in (.+?)(?: at line |:)(\d+):?$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

#: Source directories inside a compile step.
_CONTAINER = re.compile(r"^(?:/build/[^/]+/src/|/context/)")
#: Directories of sources that are not part of the project.
_FOREIGN = re.compile(r"/registry/src/|/git/checkouts/|^/rustc/|/rustlib/")


@dataclass(frozen=True)
class Remark:
    """One error or warning. `file` is relative to the project."""

    severity: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    check: str = "rustc"


class Reader:
    """Finds remarks in lines. `place` converts a printed path to a path in the project, or to an empty string."""

    def __init__(self, place: Callable[[str], str]) -> None:
        self._place = place
        self._head: tuple[str, str] | None = None
        self._panic: tuple[str, str, int, int] | None = None
        self.found: dict[Remark, None] = {}

    def line(self, text: str) -> None:
        """Process one line."""
        if len(self.found) >= MOST:
            return
        text = _COLOUR.sub("", text[:_LINE])
        if self._panic:
            name, path, line, column = self._panic
            self._panic = None
            self._add("error", f"{name}: {text}", path, line, column, "test")
        elif head := _HEAD.match(text):
            self._head = head[1], head[2]
        elif (place := _PLACE.match(text)) and self._head:
            severity, message = self._head
            self._head = None
            self._add(severity, message, place[1], int(place[2][:9]), int(place[3][:9]), "rustc")
        elif panic := _PANIC.match(text):
            self._panic = panic[1], panic[2], int(panic[3][:9]), int(panic[4][:9])
        elif place := _FORMAT.match(text):
            self._add("error", "not formatted with `cargo fmt`", place[1], int(place[2][:9]), 0, "rustfmt")

    def _add(self, severity: str, message: str, path: str, line: int, column: int, check: str) -> None:
        remark = Remark(severity, clean(message), self._place(path), line, column, check)
        if remark.file:
            self.found[remark] = None


def clean(text: str) -> str:
    """Return one line without control characters, shortened if needed."""
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= _MESSAGE else text[: _MESSAGE - 1] + "…"


def warnings(lines: Iterable[str], place: Callable[[str], str]) -> list[Remark]:
    """Return the warnings about the project's own code in a step's output, without duplicates."""
    reader = Reader(place)
    for line in lines:
        reader.line(line)
    return [remark for remark in reader.found if remark.severity == "warning"]


def placer(bases: Sequence[str], exists: Callable[[str], bool]) -> Callable[[str], str]:
    """Return the `place` function for a Reader. `bases`: directories in which the tool may have run."""

    def place(path: str) -> str:
        if _FOREIGN.search(path):
            return ""
        inside = _CONTAINER.sub("", path)
        for base in bases:
            found = posixpath.normpath(posixpath.join(base, inside))
            if not found.startswith(("/", "../")) and exists(found):
                return found
        return ""

    return place
