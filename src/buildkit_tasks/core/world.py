"""The process's environment as a single value: no other module reads globals, and tests can create their own."""

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
            "no-project", "The working directory has been deleted.", hint="cd to the project, then rerun the command"
        ) from None


def _home() -> Path:
    """Return the absolute home directory; `/` for a user without one, as in some containers."""
    found = os.path.expanduser("~")  # noqa: PTH111 - never raises, unlike Path.home()
    return Path("/") if found in ("", "~") else Path(os.path.abspath(found))  # noqa: PTH100 - keeps symlinks


@dataclass(frozen=True)
class World:
    """Environment, directories, terminal and clock.

    `clock`: monotonic seconds; `tty`: stderr is a terminal; `ci`: running in a CI system. `plugins`: returns the paths
    of the docker plugins that can be started without docker, by name.
    """

    env: Mapping[str, str]
    cwd: Path
    home: Path
    tty: bool = False
    clock: Callable[[], float] = field(default=time.monotonic, compare=False)
    plugins: Callable[[], Mapping[str, str]] = field(default=dict, compare=False)

    @classmethod
    def real(cls) -> World:
        """Return the environment of this process."""
        return cls(
            env=dict(os.environ),
            cwd=_working_directory(),
            home=_home(),
            tty=sys.stderr is not None and sys.stderr.isatty(),
        )

    @property
    def ci(self) -> bool:
        """Whether CI is set to anything but a false value."""
        return self.env.get("CI", "").lower() not in ("", "0", "false", "no")

    @property
    def interactive(self) -> bool:
        """Whether the user can answer a question."""
        return self.tty and not self.ci and sys.stdin is not None and sys.stdin.isatty()

    @property
    def prints_to_terminal(self) -> bool:
        """Whether the result goes to a terminal, rather than to a file, a program or a closed stdout."""
        return sys.stdout is not None and sys.stdout.isatty()

    @property
    def docker_config(self) -> Path:
        """The directory of the docker command's configuration."""
        return Path(self.env.get("DOCKER_CONFIG") or self.home / ".docker")

    @property
    def buildx_config(self) -> Path:
        """The directory with buildx's builders and default configuration."""
        return Path(self.env.get("BUILDX_CONFIG") or self.docker_config / "buildx")

    @property
    def state_home(self) -> Path:
        """The directory for per-user state (XDG base directories)."""
        given = self.env.get("XDG_STATE_HOME", "")
        return (Path(given) if given.startswith("/") else self.home / ".local" / "state") / "buildkit-tasks"
