"""What the output of a build says about cargo: the crates it compiled, and the seconds of its steps. Pure."""

from __future__ import annotations

import re

_CRATE = re.compile(r"\bCompiling [A-Za-z0-9_.-]+ v\S+")
#: A step of BuildKit's plain output: `#12 [api build 4/4] RUN … cargo build …`, and later `#12 DONE 21.3s`.
_STEP = re.compile(r"(?m)^#(\d+) \[[^\]]*\] RUN .*\bcargo (?:chef cook|build)\b")
_DONE = re.compile(r"(?m)^#(\d+) DONE (\d+(?:\.\d+)?)s$")


def crates(text: str) -> int:
    """Return how many crates cargo compiled. A crate that two runs compile counts twice."""
    return len(_CRATE.findall(text))


def compiling(text: str) -> float | None:
    """Return the seconds of all the steps that run cargo; None if no such step ran."""
    steps = set(_STEP.findall(text))
    seconds = [float(second) for number, second in _DONE.findall(text) if number in steps]
    return sum(seconds) if seconds else None
