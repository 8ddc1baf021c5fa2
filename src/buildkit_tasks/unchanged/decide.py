"""Decides whether a build would do nothing, by comparing the record of the last build with the current state.

If in doubt, the build asks BuildKit as usual. Imports little, because an up-to-date build runs only this.
"""

from __future__ import annotations

import threading
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildRequest, TargetResult
from buildkit_tasks.engine import ask

from . import fingerprint, inputs, record
from .inputs import Attempt
from .record import Record


def begin(session: Session, request: BuildRequest) -> Attempt | None:
    """Call this before reading anything of the project; None if no proof is possible."""
    try:
        return inputs.begin(session, request)
    except Problem:
        return None  # the build will report it


def holds(session: Session, attempt: Attempt) -> BuildOutcome | None:
    """The outcome of an up-to-date build; None if anything has changed or might have."""
    found = record.load(attempt.file)
    try:
        if found is None or not _same(found, attempt):
            return None
    except ValueError:  # a salt not written by us
        return None
    asked = _Question(session, found)
    asked.start()
    try:
        places = map(Path, found.places)
        seen = fingerprint.everything(places, found.trees, inputs.PACKAGE).digest == found.look
    except (OSError, ValueError):
        seen = False
    asked.join()
    if not (seen and asked.same):
        return None
    return BuildOutcome(
        seconds=(inputs.now().wall - attempt.began.wall) / 1e9,
        incremental=found.incremental,
        compiled=(),
        fresh=None,
        targets=tuple(TargetResult(t.service, t.image, t.digest, changed=False) for t in found.targets),
        steps=(),
        up_to_date=True,
    )


def _same(found: Record, attempt: Attempt) -> bool:
    """Compare what is cheap to compare: request, environment, small files, clock."""
    return (
        found.request == attempt.request
        and set(found.harmless) <= inputs.HARMLESS
        and inputs.forward(found.written, attempt.began)
        and found.contents == attempt.contents
        and found.environment == inputs.digest(attempt.environment, found.harmless, found.salt)
    )


class _Question(threading.Thread):
    """Queries the engine while the files are inspected."""

    def __init__(self, session: Session, found: Record) -> None:
        super().__init__(daemon=True)
        self._world, self._found = session.world, found
        self.same = False

    def run(self) -> None:
        """Check for the same engine, with the same images under the same names."""
        found = self._found
        try:
            path = ask.address(self._world)
            if path is None:
                return
            answer = ask.images(path, [*found.bases, *(tag for target in found.targets for tag in target.tags)])
        except (OSError, ValueError):
            return
        self.same = (
            (answer.engine, answer.version) == (found.engine, found.engine_version)
            and all(answer.images.get(name) == identity for name, identity in found.bases.items())
            and all(answer.images.get(tag) in target.ids for target in found.targets for tag in target.tags)
        )
