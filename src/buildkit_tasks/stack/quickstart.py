"""Takes a bare machine to a running, healthy stack. Every step checks first and does only what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.engine import ensure as engine_ensure
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.pipeline import begin
from buildkit_tasks.pipeline import build as pipeline
from buildkit_tasks.project import dotenv
from buildkit_tasks.project.discover import discover, files_found

from . import smoke, stack


def quickstart(session: Session) -> None:
    """Run the steps in order. Safe to rerun after an interrupt: no step relies on the result of an earlier run."""
    steps: list[tuple[str, Callable[[Session], None]]] = [
        ("prerequisites", prerequisites),
        ("engine", _engine),
        (".env with generated secrets", _dotenv),
        ("base images", _base_images),
        ("build the services", _build),
        ("start and wait until healthy", _up),
        ("smoke test", smoke.smoke),
    ]
    if not smoke.configured(session):
        steps.pop()
    began = session.world.clock()
    for number, (what, do) in enumerate(steps, 1):
        coming = steps[number][0] if number < len(steps) else "summary"
        with session.report.step(number, len(steps), what, coming):
            do(session)
    session.report.say(f"ready in {session.world.clock() - began:.0f} s", style="bold green")
    show_next_steps(session)


def prerequisites(session: Session) -> None:
    """Check what no later step can provide: a compose file and free disk space."""
    free = shutil.disk_usage(session.root).free / 1e9
    if free < 1:
        raise Problem(
            "disk-full",
            f"Only {free:.1f} GB of disk space is free in {session.root}.",
            hint="free some disk space; the first build needs 5 GB",
        )
    session.report.say(f"  {session.root}, {free:.0f} GB free")


def _engine(session: Session) -> None:
    found = engine_ensure.ensure(session)
    session.report.say(f"  Docker Engine {'.'.join(map(str, found.version))}")


def _dotenv(session: Session) -> None:
    session.report.say(f"  {dotenv.words(session, dotenv.ensure(session))}")


def _base_images(session: Session) -> None:
    project = discover(session)
    references = base_images.references(project.workspace)
    used = base_images.ensure(session, project.engine, references, check=True)
    for reference in references:
        session.report.say(f"  {reference}" + (f" from {used[reference]}" if reference in used else ""))


def _build(session: Session) -> None:
    pipeline.show_summary(session, begin.build(session, BuildRequest()))


def _up(session: Session) -> None:
    stack.up(session, BuildRequest(), with_build=False)


def show_next_steps(session: Session) -> None:
    """Print the services' addresses, the location of the credentials, and the next steps."""
    project = discover(session)
    say = session.report.say
    for port in project.workspace.ports:
        host = "localhost" if port.host in ("0.0.0.0", "127.0.0.1", "::") else port.host  # noqa: S104
        say(f"  {port.service:<12} http://{host}:{port.published}  (container port {port.target})")
    if session.dotenv_file.exists():
        say(f"  credentials: {session.dotenv_file} (readable only by you)")
    override = base_images.override(session, project.engine, project.workspace)
    if override:
        files = " ".join(f"-f {f}" for f in (*files_found(session), override))
        say(f"  with plain docker: docker compose {files} build")
    say("  next: edit a source file, then run `invoke up`; `invoke --list` shows all tasks")
