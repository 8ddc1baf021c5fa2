"""Why a build failed, from its progress: the failed step's output first, compile errors kept apart. Pure."""

from __future__ import annotations

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.progress import Progress

from . import causes


def explain(progress: Progress, rest: str, code: int) -> Problem:
    """The problem of a failed solve: the failed step's output verbatim, with compile errors kept apart."""
    vertex = progress.failed()
    log = "\n".join(vertex.log + ([vertex.partial] if vertex.partial else [])) if vertex else rest
    reason = (vertex.error if vertex else rest).strip().split("\n")[-1]
    if code in (130, -2):
        return Problem("interrupted", "Interrupted; the build was cancelled.", hint="run the command again")
    if "no space left on device" in (log + reason).lower():
        return Problem("disk-full", "The disk is full.", causes=[reason], details=log, hint="invoke prune")
    if "signal: killed" in reason or "exit code: 137" in reason:
        return Problem(
            "build-killed",
            "A build process was killed, most likely because it ran out of memory.",
            causes=[reason],
            details=log,
            hint="give the engine more memory, or build fewer services at once: invoke build --service NAME",
        )
    lacks = causes.find(vertex.log) if vertex else ()
    if vertex and lacks:
        return Problem(
            "build-lacks",
            lacks[0].message,
            causes=[lack.line if lack is lacks[0] else f"{lack.message} {lack.hint}" for lack in lacks],
            details=_only_errors(vertex.log),
            hint=lacks[0].hint,
        )
    if vertex and any(line.startswith(("error[", "error:")) for line in vertex.log):
        return Problem(
            "compile-failed",
            "The code does not compile.",
            details=_only_errors(vertex.log),
            hint="fix the errors above, then run `invoke build`",
        )
    if "failed to resolve source metadata" in reason or "failed to do request" in reason:
        return Problem(
            "image-unavailable",
            "A base image is not available.",
            causes=[reason],
            hint="invoke images    (shows where each base image comes from; invoke images.build makes offline ones)",
        )
    name = vertex.name if vertex else "the build"
    return Problem("build-failed", f"The step failed: {name}", causes=[reason], details=log)


def _only_errors(log: list[str]) -> str:
    """From cargo's first diagnostic to the end, without the crates that compiled before it."""
    first = next((i for i, line in enumerate(log) if line.startswith(("error", "warning"))), 0)
    return "\n".join(log[first:])
