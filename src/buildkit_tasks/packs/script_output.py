"""Parses the output of the pack scripts: whether a pack was unpacked, or why packing or unpacking failed."""

from __future__ import annotations

import re

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.registry.names import printable


def unpacked(log: str) -> tuple[bool, int]:
    """Return whether a pack was unpacked, and its bytes, according to the script."""
    done = re.search(r"^buildkit-tasks: unpacked (\d+)$", log, re.MULTILINE)
    return bool(done), int(done[1]) if done else 0


def nothing_packed(problem: Problem, hint: str) -> Problem:
    """Convert a failure to pack into `Problem` pack-empty if the script reports that there is nothing to pack."""
    why = re.findall(r"^buildkit-tasks: error: there is nothing to pack: (.*)$", problem.details, re.MULTILINE)
    if not why:
        return problem
    return Problem("pack-empty", "Nothing to pack.", causes=why, hint=hint)


def explained(problem: Problem, reference: str) -> Problem:
    """Convert a failed unpack to a problem with its cause. The mounts are unchanged."""
    text = problem.details
    refused = re.findall(r"^buildkit-tasks: refused: (.*)$", text, re.MULTILINE)
    if refused:
        return Problem(
            "pack-refused",
            f"The pack {reference} was rejected because it contains unexpected files.",
            causes=refused,
            hint="check who can push to that repository; to create a new pack, run `invoke cache.push`",
        )
    full = re.findall(r"^buildkit-tasks: error: (the pack takes .*|could not unpack .*)$", text, re.MULTILINE)
    if full:
        return Problem(
            "disk-full",
            "The pack could not be unpacked; the mounts are unchanged.",
            causes=full,
            hint="run `invoke prune`",
        )
    if problem.code == "image-unavailable":  # the toolchain image was available when the mounts were inspected
        return Problem(
            "registry-unreachable",
            f"The pack {reference} could not be fetched.",
            causes=[printable(cause) for cause in problem.causes],
            details=problem.details,
            hint="try again later",
        )
    return problem
