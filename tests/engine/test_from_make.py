"""Every row of docs/how-to/from-make.md through the real command line, with no Rust on PATH.

On the sample, on a repository with PostgreSQL and migrations of sqlx, and on one without a database. What compiles all
crates of the sample once more is left out there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support import make_rows, make_site
from tests.support.make_site import Site

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("base_images")]


@pytest.fixture(scope="module", params=make_rows.REPOSITORIES, ids=lambda r: r.name)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all rows of a repository: a row begins with what the rows before it left."""
    with make_site.opened(request.param, tmp_path_factory.mktemp("rows")) as made:
        yield made


NAMES = [re.sub(r"\W+", "-", row.targets).strip("-")[:40] for row in make_rows.rows(make_rows.SAMPLE)]


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_row(site: Site, number: int) -> None:
    for step in site.rows[number].steps:
        site.play(step)
