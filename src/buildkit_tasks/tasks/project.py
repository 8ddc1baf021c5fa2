"""Tasks about the project itself."""

from __future__ import annotations

from invoke.tasks import task

from buildkit_tasks.flows.session import Session

from .edge import told


@task(help={"json": "print one JSON document"})
@told
def settings(session: Session, json: bool = False) -> None:
    """Show every setting, its value and where the value came from."""
    rows = [(o.name, o.value or "-", o.origin) for o in session.origins]
    if json:
        session.report.envelope(
            {"settings": [{"name": n, "value": v, "origin": o} for n, v, o in rows], "root": str(session.root)}
        )
    else:
        session.report.table(("setting", "value", "from"), rows)
