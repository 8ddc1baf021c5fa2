"""Finds the Dockerfile step that compiles into a target mount and replaces its command. Pure.

The replacement runs with the step's own mounts, arguments and environment, which is the only way to open exactly the
mounts that a build will use.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles import mounts

from . import mount_ids, syntax


@dataclasses.dataclass(frozen=True)
class CompileStep:
    """The compile step: its lines (from 1), the stage's name or number, its flags, and its command as shell text."""

    first: int
    last: int
    stage: str
    flags: str
    command: str


def find(text: str, args: Mapping[str, str]) -> CompileStep:
    """Return the first RUN with a target mount and no here-document. Problems: cache-missing if there is none."""
    stage, count = "", 0
    for item in syntax.instructions(text):
        if item.keyword == "FROM":
            words = item.rest.split()
            stage = words[-1] if len(words) >= 3 and words[-2].upper() == "AS" else str(count)
            count += 1
        if _compiles(item, args):
            flags, command = _split(item.rest)
            return CompileStep(item.line, max(number for number, _ in item.parts), stage, flags, command)
    raise Problem(
        "cache-missing",
        "No step in the Dockerfile compiles into a cache mount.",
        hint="see docs/how-to/cache.md for the mounts that a build needs",
    )


def replace(text: str, step: CompileStep, flags: str, command: str, before: str = "") -> str:
    """Return the Dockerfile with the step's command replaced and flags added to the step.

    `before`: a step to run first, without the mounts.
    """
    lines = text.split("\n")
    steps = [f"RUN {before}"] if before else []
    steps.append(f"RUN {step.flags} {flags} {command}")
    return "\n".join([*lines[: step.first - 1], *steps, *lines[step.last :]])


def without_secrets(step: CompileStep) -> CompileStep:
    """Return the step without its secrets, for a command that does not need them.

    This also starts faster: the first two times, BuildKit 0.13 to 0.15 reads the whole image below a step with a
    secret, which takes over a second each time for the rust image: https://github.com/moby/buildkit/pull/5251
    """
    flags = (flag for flag in step.flags.split() if not any(m.type == "secret" for m in mounts.mounts(f"RUN {flag} :")))
    return dataclasses.replace(step, flags=" ".join(flags))


def _compiles(item: syntax.Instruction, args: Mapping[str, str]) -> bool:
    if item.body:
        return False
    for mount in mounts.run_mounts(item):
        if mount.type == "cache":
            identity = syntax.expand(mount.identity, {**args, "TARGETARCH": "amd64"})
            if mount_ids.attribute(identity, mount.target)[0] == "target":
                return True
    return False


def _split(rest: str) -> tuple[str, str]:
    """Split a RUN into its flags and its command as shell text, converting the JSON form."""
    flags = []
    while match := re.match(r"(--[a-z]+=\S+)\s+", rest):
        flags.append(match[1])
        rest = rest[match.end() :]
    if rest.startswith("["):
        rest = shlex.join(re.findall(r'"((?:[^"\\]|\\.)*)"', rest))
    return " ".join(flags), rest.rstrip().rstrip(";")
