"""The machine that measures: its facts, whether other work keeps it busy, and the memory that a build uses."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from buildkit_tasks.core.release import VERSION
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.project.discover import Project

#: The share of the processors that may be busy when a round begins, and how long that is observed, in seconds.
BUSY, OBSERVED = 0.15, 1.0
#: Seconds to wait for a quiet machine before each round.
PATIENCE = 60.0
#: Seconds between two looks at the memory in use.
_EVERY = 0.1


def facts(project: Project) -> dict[str, Any]:
    """Return the machine and versions to report with the measurements."""
    return {
        "cpus": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.platform(terse=True),
        "kernel": platform.release(),
        "engine": engine_facts.dotted(project.engine.version),
        "buildx": engine_facts.dotted(project.engine.buildx),
        "compose": engine_facts.dotted(project.engine.compose),
        "buildkit_tasks": VERSION,
        "services": len(project.workspace.services),
    }


def busy(observed: float = OBSERVED) -> float | None:
    """Return the share of the processors that is busy now, None if the system does not report it."""
    try:
        first = _ticks()
        time.sleep(observed)
        second = _ticks()
    except (OSError, ValueError):
        return None
    total = second[0] - first[0]
    return max(0.0, min(1.0, 1 - (second[1] - first[1]) / total)) if total > 0 else None


def _ticks() -> tuple[int, int]:
    """Return all and the idle ticks since boot: https://man7.org/linux/man-pages/man5/proc_stat.5.html."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    numbers = [int(word) for word in words]
    return sum(numbers), numbers[3] + numbers[4]


def quiet(say: Callable[[str], None], what: str, *, look: Callable[[], float | None] = busy) -> bool:
    """Wait until the machine is quiet, for at most `PATIENCE` seconds. Returns whether it is (True: unknown)."""
    began, asked = time.monotonic(), False
    while (share := look()) is not None and share > BUSY:
        load = os.getloadavg()[0]
        if time.monotonic() - began > PATIENCE:
            say(
                f"{what}: other processes still use {share:.0%} of the processors (load {load:.1f}); samples are marked"
            )
            return False
        if not asked:
            say(f"{what}: waiting, other processes use {share:.0%} of the processors (load {load:.1f})")
            asked = True
    return True


@contextlib.contextmanager
def memory() -> Iterator[Callable[[], int | None]]:
    """Yield a function that returns the most memory in use since the start, beyond what was in use at the start.

    Counts the whole machine, because most of a build runs in the engine. The function returns None if this is unknown.
    """
    start = _available()
    least, ended = [start], threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY):
            now = _available()
            if now is not None and least[0] is not None:
                least[0] = min(least[0], now)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lambda: None if start is None or least[0] is None else max(0, start - least[0])
    finally:
        ended.set()
        thread.join(timeout=1)


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None
