"""Estimates of a running build based on earlier builds: which builds count, and what is printed."""

from __future__ import annotations

import pytest

from buildkit_tasks.buildlog import estimate
from buildkit_tasks.core.model import Past
from buildkit_tasks.core.progress import Progress

COLD, COLD_2 = Past(250.0, (), True), Past(230.0, (), True)
EDIT, EDIT_2, EDIT_3 = (Past(seconds, ("api",), False) for seconds in (3.2, 3.0, 3.4))
SHARED = Past(6.0, ("common", "api", "worker"), False)
BUMP = Past(48.0, ("serde", "common", "api", "worker"), False)
NOTHING = Past(0.9, (), False)


def progress(*crates: str, empty: bool = False, done: bool = False) -> Progress:
    made = Progress()
    made.compiled = list(crates)
    made.totals = {"step": 300} if empty else {}
    made.freshes = {"step": 300} if done else {}
    return made


@pytest.mark.parametrize(
    ("past", "now", "elapsed", "expected"),
    [
        ((), progress(), 0.0, None),
        ((EDIT,), progress(), 0.0, 3.2),  # the second build of a kind has an estimate
        ((EDIT, EDIT_2, EDIT_3), progress(), 0.0, 3.2),
        ((EDIT, COLD), progress(), 0.5, 3.2),  # empty mounts are rare: only once cargo has reported it
        ((COLD,), progress(), 0.5, None),
        ((EDIT, SHARED, BUMP), progress(), 0.5, None),  # they differ too much for an estimate
        ((NOTHING, EDIT), progress(), 0.5, None),
        ((EDIT, Past(14.0, ("api",), False), EDIT_2), progress("api"), 1.0, pytest.approx(3.1)),  # a busy machine
        ((EDIT, Past(14.0, ("api",), False)), progress("api"), 1.0, None),
        ((NOTHING, EDIT, EDIT_2), progress(), 1.0, pytest.approx(3.1)),
        ((EDIT, Past(14.0, ("api",), False), EDIT_2), progress("api"), 4.0, None),  # not 14, which is an outlier
        ((COLD, EDIT, COLD_2), progress("proc-macro2", empty=True), 5.0, 240.0),
        ((EDIT, COLD), progress(empty=True), 5.0, 250.0),
        ((COLD, EDIT), progress("api"), 1.0, 3.2),
        ((COLD, SHARED, EDIT), progress("api"), 1.0, 3.2),  # the shared crate would have been compiled first
        ((COLD, SHARED, EDIT), progress("common"), 1.0, 6.0),
        ((BUMP, SHARED), progress("common", "api"), 1.0, 6.0),
        ((BUMP, SHARED), progress("serde"), 1.0, 48.0),
        ((EDIT,), progress("worker"), 1.0, None),
        ((SHARED, EDIT), progress("common", "api", done=True), 1.0, None),
        ((SHARED, NOTHING), progress(done=True), 0.5, 0.9),
        ((EDIT, EDIT_2), progress("api"), 60.0, None),  # longer than ever: no estimate is better than a wrong one
        ((Past(3.0, ("api",), False),) * 5 + (Past(9.0, ("api",), False),), progress("api"), 1.0, 3.0),  # newest only
    ],
)
def test_what_did_the_same_work_counts(
    past: tuple[Past, ...], now: Progress, elapsed: float, expected: float | None
) -> None:
    assert estimate.total(past, now, elapsed) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.1, "about 0.5 s"),
        (0.9, "about 1 s"),
        (2.4, "about 2.5 s"),
        (3.2, "about 3 s"),
        (12.6, "about 13 s"),
        (47.0, "about 45 s"),
        (254.0, "about 250 s"),
        (1290.0, "about 22 min"),
    ],
)
def test_an_estimate_is_rounded_as_people_say_it(seconds: float, expected: str) -> None:
    assert estimate.words(seconds) == expected
