"""Every case of the matrix: ours is always right and compiles no unneeded crates; the classic recipe fails many."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.engine.staleness import tables
from tests.engine.staleness.cases import CASES, Case, agrees
from tests.engine.staleness.site import BUSYBOX, CLASSIC, OURS, UNGUARDED, Design

pytestmark = pytest.mark.engine

Cells = Callable[[Design, Case], list[str]]

#: Cases that always run for the designs other than ours; `nox -s stale` runs all of them.
ALWAYS = {
    "plain edit",
    "edit with an older mtime",
    "edit with the same size and mtime; unrelated edit",
    "dependency bumped in Cargo.lock, same size and mtime",
    "one service per build: edit (api), revert (api), same edit (worker)",
    "two worktrees, same mtimes, same name",
}


#: Cases that always run with busybox: one for each thing that its tools do differently. `nox -s stale` runs all cases.
BUSY = {
    "plain edit",
    "edit with an older mtime",
    "vendored crate edited",
    "file deleted from a directory read by a macro",
    "file added to another package's directory read by a macro",
    "build script input: file replaced by a directory and back",
    "symlink to a file retargeted; unrelated edit",
    "executable bit checked by build.rs set; cleared along with an edit",
    "undeclared environment variable read by build.rs",
    "sync killed before marking (file deleted)",
    "clock skew: whole mount an hour ahead; four edits",
    "different compiler: same path, size, mtime and version string",
    "build.rs overwrites an outdated src/gen.rs",
    "file names with a newline, a space, | and é; unrelated edit",
    "file names with a space, | and é; unrelated edit",
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
    """Right in every case, and compiles exactly the crates in the table."""
    seen = cells(design, one)
    assert agrees(seen, want), f"{' '.join(seen)} instead of {want}"


@_cases(BUSYBOX, lambda one: one.cells, lambda one: one.name in BUSY)
def test_with_busybox_tools(design: Design, one: Case, want: str, cells: Cells) -> None:
    """The same with busybox's sh, awk, find, tar and so on, as in an Alpine image."""
    seen = cells(design, one)
    assert agrees(seen, want), f"{' '.join(seen)} instead of {want}"


@_cases(UNGUARDED, lambda one: one.unguarded)
def test_without_the_transfer_guard(design: Design, one: Case, want: str, cells: Cells) -> None:
    """Changes that plain `docker compose build` cannot detect: BuildKit does not even send the file."""
    seen = cells(design, one)
    assert agrees(seen, want), f"{' '.join(seen)} instead of {want}"


@_cases(CLASSIC, lambda one: "" if one.classic is None else None, tables.goes_wrong)
def test_classic(design: Design, one: Case, want: str, cells: Cells) -> None:
    """The usual recipe fails exactly in the cases in the table. BT_UPDATE=1 records its results.

    Which of a case's builds fails may vary: BuildKit's transfer compares times, so it depends on how fast builds
    follow.
    """
    seen = " ".join(cells(design, one))
    recorded = tables.recorded()
    if os.environ.get("BT_UPDATE"):
        tables.record({**recorded, one.name: seen})
        return
    assert tables.wrong(seen) == tables.wrong(recorded[one.name]), f"{seen} instead of {recorded[one.name]}"
