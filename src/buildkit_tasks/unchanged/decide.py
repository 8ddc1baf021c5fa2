"""Decides whether a build would do nothing, by comparing the record of the last build with the current state.

If in doubt, BuildKit runs as usual. Imports as little as possible, because an up-to-date build runs only this.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import lists
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildRequest, TargetResult
from buildkit_tasks.engine import ask

from . import fingerprint, inputs, record
from .inputs import Attempt
from .record import Record


def begin(session: Session, request: BuildRequest) -> Attempt | None:
    """Begin an attempt before anything in the project is read. Return None if no proof is possible."""
    try:
        return inputs.begin(session, request)
    except Problem:
        return None  # the build will report the problem


def holds(session: Session, attempt: Attempt) -> BuildOutcome | None:
    """Return the outcome of an up-to-date build, or None if anything has or might have changed."""
    newest = max(_usable(attempt), key=lambda one: one[0].written.wall, default=None)
    return _look(session, attempt, *newest) if newest else None


def _usable(attempt: Attempt) -> Iterator[tuple[Record, Collection[str]]]:
    """Yield the records that may prove that nothing changed, each with the services to check (empty: all)."""
    own = record.load(attempt.file)
    if own and _same(own, attempt):
        yield own, ()
    every = record.load(attempt.wider.file) if attempt.wider else None
    if every and attempt.wider and _same(every, attempt.wider):
        named = lists.names(attempt.services, "service")
        if all(any(name == target.service for target in every.targets) for name in named):
            yield every, named


def _look(session: Session, attempt: Attempt, found: Record, wanted: Collection[str]) -> BuildOutcome | None:
    """Compare the files and the engine with a record. Return the outcome for the wanted services, or for all."""
    asked = _Question(session, found)
    try:
        # all recorded files are older than the record, so an edit usually ends the search here, after a few ms
        look = fingerprint.project(map(Path, found.places), found.trees, until=found.written.wall)
        asked.start()
        look.code(inputs.PACKAGE)
        seen = look.digest == found.look
    except (OSError, ValueError):
        seen = False
    if not seen:
        return None  # without waiting for the engine
    asked.join()
    if not asked.same:
        return None
    return BuildOutcome(
        seconds=(inputs.now().wall - attempt.began.wall) / 1e9,
        incremental=found.incremental,
        compiled=(),
        fresh=None,
        targets=tuple(
            TargetResult(target.service, target.image, target.digest, changed=False)
            for target in found.targets
            if not wanted or target.service in wanted
        ),
        steps=(),
        up_to_date=True,
    )


def _same(found: Record, attempt: Attempt) -> bool:
    """Compare the inputs that are cheap to compare: request, environment, small files, clock."""
    try:
        return (
            found.request == attempt.request
            and set(found.harmless) <= inputs.HARMLESS
            and inputs.forward(found.written, attempt.began)
            and found.contents == attempt.contents
            and found.environment == inputs.digest(attempt.environment, found.harmless, found.salt)
        )
    except ValueError:  # we did not write the salt
        return False


class _Question(threading.Thread):
    """Queries the engine while the files are inspected."""

    def __init__(self, session: Session, found: Record) -> None:
        super().__init__(daemon=True)
        self._world, self._found = session.world, found
        self.same = False

    def run(self) -> None:
        """Check that this is the same engine, with the same images under the same names."""
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
