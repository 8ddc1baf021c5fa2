"""Tasks that a CI system calls, and that reproduce its jobs at home."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task

JSON = "print one JSON document"


@task(help={"json": JSON})
@reported
def context(session: Session, json: bool = False) -> None:
    """Show which CI system runs this, for what, and whether the run may push, and why not."""
    from buildkit_tasks.ci import show

    show.context(session)


@task(
    help={
        "base": "compare with this branch, tag or commit (default: what the CI run says, else the default branch)",
        "json": JSON,
    }
)
@reported
def changed(session: Session, base: str = "", json: bool = False) -> None:
    """List the services whose images a change concerns, by crates, lock files, Dockerfiles and build contexts."""
    from buildkit_tasks.ci import changed as flow

    flow.show(session, base)
