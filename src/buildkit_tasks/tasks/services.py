"""Tasks for programs that block the stack's ports."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(help={"yes": "stop the listed programs without asking", "json": "print a single JSON document"})
@reported
def stop(session: Session, yes: bool = False, json: bool = False) -> None:
    """List programs using the stack's published ports; offers to stop containers and system services."""
    from buildkit_tasks.stack import holders

    holders.stop(session)
