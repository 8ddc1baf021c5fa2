"""A "machine" as caches see it: a checkout with its own state and settings, and optionally its own engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.cache_site import Site
from tests.support import process


@dataclass(frozen=True)
class Machine:
    """`more` is the environment: settings, and DOCKER_HOST for a different engine than the tests' own."""

    site: Site
    home: Path
    more: Mapping[str, str | None]

    @property
    def env(self) -> dict[str, str | None]:
        return {**self.site.env, "XDG_STATE_HOME": str(self.home / "state"), **self.more}

    def run(self, *args: str, **env: str | None) -> process.Done:
        return process.run([process.BIN / "invoke", *args], self.site.root, {**self.env, **env})

    def ok(self, *args: str, **env: str | None) -> process.Done:
        done = self.run(*args, **env)
        assert done.code == 0, done.all
        return done

    def document(self, *args: str, **env: str | None) -> dict[str, Any]:
        done = self.run(*args, "--json", **env)
        assert done.code == 0, done.all
        return dict(json.loads(done.out))

    def refused(self, *args: str, **env: str | None) -> str:
        """Return the error code of a command that must fail."""
        done = self.run(*args, "--json", **env)
        assert done.code != 0, done.all
        return str(json.loads(done.out)["error"]["code"])

    def says(self, **env: str | None) -> str:
        """Return what the worker's image prints."""
        docker = ["docker", "run", "--rm", f"{self.site.scope}/worker:dev"]
        return process.ok(docker, self.site.root, {**self.env, **env}).out

    def build(self, **env: str | None) -> dict[str, Any]:
        """Build all services, and check that the result runs.

        The engine would reuse layers of a machine that pushed: --no-cache prevents this and keeps the mounts.
        """
        built = self.document("build", "--no-cache", **env)
        assert self.says(**env) == "worker 8! 1.5\n"
        return built

    def compiles(self, **env: str | None) -> list[str]:
        """Build all services; return the names of the compiled crates."""
        return sorted(self.build(**env)["cargo"]["compiled"])
