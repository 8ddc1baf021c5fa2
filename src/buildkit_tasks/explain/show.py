"""Formats an explanation as text of at most 80 columns, or as a document for `--json`. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from buildkit_tasks.core import units
from buildkit_tasks.history.model import Build, StepRecord

from .causes import Reason
from .comparison import Cause, brief
from .crates import CrateReason

WIDTH = 80
#: Maximum number of causes and names shown; the rest are only counted. `--json` lists all of them.
MANY = 8


def text(build: Build, reasons: Sequence[Reason], crates: Sequence[CrateReason], now: float) -> str:
    """Return the explanation of a build as lines of text."""
    planned = build.outcome == "planned"
    if planned:
        lines = [f"the next `invoke {build.command}`"]
    else:
        age = f"{units.days(max(0.0, now - build.began))} ago"
        outcome = f"failed ({build.problem})" if build.problem else f"{build.seconds:.1f} s"
        lines = [f"build {build.id}, {age}: invoke {build.command}, {outcome}"]
    for services, reason in _grouped(reasons):
        lines += ["", *_reason(services, reason, planned=planned)]
    if not planned:
        lines += ["", *_crates(build, crates)]
    return "\n".join(lines)


def _grouped(reasons: Sequence[Reason]) -> Iterator[tuple[list[str], Reason]]:
    """Group services with the same step and causes."""
    left = list(reasons)
    while left:
        first = left[0]
        same = [r for r in left if (r.step, r.causes, r.also) == (first.step, first.causes, first.also)]
        left = [r for r in left if r not in same]
        yield [r.service for r in same], first


def _reason(services: Sequence[str], reason: Reason, *, planned: bool) -> Iterator[str]:
    yield from _wrap("", ", ".join(services))
    if reason.step is None and not reason.causes:
        yield "  every step " + ("will be cached" if planned else "was cached")
        return
    if reason.step is not None:
        step = reason.step
        seconds = f", {step.seconds:.1f} s" if step.seconds is not None else ""
        where = f"{reason.dockerfile}:{step.line}{seconds}"
        yield from _wrap("  will run " if planned else "  first ran", f"{name(step)}  ({where})")
    yield from _list("  because  ", reason.causes)
    yield from _list("  also     ", reason.also)
    then = dict.fromkeys(name(step) for step in reason.then)
    if then:
        yield from _wrap("  then     ", "; ".join(list(then)[:MANY]))
    if reason.compared:
        yield f"  compared with build {reason.compared}"


def name(step: StepRecord) -> str:
    """Return a step in a few words: its stage and its instruction."""
    return f"{step.stage + ': ' if step.stage else ''}{brief(step.text, 50)}"


def _list(label: str, causes: Sequence[Cause]) -> Iterator[str]:
    for at, cause in enumerate(causes[:MANY]):
        sure = cause.certain or cause.kind == "unknown"
        yield from _wrap(label if at == 0 else " " * len(label), cause.text if sure else f"probably: {cause.text}")
    if len(causes) > MANY:
        yield f"{' ' * len(label)}  and {len(causes) - MANY} more causes (--json lists them)"


def _crates(build: Build, crates: Sequence[CrateReason]) -> Iterator[str]:
    cargo = build.cargo
    if not cargo.crates:
        yield "crates: " + ("none compiled" + (f", {cargo.fresh} reused" if cargo.fresh is not None else ""))
        return
    yield f"crates: {len(cargo.crates)} compiled" + (f", {cargo.fresh} reused" if cargo.fresh is not None else "")
    for reason in crates[: 2 * MANY]:
        listed = ", ".join(reason.crates[:MANY])
        more = f" and {len(reason.crates) - MANY} more" if len(reason.crates) > MANY else ""
        yield from _wrap("  ", listed + more)
        yield from _list("    ", reason.causes)


def _wrap(label: str, words: str) -> list[str]:
    start = f"{label} " if label.strip() else label
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def document(build: Build, reasons: Sequence[Reason], crates: Sequence[CrateReason]) -> dict[str, Any]:
    """Return the explanation as a JSON document."""
    return {
        "build": build.id or None,
        "command": build.command,
        "outcome": build.outcome,
        "services": [
            {
                "service": reason.service,
                "compared_with": reason.compared or None,
                "step": _step(reason.step, reason.dockerfile) if reason.step else None,
                "causes": [_cause(cause) for cause in reason.causes],
                "also": [_cause(cause) for cause in reason.also],
                "then": [_step(step, reason.dockerfile) for step in reason.then],
            }
            for reason in reasons
        ],
        "crates": [
            {"crates": list(reason.crates), "causes": [_cause(cause) for cause in reason.causes]} for reason in crates
        ],
    }


def _step(step: StepRecord, dockerfile: str) -> dict[str, Any]:
    return {
        "stage": step.stage,
        "dockerfile": dockerfile,
        "line": step.line,
        "instruction": step.text,
        "seconds": step.seconds,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {"kind": cause.kind, "subject": cause.subject, "text": cause.text, "certain": cause.certain}
