"""The task that finds problems."""

from __future__ import annotations

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(
    help={
        "fix": "apply the safe fixes, asking before each",
        "verify": "test with a real BuildKit build and a persistent mount, and measure build times",
        "json": "print one JSON document",
        "yes": "answer every question with yes",
    }
)
@reported
def doctor(session: Session, fix: bool = False, verify: bool = False, json: bool = False, yes: bool = False) -> None:
    """Check this machine and project: what was found, what is wanted, why it matters, how to fix it."""
    from buildkit_tasks.adopt import health
    from buildkit_tasks.doctor import diagnose as flow

    code = flow.run_doctor(session, fix=fix, verify=verify, more=health.checks)
    if code:
        raise Exit(code=code)
