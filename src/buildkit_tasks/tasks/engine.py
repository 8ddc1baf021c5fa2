"""Tasks for the engine."""

from __future__ import annotations

from invoke.tasks import task

from buildkit_tasks.core.session import Session

from .edge import told

YES = "answer every question with yes"


@task(default=True, help={"json": "print one JSON document"})
@told
def status(session: Session, json: bool = False) -> None:
    """Show the engine in use: versions, address, image store, and what it lacks."""
    from buildkit_tasks.engine import ensure as engine_ensure

    engine_ensure.status(session)


@task(help={"undo": "remove what an earlier install added", "yes": YES})
@told
def install(session: Session, undo: bool = False, yes: bool = False) -> None:
    """Install an engine, buildx and compose (Debian, Ubuntu); elsewhere print exact instructions."""
    from buildkit_tasks.engine import ensure as engine_ensure

    if undo:
        engine_ensure.undo(session)
    else:
        engine_ensure.install(session)


@task(help={"yes": YES})
@told
def start(session: Session, yes: bool = False) -> None:
    """Start the installed engine: through systemd, sysvinit, or the daemon itself."""
    from buildkit_tasks.engine import ensure as engine_ensure

    engine_ensure.start(session)


@task(help={"yes": YES})
@told
def stop(session: Session, yes: bool = False) -> None:
    """Stop the engine that `engine.start` started, and no other."""
    from buildkit_tasks.engine import ensure as engine_ensure

    engine_ensure.stop(session)


@task(
    help={
        "keep": "bytes for the whole build cache, as 40GB (default: twice of what is there, at least 20GB)",
        "write": "write the policy after asking; without it only the diff is printed",
        "builder": "buildx builder (default: the one in use)",
        "yes": YES,
    }
)
@told
def gc(session: Session, keep: str = "", write: bool = False, builder: str = "", yes: bool = False) -> None:
    """Propose a garbage collection policy that spares cache mounts; what is in force: invoke cache --gc."""
    from buildkit_tasks.caches import gc as engine_gc

    engine_gc.propose(session, keep=keep, builder=builder, write=write)
