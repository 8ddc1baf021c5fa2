"""`invoke history`: the recorded builds as a table, or as JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units

from .model import Build
from .opened import newest, opened

#: Widths of the columns for command lines and outcomes, to fit a row into 80 columns.
_COMMAND, _OUTCOME = 22, 14
#: Number of builds listed by default.
LISTED = 20


def show(session: Session, count: int = 0, services: Sequence[str] = ()) -> None:
    """Print the newest `count` builds (0: the default number) of any of these services, newest last.

    Problems: history-missing, bad-argument.
    """
    with opened(session) as store:
        builds = newest(store, count or LISTED, services)
    if session.report.json_only:
        session.report.envelope({"builds": [summary(build) for build in builds]})
        return
    headings = ("build", "age", "command", "outcome", "seconds", "crates", "new images")
    session.report.table(headings, [_row(build) for build in reversed(builds)])


def _row(build: Build) -> tuple[str, ...]:
    changed = sum(image.changed for image in build.images)
    return (
        str(build.id),
        units.days(max(0.0, time.time() - build.began)),
        _cut(build.command, _COMMAND),
        _cut(build.problem or build.outcome, _OUTCOME),
        f"{build.seconds:.1f}",
        "-" if build.cargo.fresh is None and not build.cargo.crates else str(len(build.cargo.crates)),
        f"{changed} of {len(build.images)}" if build.images else "-",
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def summary(build: Build) -> dict[str, Any]:
    """Return a build as represented in the `--json` document."""
    return {
        "id": build.id,
        "began": datetime.fromtimestamp(build.began).astimezone().isoformat(timespec="seconds"),
        "command": build.command,
        "services": [service.name for service in build.inputs.services],
        "platforms": list(build.inputs.platforms),
        "outcome": build.outcome,
        "problem": build.problem,
        "seconds": build.seconds,
        "commit": build.inputs.commit,
        "profile": build.inputs.profile,
        "incremental": build.inputs.incremental,
        "crates": {"compiled": [crate.name for crate in build.cargo.crates], "fresh": build.cargo.fresh},
        "images": [
            {"service": i.service, "image": i.image, "digest": i.digest, "changed": i.changed, "size": i.size}
            for i in build.images
        ],
        "steps": [{"name": s.name, "cached": s.cached, "seconds": s.seconds} for s in build.seen if not s.internal],
    }
