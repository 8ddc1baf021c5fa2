"""The output of `ci.context`."""

from __future__ import annotations

from dataclasses import asdict

from buildkit_tasks.config.session import Session

from . import context as ci_context


def context(session: Session) -> None:
    """Print the current run."""
    facts = asdict(ci_context.read(session.world, session.settings.ci.default_branch))
    if session.report.json_only:
        session.report.envelope({"context": facts})
        return
    words = {True: "yes", False: "no"}
    session.report.table(
        ("what", "value"),
        [
            (name.replace("_", " "), str(words.get(v, v) if isinstance(v, bool) else v))
            for name, v in facts.items()
            if v != ""
        ],
    )
