"""Tasks for git's hooks."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(help={"undo": "remove the hook, and put back the one that was there before"})
@reported
def install(session: Session, undo: bool = False) -> None:
    """Run lint, and the format check if cargo.fmt is there, before each git commit; keeps an existing hook."""
    from buildkit_tasks.hooks import install as flow
    from buildkit_tasks.tasks import namespace

    if undo:
        flow.undo(session)
        return
    checks = [["lint"], *([["cargo.fmt", "--check"]] if "cargo.fmt" in namespace.task_names else [])]
    flow.install(session, checks)
