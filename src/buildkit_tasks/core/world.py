"""The process's environment as one value: no other module reads globals, and every test can make its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Problem


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise Problem(
            "no-project", "The working directory has been deleted.", hint="cd into the project, then run it again"
        ) from None


@dataclass(frozen=True)
class World:
    """Environment, places, terminal and clock.

    `clock` is monotonic seconds. `tty`: stderr is a terminal; `ci`: a CI system runs us.
    """

    env: Mapping[str, str]
    cwd: Path
    home: Path
    tty: bool = False
    clock: Callable[[], float] = field(default=time.monotonic, compare=False)

    @classmethod
    def real(cls) -> World:
        """The world this process lives in."""
        return cls(
            env=dict(os.environ),
            cwd=_working_directory(),
            home=Path(os.path.expanduser("~")),  # noqa: PTH111 - never raises, unlike Path.home()
            tty=sys.stderr is not None and sys.stderr.isatty(),
        )

    @property
    def ci(self) -> bool:
        """True if CI is set to anything but a no."""
        return self.env.get("CI", "").lower() not in ("", "0", "false", "no")

    @property
    def interactive(self) -> bool:
        """True if somebody can answer a question."""
        return self.tty and not self.ci and sys.stdin is not None and sys.stdin.isatty()

    @property
    def docker_config(self) -> Path:
        """Where the docker command keeps its configuration."""
        return Path(self.env.get("DOCKER_CONFIG") or self.home / ".docker")

    @property
    def buildx_config(self) -> Path:
        """Where buildx keeps its builders and their default configuration."""
        return Path(self.env.get("BUILDX_CONFIG") or self.docker_config / "buildx")

    @property
    def state_home(self) -> Path:
        """Where per-user state lives (XDG base directories)."""
        given = self.env.get("XDG_STATE_HOME", "")
        return (Path(given) if given.startswith("/") else self.home / ".local" / "state") / "buildkit-tasks"
