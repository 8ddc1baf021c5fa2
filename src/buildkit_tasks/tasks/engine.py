"""Tasks for the engine."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task

YES = "answer yes to all prompts"


@task(default=True, help={"json": "print a single JSON document"})
@reported
def status(session: Session, json: bool = False) -> None:
    """Show the current engine: versions, address, image store, and missing parts."""
    from buildkit_tasks.engine import ensure as engine_ensure

    engine_ensure.status(session)


@task(help={"undo": "remove what an earlier run installed", "yes": YES})
@reported
def install(session: Session, undo: bool = False, yes: bool = False) -> None:
    """Install an engine, buildx and compose (Debian, Ubuntu); on other systems, print exact instructions."""
    from buildkit_tasks.engine import ensure as engine_ensure

    if undo:
        engine_ensure.undo(session)
    else:
        engine_ensure.install(session)


@task(help={"yes": YES})
@reported
def start(session: Session, yes: bool = False) -> None:
    """Start the installed engine with systemd or sysvinit, or as a plain process."""
    from buildkit_tasks.engine import ensure as engine_ensure

    engine_ensure.start(session)


@task(help={"yes": YES})
@reported
def stop(session: Session, yes: bool = False) -> None:
    """Stop the engine, but only if `engine.start` started it."""
    from buildkit_tasks.engine import ensure as engine_ensure

    engine_ensure.stop(session)


@task(
    help={
        "keep": "size limit for the build cache, for example 40GB (default: twice the current size, at least 20GB)",
        "write": "write the policy after asking (default: only print the diff)",
        "builder": "buildx builder (default: the current one)",
        "yes": YES,
    }
)
@reported
def gc(session: Session, keep: str = "", write: bool = False, builder: str = "", yes: bool = False) -> None:
    """Propose a garbage collection policy that keeps cache mounts; `invoke cache --gc` shows the current one."""
    from buildkit_tasks.caches import gc as engine_gc

    engine_gc.propose(session, keep=keep, builder=builder, write=write)
