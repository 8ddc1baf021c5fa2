"""Generates the Dockerfiles of short builds that create a pack, inspect mounts and unpack a pack."""

from __future__ import annotations

import re
from collections.abc import Sequence

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles import compile_step
from buildkit_tasks.dockerfiles.compile_step import CompileStep

from .pack import _COMPILE, _OUT, _PACK, _UNPACKER, LEFT_STAGE, PACK, SCRIPTS


def command_for(compile_command: str, words: Sequence[str], nonce: str) -> str:
    """The shell command that replaces a compile step's command. Raises `Problem` cache-missing."""
    found = _COMPILE.search(compile_command)
    if not found:
        raise Problem(
            "cache-missing",
            "The compile step does not use the compile program, so its mount may contain incomplete units.",
            hint="see docs/how-to/adopt.md for how to use the compile program",
        )
    verb, *rest = words
    if not all(re.fullmatch(r"[a-z0-9]+", word) for word in (nonce, *words)):
        raise ValueError(f"not words for a shell line: {words}")
    return f": {nonce}; sh /run/{SCRIPTS}/travel.sh {verb} {found['script']} {' '.join(rest)}".rstrip()


def dockerfile(text: str, step: CompileStep, words: Sequence[str], nonce: str, *, pack: bool = False) -> str:
    """The Dockerfile that runs the script instead of the compile step, with the step's mounts.

    `pack`: whether a pack is one of the build contexts. The last stage contains only the script's output. Raises
    `Problem` cache-missing.
    """
    flags = f"--mount=type=bind,from={SCRIPTS},target=/run/{SCRIPTS} --mount=type=tmpfs,target=/tmp"
    if pack:
        flags += f" --mount=type=bind,from={PACK},target={_PACK}"
    shell = command_for(step.command, words, nonce)
    before = f"--mount=type=bind,from={SCRIPTS},target=/run/{SCRIPTS} {_UNPACKER}" if words[0] != "probe" else ""
    text = compile_step.replace(text, step, flags, shell, before)
    return f"{text}\nFROM scratch AS {LEFT_STAGE}\nCOPY --from={step.stage} {_OUT}/ /\n"
