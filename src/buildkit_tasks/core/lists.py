"""Values of repeatable flags that also accept comma-separated lists: `--service api,worker --service sensor`."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import Problem


def names(given: Sequence[str], flag: str) -> list[str]:
    """The names in order; empty without the flag. An empty name is an error: usually a variable is not set.

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
