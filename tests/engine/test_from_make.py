"""Every row of docs/how-to/from-make.md through the real command line, without Rust on PATH.

Runs on the sample, on a repository with PostgreSQL and sqlx migrations, and on a repository without a database. The
sample skips rows that recompile all of its crates.
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
    """Create one site for all rows of a repository: each row starts with the result of the previous rows."""
    with make_site.opened(request.param, tmp_path_factory.mktemp("rows")) as made:
        yield made


NAMES = [re.sub(r"\W+", "-", row.targets).strip("-")[:40] for row in make_rows.rows(make_rows.SAMPLE)]


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_row(site: Site, number: int) -> None:
    for step in site.rows[number].steps:
        site.play(step)
