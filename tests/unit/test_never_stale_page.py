"""The tables of docs/explanation/never-stale.md match the tables that the tests prove."""

from __future__ import annotations

import os

from tests.engine.staleness import tables
from tests.engine.staleness.cases import CASES


def test_the_page_shows_the_tables() -> None:
    """Set BT_UPDATE=1 to write them."""
    page = tables.PAGE.read_text("utf-8")
    if os.environ.get("BT_UPDATE"):
        tables.PAGE.write_text(tables.fill(page), "utf-8")
        return
    assert page == tables.fill(page)


def test_classic_results_are_recorded_for_every_applicable_case() -> None:
    assert set(tables.recorded()) == {one.name for one in CASES if one.classic is None}


def test_case_names_are_unique() -> None:
    assert len({one.name for one in CASES}) == len(CASES)
