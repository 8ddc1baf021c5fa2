"""The task `lint`."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem

from .edge import reported, task


@task(
    iterable=["file"],
    help={
        "file": "Dockerfile to check, for example docker/Dockerfile; repeatable (default: those in the compose file)",
        "context": "build context (default: from the compose file, else the nearest directory with a .dockerignore)",
        "json": "print a single JSON document",
        "sarif": "print SARIF 2.1.0, for code scanning",
    },
)
@reported
def lint(
    session: Session, file: Sequence[str] | None = None, context: str = "", json: bool = False, sarif: bool = False
) -> None:
    """Find cache mount mistakes in Dockerfiles; also runs hadolint if installed. (Rust code: `cargo.clippy`.)"""
    from buildkit_tasks.lint import project as flow

    if json and sarif:
        raise Problem("bad-argument", "--json and --sarif cannot be combined.", hint="choose one")
    problem = flow.print_result(session, flow.lint(session, tuple(file or ()), context), as_sarif=sarif)
    if problem and json:
        raise Exit(code=problem.exit_code)  # the document on stdout already contains the problem
    if problem:
        raise problem
