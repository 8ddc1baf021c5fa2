"""Shows a running build: a live view on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from buildkit_tasks.core import units
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, TargetResult
from buildkit_tasks.core.report import Report

from . import notices, states
from .lines import Lines
from .live import Live

if TYPE_CHECKING:
    from buildkit_tasks.core.progress import Progress

#: The summary shows the slowest step if it took at least this many seconds.
SLOW = 1.0
#: Widths of an image name and of a step's label in the summary, whose lines have at most 80 columns.
_NAME, _WORDS = 26, 54


class View(Protocol):
    """Called with each batch of new log lines, and every second."""

    def update(self, lines: Sequence[str]) -> None:
        """Show what changed."""

    def tick(self) -> None:
        """Show which step is slow."""


class Silent:
    """Shows nothing, for `--json` and `--progress quiet`."""

    def update(self, lines: Sequence[str]) -> None:
        """Do nothing."""

    def tick(self) -> None:
        """Do nothing."""


@contextlib.contextmanager
def building(report: Report, plan: BuildPlan, progress: Progress, how: str = "auto", title: str = "") -> Iterator[View]:
    """Show a build in the view for this terminal and `how`, the value of --progress: auto, plain, verbose or quiet.

    `title`: printed instead of `headline`.
    """
    if report.json_only or how == "quiet":
        yield Silent()
        return
    report.say(title or headline(plan))
    if title:
        plan = replace(plan, services=())  # there are no images to show
    if how in ("plain", "verbose") or not report.fancy:
        with ticking(Lines(report, plan, progress, verbatim=how == "verbose")) as view:
            yield view
    else:
        with Live(report, plan, progress).shown() as view:
            yield view
    notices.show(report, plan, progress)


@contextlib.contextmanager
def ticking(view: View, seconds: float = 1.0) -> Iterator[View]:
    """Call the view's `tick` at this interval, in a separate thread."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            view.tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield view
    finally:
        over.set()
        thread.join()


def headline(plan: BuildPlan) -> str:
    """Return a line that describes what will be built."""
    if not plan.groups:
        return f"building {', '.join(s.name for s in plan.services)}"
    mode = "incremental" if plan.incremental else "not incremental"
    return (
        f"building {', '.join(s.name for s in plan.services)} ({plan.profile}, {mode}: {plan.reasons['incremental']})"
    )


def summary(report: Report, outcome: BuildOutcome) -> None:
    """Print the summary of a finished build."""
    if outcome.up_to_date:
        names = ", ".join(target.service for target in outcome.targets)
        report.say(f"up to date: nothing changed since the last build of {names}    (use --no-cache to build anyway)")
        return
    for target, line in zip(outcome.targets, image_lines(outcome, table=report.fancy), strict=True):
        report.say(line, style="green" if target.changed else "dim")
    if outcome.fresh is None and not outcome.compiled:
        crates = "nothing to compile"
    else:
        names = ", ".join(outcome.compiled[:6]) + (", …" if len(outcome.compiled) > 6 else "")
        crates = f"{units.counted(len(outcome.compiled), 'crate')} compiled" + (f" ({names})" if names else "")
        crates += f", {outcome.fresh} reused" if outcome.fresh is not None else ""
    built = units.counted(len(outcome.targets), "image")
    report.say(f"built {built} in {outcome.seconds:.1f} s: {crates}", style="bold")
    ran = [step for step in outcome.steps if not step.cached and step.seconds is not None]
    slowest = max(ran, key=lambda step: step.seconds or 0.0, default=None)
    if slowest and (slowest.seconds or 0.0) >= SLOW:
        words = states.brief(re.sub(r"^\[[^\]]*\] ", "", slowest.name), _WORDS)
        report.say(f"  slowest step: {words}, {slowest.seconds:.1f} s")


def image_lines(outcome: BuildOutcome, *, table: bool) -> list[str]:
    """Return a line per image: name, whether it changed, id and size. `table`: align columns, at most 80 wide."""
    rows = []
    for target in outcome.targets:
        name = target.image if len(target.image) <= _NAME or not table else f"…{target.image[1 - _NAME :]}"
        size = units.human(target.size) if target.size else ""
        if size and target.size_before and target.size != target.size_before:
            grown = target.size - target.size_before
            size += f" ({'+' if grown > 0 else '-'}{units.human(abs(grown))})"
        rows.append((name, "new" if target.changed else "unchanged", target.digest[:19], size))
    widths = [max(len(row[at]) for row in rows) if table else 0 for at in range(4)] if rows else []
    return ["  " + "  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def result(report: Report, outcome: BuildOutcome) -> None:
    """Print the result of `invoke build`: the summary or the JSON document."""
    if report.json_only:
        report.envelope(envelope(outcome))
    else:
        summary(report, outcome)


def envelope(outcome: BuildOutcome) -> dict[str, object]:
    """Return the content of a build's `--json` document."""
    return {
        "seconds": round(outcome.seconds, 3),
        "incremental": outcome.incremental,
        "up_to_date": outcome.up_to_date,
        "cargo": {"compiled": list(outcome.compiled), "fresh": outcome.fresh, "marked": list(outcome.marked)},
        "targets": [
            {"service": t.service, "image": t.image, "digest": t.digest, "changed": t.changed, **_sizes(t)}
            for t in outcome.targets
        ],
        "steps": [{"name": s.name, "cached": s.cached, "seconds": s.seconds} for s in outcome.steps],
    }


def _sizes(target: TargetResult) -> dict[str, int]:
    """Return the known sizes."""
    return {name: n for name, n in (("size", target.size), ("size_before", target.size_before)) if n}
