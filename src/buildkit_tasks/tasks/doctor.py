"""The task `doctor`."""

from __future__ import annotations

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(
    help={
        "fix": "apply safe fixes, asking before each one",
        "verify": "run a real BuildKit build, check that cache mounts persist, and measure build times",
        "json": "print a single JSON document",
        "yes": "answer yes to all prompts",
    }
)
@reported
def doctor(session: Session, fix: bool = False, verify: bool = False, json: bool = False, yes: bool = False) -> None:
    """Check this machine and project; show what was found, what was expected, why it matters and how to fix it."""
    from buildkit_tasks.adopt import health
    from buildkit_tasks.doctor import diagnose as flow

    def measure(session: Session) -> None:
        from buildkit_tasks.bench import run as bench

        bench.quick(session, rounds=1, markdown=False)

    code = flow.run_doctor(session, fix=fix, verify=verify, more=health.checks, measure=measure)
    if code:
        raise Exit(code=code)
