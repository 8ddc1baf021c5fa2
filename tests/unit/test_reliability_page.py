"""The table of docs/explanation/reliability.md matches the results of the fault suite, which found nothing."""

from __future__ import annotations

from tests.engine.faults import tally


def test_the_page_shows_the_record() -> None:
    page = tally.PAGE.read_text("utf-8")
    assert page == tally.fill(page)


def test_nothing_was_found() -> None:
    rows = tally.recorded()
    assert rows
    assert [name for name, row in rows.items() if row["found"] != dict.fromkeys(tally.KINDS, 0)] == []
