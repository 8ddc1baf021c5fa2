"""A Dockerfile whose compile step makes the dependencies only, from the project's own Dockerfile. Pure text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from . import caching, dockerfile
from .errors import Problem

#: Name of the build context that carries warm.sh.
CONTEXT = "buildkit-tasks-warm"

_PLACE = "/run/buildkit-tasks-warm"

# as in warm.sh; in memory, so that the moved cargo does not become a layer
_WORK = "/.buildkit-tasks-warm"


def derive(text: str, args: Mapping[str, str], nonce: str) -> tuple[str, str]:
    """(Dockerfile, name of its compile stage) with the command of the step that has the target mount wrapped.

    The step keeps its mounts, arguments and surroundings, so that what it makes is exactly what a build looks for.
    `nonce` makes it a step that never ran. Raises `Problem` cache-missing without such a step.
    """
    lines = text.split("\n")
    stage, count = "", 0
    for item in dockerfile.instructions(text):
        if item.keyword == "FROM":
            words = item.rest.split()
            stage = words[-1] if len(words) >= 3 and words[-2].upper() == "AS" else str(count)
            count += 1
        if not _compiles(item, args):
            continue
        first, last = item.line, max(number for number, _ in item.parts)
        flags, command = _split(item.rest)
        wrapped = (
            f"RUN {flags} --mount=type=bind,from={CONTEXT},target={_PLACE} --mount=type=tmpfs,target={_WORK}"
            f" : {nonce}; "
            f"sh {_PLACE}/warm.sh prepare && {{ {command} ; sh {_PLACE}/warm.sh judge; }}"
        )
        return "\n".join([*lines[: first - 1], wrapped, *lines[last:]]), stage
    raise Problem(
        "cache-missing",
        "No step of the Dockerfile compiles in a target mount, so there is nothing to warm.",
        hint="docs/how-to/cache.md shows the mounts that a warm cache needs",
    )


def _compiles(item: dockerfile.Instruction, args: Mapping[str, str]) -> bool:
    """True for a RUN without here-document that has a target mount."""
    if item.body:
        return False
    for mount in dockerfile.run_mounts(item):
        if mount.type == "cache":
            target = mount.options.get("target") or mount.options.get("dst", "")
            identity = dockerfile.expand(mount.options.get("id") or target, {**args, "TARGETARCH": "amd64"})
            if caching.attribute(identity, target)[0] == "target":
                return True
    return False


def _split(rest: str) -> tuple[str, str]:
    """The flags of a RUN and its command as shell text; the JSON form of a command is turned into that."""
    flags = []
    while match := re.match(r"(--[a-z]+=\S+)\s+", rest):
        flags.append(match[1])
        rest = rest[match.end() :]
    if rest.startswith("["):
        rest = shlex.join(re.findall(r'"((?:[^"\\]|\\.)*)"', rest))
    return " ".join(flags), rest.rstrip().rstrip(";")
