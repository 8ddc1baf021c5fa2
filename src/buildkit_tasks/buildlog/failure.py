"""Explains a failed build from its progress: shows the failed step's output and recognizes compile errors. Pure."""

from __future__ import annotations

import re
from pathlib import Path

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.core.progress import Progress, Vertex

from . import source_paths
from .lacks import find as find_lacks
from .states import brief

#: Messages that only rustc and cargo print if code does not compile. A bare `error:` could come from any tool.
_COMPILER = re.compile(
    r"(?m)^(?:\x1b\[[\d;]*m)*error(?:\x1b\[[\d;]*m)*(?:\[E\d+\]|: could not compile |: aborting due to )"
)

#: The tool whose messages `find_lacks` recognizes.
_CARGO = re.compile(r"\b(?:cargo|rustc)\b")

#: The engine's error if two builds create the same image name simultaneously (26.1.5), its error if it deletes a layer
#: while it unpacks an image that uses the layer (26 to 29, containerd image store), its error if it is too busy to
#: accept a session in time, and its error if another build that shares steps ends at the wrong moment (buildkit#2303).
_PASSING = re.compile(
    r'\bimage "?[^"\s]+"?: already exists|\bfailed to prepare extraction snapshot .* does not exist: not found$'
    r"|DeadlineExceeded: context deadline exceeded$|: inconsistent graph state$"
)


def explain(
    progress: Progress,
    rest: str,
    code: int,
    plan: BuildPlan | None = None,
    *,
    packaged: bool = False,
    cwd: Path | None = None,
) -> Problem:
    """Return the problem for a failed solve, with the failed step's output verbatim.

    `plan` shows which steps belong to a compile group: only these certainly run in our toolchain image. `packaged`:
    that image is built from Debian packages. `cwd`: paths in compile errors are made relative to this directory.
    """
    vertex = _failed(progress, rest)
    log = "\n".join(vertex.log + ([vertex.partial] if vertex.partial else [])) if vertex else rest
    reason = (vertex.error if vertex else rest).strip().split("\n")[-1]
    if code in (130, -2):
        return Problem("interrupted", "Interrupted; the build was canceled.", hint="rerun the command")
    if "no space left on device" in (log + reason).lower():
        return Problem("disk-full", "The disk is full.", causes=[reason], details=log, hint="run `invoke prune`")
    if "signal: killed" in reason or "exit code: 137" in reason:
        return Problem(
            "build-killed",
            "A build process was killed, most likely because it ran out of memory.",
            causes=[reason],
            details=log,
            hint="give the engine more memory, or build fewer services at once with `invoke build --service NAME`",
        )
    grouped = vertex is not None and _grouped(vertex.name, plan)
    lacks = find_lacks(vertex.log, packaged=packaged) if vertex and (grouped or _CARGO.search(vertex.name)) else ()
    if not grouped:  # we do not know what to add to other Dockerfiles
        lacks = tuple(lack for lack in lacks if "BUILD_PACKAGES" not in lack.hint)
    if vertex and lacks:
        return Problem(
            "build-lacks",
            lacks[0].message,
            causes=[lack.line if lack is lacks[0] else f"{lack.message} {lack.hint}" for lack in lacks],
            details=_only_errors(vertex.log),
            hint=lacks[0].hint,
        )
    if vertex and _COMPILER.search(log):
        errors = _only_errors(vertex.log)
        return Problem(
            "compile-failed",
            "The code does not compile.",
            details=source_paths.from_here(errors, plan, cwd) if plan and cwd else errors,
            hint="fix the errors above, then run `invoke build`",
        )
    if "failed to resolve source metadata" in reason or "failed to do request" in reason:
        return Problem(
            "image-unavailable",
            "A base image is not available.",
            causes=[reason],
            hint="run `invoke images` to see where base images come from, or build them with `invoke images.build`",
        )
    if not vertex and (crash := re.search(r"(?m)^panic: (.+)$", rest)):
        return Problem(
            "build-failed",
            f"docker buildx crashed: {crash[1]}.",
            details=log,
            hint="run `invoke engine.install` to install a newer buildx and engine",
        )
    if not vertex:
        said = re.sub(r"^(?:ERROR|error): (?:failed to solve: )?", "", reason)
        return Problem("build-failed", f"The build failed before its first step: {said}", details=log)
    return Problem("build-failed", f"The step failed: {brief(vertex.name)}", causes=[reason], details=log)


def passing(progress: Progress, rest: str) -> bool:
    """Return whether only concurrent builds caused the failure, so a retry will succeed."""
    vertex = _failed(progress, rest)
    return bool(_PASSING.search((vertex.error if vertex else rest).strip().split("\n")[-1]))


def _failed(progress: Progress, rest: str) -> Vertex | None:
    """Return the failed step, or None if steps were only canceled because of the error that buildx prints last."""
    vertex = progress.failed()
    return None if vertex and vertex.cancelled and "ERROR: " in rest else vertex


def _grouped(step: str, plan: BuildPlan | None) -> bool:
    """Return whether a step, written `[SERVICE stage 2/3] …` or without the service, belongs to a compile group."""
    if plan is None:
        return True
    ours = {service.name for group in plan.groups for service in group}
    others = {service.key for service in plan.workspace.services if service.name not in ours}
    first = re.match(r"\[([^\s\]]+) ", step)
    return bool(ours) and not (first and first[1] in others)


def _only_errors(log: list[str]) -> str:
    """Return the output starting at cargo's first diagnostic, without the `Compiling` lines before it."""
    first = next((i for i, line in enumerate(log) if line.startswith(("error", "warning"))), 0)
    return "\n".join(log[first:])
