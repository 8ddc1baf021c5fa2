"""Tasks that a CI system calls, and that reproduce its jobs at home."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(help={"json": "print one JSON document"})
@reported
def context(session: Session, json: bool = False) -> None:
    """Show which CI system runs this, for what, and whether the run may push, and why not."""
    from buildkit_tasks.ci import show

    show.context(session)
