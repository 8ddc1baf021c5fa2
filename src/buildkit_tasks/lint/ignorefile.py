"""Evaluates .dockerignore by docker's rules: the last match wins, and a matching parent excludes all below it.

Grammar: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class _Pattern:
    keeps: bool
    regex: re.Pattern[str]


class IgnoreFile:
    """The patterns of one file; a missing file excludes nothing."""

    def __init__(self, text: str | None) -> None:
        self._patterns = [p for p in map(_pattern, (text or "").split("\n")) if p]

    def excludes(self, path: str) -> bool:
        """True if `path` (relative to the context, with /) is not part of the context."""
        parts = path.strip("/").split("/")
        prefixes = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        out = False
        for pattern in self._patterns:
            if any(pattern.regex.fullmatch(prefix) for prefix in prefixes):
                out = not pattern.keeps
        return out


def _pattern(line: str) -> _Pattern | None:
    line = line.removeprefix("\ufeff")
    if line.startswith("#"):
        return None
    line = line.strip()
    keeps = line.startswith("!")
    line = line.removeprefix("!").strip()
    cleaned = posixpath.normpath(line).lstrip("/") if line else ""
    if cleaned in ("", "."):
        return None
    try:
        return _Pattern(keeps, re.compile(_translate(cleaned)))
    except re.error:
        return None  # docker rejects the file and reports it itself


def _translate(pattern: str) -> str:
    """Translate a glob to a regular expression: * and ? do not match /, ** does."""
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        elif char == "*":
            out, at = out + "[^/]*", at + 1
        elif char == "?":
            out, at = out + "[^/]", at + 1
        elif char == "[" and "]" in pattern[at + 2 :]:
            close = pattern.index("]", at + 2)
            out, at = out + _class(pattern[at + 1 : close]), close + 1
        elif char == "\\" and at + 1 < len(pattern):
            out, at = out + re.escape(pattern[at + 1]), at + 2
        else:
            out, at = out + re.escape(char), at + 1
    return out


def _class(inside: str) -> str:
    """Translate a character class: ranges and a leading ^ are special, everything else is literal."""
    negated, inside = inside.startswith("^"), inside.removeprefix("^")
    parts = re.sub(r"([^-])-([^-])|(.)", _range_or_character, inside, flags=re.DOTALL)
    return f"[{'^' if negated else ''}{parts}]" if parts else "(?!)"


def _range_or_character(match: re.Match[str]) -> str:
    if match[3]:
        return re.escape(match[3])
    return f"{re.escape(match[1])}-{re.escape(match[2])}"
