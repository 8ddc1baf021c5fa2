"""Tasks about the project itself."""

from __future__ import annotations

from invoke.tasks import task

from buildkit_tasks.core.session import Session

from .edge import told


@task(help={"json": "print one JSON document"})
@told
def settings(session: Session, json: bool = False) -> None:
    """Show every setting, its value and where the value came from."""
    rows = [(o.name, o.value or "-", o.origin) for o in session.origins]
    if json:
        content = [{"name": n, "value": v, "origin": o} for n, v, o in rows]
        session.report.envelope({"root": str(session.root), "settings": content})
    else:
        session.report.table(("setting", "value", "from"), rows)


@task
@told
def dotenv(session: Session) -> None:
    """Make or complete .env from .env.example, with generated secrets; keeps what you have."""
    from buildkit_tasks.project import dotenv as flow

    session.report.say(flow.words(session, flow.ensure(session)))
    flow.check(session)


@task(help={"yes": "consent to every change of the system (installing and starting the engine)"})
@told
def quickstart(session: Session, yes: bool = False) -> None:
    """From a bare machine to a running, healthy stack; safe to run again at any time."""
    from buildkit_tasks.stack import quickstart as flow

    flow.quickstart(session)
