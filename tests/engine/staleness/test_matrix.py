"""Every case of the matrix: ours is always right and compiles no unneeded crate; the classic recipe fails many."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.engine.staleness import tables
from tests.engine.staleness.cases import CASES, Case, agrees
from tests.engine.staleness.site import BUSYBOX, CLASSIC, OURS, UNGUARDED, Design

pytestmark = pytest.mark.engine

Cells = Callable[[Design, Case], list[str]]

#: Cases played in every run for the designs other than ours; `nox -s stale` plays all of them.
ALWAYS = {
    "plain edit",
    "edit, older time",
    "edit, same size and time; unrelated edit",
    "dependency bumped in Cargo.lock, same size and time",
    "one service at a time: B api, A api, B worker",
    "two worktrees, equal times, same name",
}


#: With busybox on every run: one case for each thing that the tools do differently. `nox -s stale` plays them all.
BUSY = {
    "plain edit",
    "edit, older time",
    "vendored crate edited",
    "file there deleted",
    "file added to another package's directory that a macro reads",
    "build script's input: file, directory, file",
    "link to a file leads elsewhere; then an edit",
    "executable bit set, which build.rs looks at; reset with an edit",
    "environment that build.rs reads and does not declare",
    "sync dies before marking (a file goes)",
    "clock: all of the mount an hour ahead, then four edits",
    "another compiler: same path, size, time and version text",
    "build.rs overwrites an outdated src/gen.rs",
    "file names with a newline, a space, | and é; then an edit",
    "file names with a space, | and é; then an edit",
}


def _cases(
    design: Design, wanted: Callable[[Case], str | None], often: Callable[[Case], bool] = lambda _: True
) -> pytest.MarkDecorator:
    def marks(one: Case) -> list[pytest.MarkDecorator]:
        corner = [pytest.mark.cornerstone] if design is OURS and one.name in ALWAYS else []
        return corner if often(one) else [pytest.mark.slow]

    rows = [
        pytest.param(design, one, want, id=one.name, marks=marks(one))
        for one in CASES
        if (want := wanted(one)) is not None
    ]
    return pytest.mark.parametrize(("design", "one", "want"), rows)


@_cases(OURS, lambda one: one.cells)
def test_ours(design: Design, one: Case, want: str, cells: Cells) -> None:
    """Right in every case, with exactly the crates compiled that the table says."""
    seen = cells(design, one)
    assert agrees(seen, want), f"{' '.join(seen)} instead of {want}"


@_cases(BUSYBOX, lambda one: one.cells, lambda one: one.name in BUSY)
def test_with_busybox_tools(design: Design, one: Case, want: str, cells: Cells) -> None:
    """The same with busybox's sh, awk, find, tar and so on, as in an Alpine image."""
    seen = cells(design, one)
    assert agrees(seen, want), f"{' '.join(seen)} instead of {want}"


@_cases(UNGUARDED, lambda one: one.unguarded)
def test_without_the_guard_of_the_transfer(design: Design, one: Case, want: str, cells: Cells) -> None:
    """What plain `docker compose build` cannot see: BuildKit does not even send the file."""
    seen = cells(design, one)
    assert agrees(seen, want), f"{' '.join(seen)} instead of {want}"


@_cases(CLASSIC, lambda one: "" if one.classic is None else None, tables.goes_wrong)
def test_classic(design: Design, one: Case, want: str, cells: Cells) -> None:
    """The usual recipe goes wrong where the table says so, and only there. BT_UPDATE=1 records what it does.

    Which of a case's builds goes wrong may differ: BuildKit's transfer goes by times, and so by how fast builds follow.
    """
    seen = " ".join(cells(design, one))
    recorded = tables.recorded()
    if os.environ.get("BT_UPDATE"):
        tables.record({**recorded, one.name: seen})
        return
    assert tables.wrong(seen) == tables.wrong(recorded[one.name]), f"{seen} instead of {recorded[one.name]}"
