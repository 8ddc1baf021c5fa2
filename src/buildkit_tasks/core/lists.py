"""Values of repeatable flags that also accept comma-separated lists: `--service api,worker --service sensor`."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from .errors import Problem


def names(given: Sequence[str], flag: str) -> list[str]:
    """Return the names in order, `[]` without the flag. An empty name is an error, usually due to an unset variable.

    Problems: bad-argument.
    """
    found = [name.strip() for word in given for name in word.split(",")]
    if not all(found):
        raise Problem(
            "bad-argument",
            f"--{flag} contains an empty name: {','.join(given)!r}.",
            causes=["a variable in the command may be empty"],
            hint=f"omit --{flag} to use the default, or pass a name",
        )
    return found


def is_pattern(name: str) -> bool:
    """Return whether a name is a shell pattern: `worker-*`, `worker-[ab]`, `worker-?`."""
    return any(character in name for character in "*?[")


def matching(pattern: str, known: Iterable[str]) -> list[str]:
    """Return the known names that match a name or pattern, in the order of `known`. Matching is case-sensitive."""
    return [name for name in known if name == pattern or (is_pattern(pattern) and fnmatch.fnmatchcase(name, pattern))]
