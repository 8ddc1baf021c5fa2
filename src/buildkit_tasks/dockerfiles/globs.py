"""Matches the patterns in `${NAME#pattern}`, `${NAME%pattern}` and `${NAME/pattern/new}`, in linear time. Pure.

`*` matches any text and `?` any character; a backslash removes the meaning of the next character. A pattern is split at
its `*`. Between two of them, the earliest match is always right, so there is nothing to try again, unlike in a regular
expression with several `.*`, which may take years.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_Part = re.Pattern[str]


def without_start(value: str, pattern: str, *, longest: bool) -> str:
    """Return a value without the shortest or longest start that matches; unchanged if none does."""
    end = _end(value, _parts(_items(pattern)), 0, longest=longest)
    return value if end is None else value[end:]


def without_end(value: str, pattern: str, *, longest: bool) -> str:
    """Return a value without the shortest or longest end that matches; unchanged if none does."""
    end = _end(value[::-1], _parts(_items(pattern)[::-1]), 0, longest=longest)
    return value if end is None else value[: len(value) - end]


def replaced(value: str, pattern: str, new: str, *, every: bool) -> str:
    """Return a value with the first match, or every match, replaced. A match is as long as possible."""
    parts = _parts(_items(pattern))
    found, kept, at = list[str](), 0, 0  # `kept`: the end of the last match
    while at <= len(value) and (first := parts[0].search(value, at)):
        start = first.start()
        end = _end(value, parts, start, longest=True)
        if end is None:
            break
        if end > start or start > kept or not found:  # as in Go, no empty match right after another match
            found += [value[kept:start], new]
            kept = end
        at = max(end, start + 1)
        if not every:
            break
    return "".join(found) + value[kept:]


def _items(pattern: str) -> list[str]:
    return re.findall(r"\\.|.", pattern, re.DOTALL)


def _parts(items: Sequence[str]) -> list[_Part]:
    """Return a pattern's parts between its `*`, each of a fixed length."""
    parts = [""]
    for item in items:
        if item == "*":
            parts.append("")
        else:
            parts[-1] += "." if item == "?" else re.escape(item[-1])
    return [re.compile(part, re.DOTALL) for part in parts]


def _end(value: str, parts: Sequence[_Part], start: int, *, longest: bool) -> int | None:
    """Return the end of the shortest or longest match that starts at `start`; None if there is none."""
    first = parts[0].match(value, start)
    at = first.end() if first else None
    for number, part in enumerate(parts[1:], 2):
        if at is None:
            return None
        if longest and number == len(parts):
            found = next((m for end in range(len(value), at - 1, -1) if (m := part.match(value, end))), None)
        else:
            found = part.search(value, at)
        at = found.end() if found else None
    return at
