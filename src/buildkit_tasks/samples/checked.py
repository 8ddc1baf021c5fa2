"""Checks what is read from files: the records of unfinished runs, and documents of `bench --json`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from buildkit_tasks.core import shapes

#: A sample, as records and documents contain it.
SAMPLE: shapes.Shape = {
    **dict.fromkeys(("contender", "case"), str),
    **dict.fromkeys(("seconds", "compile"), (int, float)),
    **dict.fromkeys(("round", "crates", "memory"), int),
    **dict.fromkeys(("visible", "busy"), bool),
}
#: The parts of a sample that must exist; and those that must not be null.
_NEEDED, _SET = ("contender", "case", "seconds"), ("contender", "case", "seconds", "round", "busy")
_NAME = re.compile(r"bench-[0-9a-f]{8}")
#: No number in a record or document is larger.
_MOST = 2**63


def name(value: object) -> str:
    """Return the name of a run. Everything that contains it is removed with the run. Raises ValueError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a benchmark run")
    return value


def sample(value: Mapping[str, Any] | None, where: str) -> None:
    """Raise ValueError if a part of a sample is missing or has a wrong type."""
    shapes.check(value, SAMPLE, where)
    if missing := [part for part in _NEEDED if part not in (value or {})]:
        raise ValueError(f"{where} has no {missing[0]}")
    if empty := [part for part in _SET if part in (value or {}) and (value or {})[part] is None]:
        raise ValueError(f"{where}.{empty[0]} is null")
    if (value or {})["seconds"] < 0:
        raise ValueError(f"{where}.seconds is negative")
    finite(value, where)


def finite(value: object, where: str) -> None:
    """Raise ValueError with the location of a number that is infinite, not a number, or too large."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            finite(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            finite(item, f"{where}[{number}]")
    elif isinstance(value, (int, float)) and not abs(value) <= _MOST:
        raise ValueError(f"{where} is not a finite number")


def filled(value: Mapping[str, Any] | None, where: str) -> None:
    """Raise ValueError if a value of an object is null."""
    if empty := [key for key, item in (value or {}).items() if item is None]:
        raise ValueError(f"{where}.{empty[0]} is null")
