"""A setting: the kind of its value and its documentation, stored in its field's metadata. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: The kinds of values, each with the syntax that users write.
KINDS = {
    "text": "a string",
    "choice": "one of the allowed values",
    "size": "a size such as 10GB or 512MiB, or a whole number of bytes",
    "duration": "a duration such as 90s, 3m or 1h, or a whole number of seconds",
    "list": "a list of strings or a space-separated string",
}


@dataclass(frozen=True)
class Doc:
    """The documentation of a setting.

    `was`: its name in 0.1, if it had one; `unit`: the unit of a bare integer under that name.
    """

    text: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    example: str = ""
    was: str = ""
    unit: str = ""


def setting(default: Any, text: str, kind: str = "text", **more: Any) -> Any:
    """Return a field with its documentation."""
    return field(default=default, metadata={"doc": Doc(text, kind, **more)})


def choice(default: str, choices: tuple[str, ...], text: str, **more: Any) -> Any:
    """Return a field whose value is one of the given words."""
    return setting(default, text, "choice", choices=choices, **more)
