"""The task that looks for what is wrong."""

from __future__ import annotations

from invoke.exceptions import Exit
from invoke.tasks import task

from buildkit_tasks.core.session import Session

from .edge import told


@task(
    help={
        "fix": "apply the safe remedies, asking before each",
        "verify": "prove it: a real BuildKit build, a mount that persists, build times",
        "json": "print one JSON document",
        "yes": "answer every question with yes",
    }
)
@told
def doctor(session: Session, fix: bool = False, verify: bool = False, json: bool = False, yes: bool = False) -> None:
    """Examine this machine and project: what is found, what is wanted, why it matters, what mends it."""
    from buildkit_tasks.doctor import diagnose as flow

    code = flow.run_doctor(session, fix=fix, verify=verify)
    if code:
        raise Exit(code=code)
