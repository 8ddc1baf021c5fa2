"""The tables of docs/explanation/never-stale.md are those that the tests prove."""

from __future__ import annotations

import os

from tests.engine.staleness import tables
from tests.engine.staleness.cases import CASES


def test_the_page_shows_the_tables() -> None:
    """BT_UPDATE=1 writes them."""
    page = tables.PAGE.read_text("utf-8")
    if os.environ.get("BT_UPDATE"):
        tables.PAGE.write_text(tables.fill(page), "utf-8")
        return
    assert page == tables.fill(page)


def test_the_classic_recipe_is_recorded_for_every_case_that_can_be() -> None:
    assert set(tables.recorded()) == {one.name for one in CASES if one.classic is None}


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({one.name for one in CASES}) == len(CASES)
