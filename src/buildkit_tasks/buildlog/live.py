"""Shows a running build on a terminal: the state of each image, the running step, crates, bytes and elapsed time."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from buildkit_tasks.core import units
from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.core.report import Report

from . import estimate, states
from .lines import WAITING, Blocked

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Above this number of images, count them by state instead of listing them.
LISTED = 12

_STYLES = {"done": "green", "failed": "bold red", "waiting": "dim", "preparing": "dim"}


class Live:
    """The terminal view. rich redraws it four times a second, in its own thread."""

    def __init__(self, report: Report, plan: BuildPlan, progress: Progress) -> None:
        self.report, self.progress = report, progress
        self.states = states.States(plan, progress)
        self.blocked = Blocked(self.states, report.world.clock)
        self.began = report.world.clock()

    @contextlib.contextmanager
    def shown(self) -> Iterator[Live]:
        """Draw the view until the build ends, then remove it."""
        from rich.live import Live as RichLive

        with RichLive(self, console=self.report.console, refresh_per_second=4, transient=True):
            yield self

    def update(self, lines: Sequence[str]) -> None:
        """Do nothing: the drawing thread reads the progress."""

    def tick(self) -> None:
        """Do nothing."""

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        images = self.states.images()
        longest = max(len("waiting"), *(len(image.service) for image in images)) if len(images) <= LISTED else 7
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True, overflow="ellipsis", min_width=min(longest, 24), max_width=24)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        if len(images) <= LISTED:
            for image in images:
                grid.add_row(Text(image.service), Text(image.state, _STYLES.get(image.state, "")))
        else:
            counts = Counter(image.state if image.state in _STYLES else "running" for image in images)
            grid.add_row("images", ", ".join(f"{count} {state}" for state, count in counts.items()))
        bar = None
        vertex = self.states.running()
        if vertex and not states.compiles(vertex):
            grid.add_row("step", Text(self.states.label(vertex)))
        if moved := self.progress.moving():
            what, current, total = moved
            of = f" of {units.human(total)}" if total else ""
            grid.add_row(what, f"{units.human(current)}{of}")
        if crates := self.states.crates():
            grid.add_row("crates", Text(f"Compiling {crates}"))
        if self.progress.total:
            done = min(self.progress.done, self.progress.total)
            bar = ProgressBar(total=self.progress.total, completed=done, width=60)
        if self.blocked.now():
            grid.add_row("waiting", Text(WAITING, style="yellow"))
        elapsed = self.report.world.clock() - self.began
        expected = estimate.total(self.progress.past, self.progress, elapsed)
        of = f" of {estimate.words(expected)}" if expected else ""
        grid.add_row("elapsed", f"{elapsed:.1f} s{of}")
        return Group(grid, bar) if bar else grid
