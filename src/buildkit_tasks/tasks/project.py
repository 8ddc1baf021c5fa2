"""The tasks `settings`, `dotenv` and `quickstart`."""

from __future__ import annotations

from buildkit_tasks.config.session import Session

from .edge import reported, task


@task(help={"json": "print a single JSON document"})
@reported
def settings(session: Session, json: bool = False) -> None:
    """Show every setting, its value and where it comes from."""
    from buildkit_tasks.core.report import without_login

    rows = [(o.name, without_login(o.value) or "-", o.origin) for o in session.origins]
    if json:
        content = [{"name": n, "value": v, "origin": o} for n, v, o in rows]
        session.report.envelope({"root": str(session.root), "settings": content})
    else:
        session.report.table(("setting", "value", "from"), rows)


@task()
@reported
def dotenv(session: Session) -> None:
    """Create or complete .env from .env.example, with generated secrets; keeps existing values."""
    from buildkit_tasks.project import dotenv as flow

    session.report.say(flow.words(session, flow.ensure(session)))
    flow.check(session)


@task(help={"yes": "allow all changes to the system (installing and starting the engine)"})
@reported
def quickstart(session: Session, yes: bool = False) -> None:
    """Go from a bare machine to a running, healthy stack; safe to run again."""
    from buildkit_tasks.stack import quickstart as flow

    flow.quickstart(session)
