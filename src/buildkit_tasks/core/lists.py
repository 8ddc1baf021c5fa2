"""Values of a flag that can be repeated and takes comma lists: `--service api,worker --service sensor`."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import Problem


def names(given: Sequence[str], flag: str) -> list[str]:
    """The names in order. No flag is an empty list; a flag without a name is a mistake, as where a variable is empty.

    Problems: bad-argument.
    """
    found = [name.strip() for word in given for name in word.split(",")]
    if not all(found):
        raise Problem(
            "bad-argument",
            f"--{flag} has an empty name: {','.join(given)!r}.",
            causes=["a variable in the command may be empty"],
            hint=f"leave out --{flag} for the default, or name one",
        )
    return found
