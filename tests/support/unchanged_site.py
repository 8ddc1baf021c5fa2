"""A project with a fake engine (names and ids only) whose builds are recorded, including all inputs."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, BuildRequest, Engine, Service, TargetResult, Workspace
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.project.discover import Project
from buildkit_tasks.unchanged import decide
from buildkit_tasks.unchanged.keep import Watch
from tests.support.engine_socket import EngineSocket

BASE = "localhost/buildkit-tasks/debian:bookworm-slim"
NAMES = ("one", "two")

FILES = {
    "compose.yaml": "name: shop\nservices:\n  one: {build: app, image: 'shop/one:${WORD:-dev}'}\n  two: {build: app}\n",
    ".env": "WORD=dev\n",
    "app/Dockerfile": "FROM debian:bookworm-slim\nCOPY . /src\n",
    "app/.dockerignore": "ignored\n*.swp\n",
    "app/a": "aaaa\n",
    "app/b": "bbbb\n",
    "app/sub/c": "cccc\n",
    "app/ignored/x": "xxxx\n",
    "other/a": "aaaa\n",
}


class Site:
    """The project's directory, its environment and its engine."""

    def __init__(self, place: Path, engine: EngineSocket) -> None:
        self.place, self.root, self.engine = place, place / "shop", engine
        self.env = {"HOME": str(place), "PATH": f"{place}/bin:/usr/bin", "DOCKER_HOST": f"unix://{engine.path}"}
        for name, text in FILES.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        (self.root / "app/link").symlink_to("a")
        engine.images[BASE] = "sha256:" + "b" * 64
        for folder in (".docker/buildx/defaults", ".docker/cli-plugins", "bin"):
            (place / folder).mkdir(parents=True)
        _ = self.session().state  # the first call of any task creates it
        self.built = 0
        self.more: dict[str, Any] = {}

    def session(self) -> Session:
        """Start a new task call."""
        world = World(env=dict(self.env), cwd=self.root, home=self.place)
        return Session(world, Report(world))

    def holds(self, request: BuildRequest | None = None) -> BuildOutcome | None:
        """Return the result if the next build would report that nothing changed."""
        session = self.session()
        attempt = decide.begin(session, request or BuildRequest())
        return decide.holds(session, attempt) if attempt else None

    def build(
        self,
        first: Callable[[], None] = lambda: None,
        during: Callable[[], None] = lambda: None,
        last: Callable[[], None] = lambda: None,
        request: BuildRequest | None = None,
    ) -> str:
        """Build the current state while other things happen. Return why the build is not recorded."""
        session = self.session()
        attempt = decide.begin(session, request or BuildRequest())
        assert attempt
        first()
        plan = self.plan()
        watch = Watch(session, Project(_engine(self.engine.engine), plan.workspace), plan, attempt)
        watch.start()
        during()
        self.built += 1
        ids = {name: "sha256:" + hashlib.sha256(f"{name}{self.built}".encode()).hexdigest() for name in NAMES}
        for service in plan.services:
            self.engine.images[service.image] = ids[service.name]
        last()
        results = tuple(TargetResult(s.name, s.image, ids[s.name], changed=True) for s in plan.services)
        watch.keep(BuildOutcome(1.0, False, (), None, results, ()))
        return watch.unknown

    def plan(self) -> BuildPlan:
        """Return the plan of both services."""
        context = self.root / "app"
        services = tuple(
            Service(name, f"shop/{name}:dev", context, context / "Dockerfile", name, key=name) for name in NAMES
        )
        targets = {
            s.key: {
                "context": str(context),
                "tags": [s.image],
                "output": ["type=docker"],
                "contexts": {"debian:bookworm-slim": f"docker-image://{BASE}"},
                **self.more,
            }
            for s in services
        }
        workspace = Workspace(self.root, "shop", "shop", (), services, {}, ())
        return BuildPlan(workspace, services, "", False, {"target": targets})

    def truth(self) -> object:
        """Return all inputs of a build, read byte by byte."""
        names = sorted(
            {p.name for p in self.root.iterdir() if p.name.startswith(("compose", ".env", "docker-compose"))}
        )
        app = self.root / "app"
        ignored = [line for line in _text(app / ".dockerignore").split("\n") if line]
        special = app / "Dockerfile.dockerignore"
        if special.exists():
            ignored = [line for line in _text(special).split("\n") if line]
        return (
            [(name, _text(self.root / name)) for name in names],
            _text(app / "Dockerfile"),
            ignored,
            [entry for entry in _tree(app) if not _out(entry[0], ignored)],
            sorted((name, value) for name, value in self.env.items() if name not in ("SHLVL", "TERM")),
            dict(self.engine.images),
            self.engine.engine,
        )


def _engine(identity: str) -> Engine:
    return Engine(identity, (28, 5, 2), (0, 29, 1), (2, 40, 3), "linux", "amd64", containerd_store=True)


def _out(path: str, ignored: list[str]) -> bool:
    return any(
        path == line or path.startswith(f"{line}/") or (line == "*.swp" and path.endswith(".swp") and "/" not in path)
        for line in ignored
    )


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _tree(root: Path) -> list[tuple[str, int, str]]:
    found = []
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            what = str(path.readlink()) if stat.S_ISLNK(mode) else _text(path)
            found.append((path.relative_to(root).as_posix(), mode, what))
    return sorted(found)
