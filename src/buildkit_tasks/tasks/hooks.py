"""Tasks for git hooks."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(help={"undo": "remove the hook and restore the previous one"})
@reported
def install(session: Session, undo: bool = False) -> None:
    """Install a pre-commit hook that runs lint, and the format check if cargo.fmt exists; keeps an existing hook."""
    from buildkit_tasks.hooks import install as flow
    from buildkit_tasks.tasks import namespace

    if undo:
        flow.undo(session)
        return
    checks = [["lint"], *([["cargo.fmt", "--check"]] if "cargo.fmt" in namespace.task_names else [])]
    flow.install(session, checks)
