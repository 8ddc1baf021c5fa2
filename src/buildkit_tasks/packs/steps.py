"""Generates the Dockerfiles of short builds that create a pack, inspect mounts and unpack a pack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles import compile_step
from buildkit_tasks.dockerfiles.compile_step import CompileStep

from .pack import _COMPILE, _MOUNT, _UNPACKER, LEFT_STAGE, MOUNTED, OUT, PACK, SCRIPTS


def command_for(compile_command: str, words: Sequence[str], nonce: str) -> str:
    """Return the shell command that replaces a compile step's command. Raises `Problem` cache-missing."""
    found = _COMPILE.search(compile_command)
    if not found:
        raise Problem(
            "cache-missing",
            "The compile step does not use the compile program, so its mount may contain incomplete units.",
            hint="see docs/how-to/adopt.md for how to use the compile program",
        )
    return _shell("travel.sh", words, nonce, after=found["script"])


def _shell(script: str, words: Sequence[str], nonce: str, after: str = "") -> str:
    """Return the shell line that runs a script; `after`: a program's path, as its second argument."""
    if not all(re.fullmatch(r"[a-z0-9]+", word) for word in (nonce, *words)):
        raise ValueError(f"not words for a shell line: {words}")
    verb, *rest = words
    return " ".join((f": {nonce}; sh /run/{SCRIPTS}/{script}", verb, *([after] if after else []), *rest))


def dockerfile(text: str, step: CompileStep, words: Sequence[str], nonce: str, *, pack: bool = False) -> str:
    """Return the Dockerfile that runs the script instead of the compile step, with the step's mounts.

    `pack`: whether a pack is one of the build contexts. The last stage contains only the script's output. Raises
    `Problem` cache-missing.
    """
    before = words[0] != "probe"
    shell = command_for(step.command, words, nonce)
    return _replaced(text, step, shell, pack=pack, unpacker=before)


def mount_dockerfile(
    text: str, step: CompileStep, *, flag: str, words: Sequence[str], nonce: str, pack: bool = False
) -> str:
    """Like `dockerfile`, but for the cache mount with the options `flag`, instead of the compile step's own mounts."""
    alone = replace(step, flags=f"--mount=type=cache,target={_MOUNT},{flag}")
    return _replaced(text, alone, _shell("mount.sh", words, nonce), pack=pack, unpacker=True)


def _replaced(text: str, step: CompileStep, shell: str, *, pack: bool, unpacker: bool) -> str:
    scripts = f"--mount=type=bind,from={SCRIPTS},target=/run/{SCRIPTS}"
    flags = f"{scripts} --mount=type=tmpfs,target=/tmp"
    if pack:
        flags += f" --mount=type=bind,from={PACK},target={MOUNTED}"
    text = compile_step.replace(text, step, flags, shell, f"{scripts} {_UNPACKER}" if unpacker else "")
    return f"{text}\nFROM scratch AS {LEFT_STAGE}\nCOPY --from={step.stage} {OUT}/ /\n"
