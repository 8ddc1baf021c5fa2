"""Makefile syntax, as needed by the mapping. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from buildkit_tasks.equivalents.words import Syntax

from . import expand
from .expand import Value
from .mapping import Language

_AUTOMATIC = re.compile(r"\$[@%<*]|\$[({][@%<*][DF]?[)}]")


def language(values: Mapping[str, Value]) -> Language:
    """Return the language of Makefiles, with the variables of all files."""
    found = syntax(values)
    return Language(lambda _rule: found, "@+-", re.compile(r"\$[({]([A-Za-z_][\w.-]*)[)}]"), files=True)


def syntax(values: Mapping[str, Value]) -> Syntax:
    """Return make's syntax for references."""

    def reference_end(text: str, at: int) -> int:
        if text[at : at + 1] != "$" or text[at + 1 : at + 2] in ("$", ""):
            return at
        return expand.reference_end(text, at)

    def resolve(reference: str) -> str | None:
        try:
            return expand.resolve(reference, values)
        except expand.SelfReference:  # make only stops if it runs this recipe
            return None

    return Syntax(
        reference_end,
        resolve,
        lambda reference: bool(_AUTOMATIC.fullmatch(reference)),
        dollar="$$",
    )


def service_word(reference: str) -> str:
    """Return the flags for a variable that expands to any number of services."""
    return f"$(addprefix --service ,{reference})"
