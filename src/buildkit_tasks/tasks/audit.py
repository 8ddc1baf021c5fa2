"""The task `audit`."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(
    iterable=["service", "image"],
    help={
        "service": "audit this service's image, for example api,worker; repeatable (default: all images "
        "that this project builds)",
        "image": "audit this local image instead, for example postgres:15; repeatable",
        "sbom": "also write an SBOM (CycloneDX JSON) for each image into this directory",
        "json": "print a single JSON document",
    },
)
@reported
def audit(
    session: Session,
    service: Sequence[str] | None = None,
    image: Sequence[str] | None = None,
    sbom: str = "",
    json: bool = False,
) -> None:
    """Check images for secrets, root users, unsafe permissions, missing health checks and known vulnerabilities."""
    from buildkit_tasks.audit import flow, show

    problem = show.print_result(session, flow.audit(session, service or (), image or (), sbom))
    if problem and json:
        raise Exit(code=problem.exit_code)  # the document on stdout already contains the problem
    if problem:
        raise problem
