"""Each step of the compile program is needed: without it a named case fails, which proves that the matrix can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.staleness.cases import CASES, agrees, run
from tests.engine.staleness.mutations import MUTATIONS, Mutation, steps
from tests.engine.staleness.site import OURS, Design, Site

pytestmark = pytest.mark.engine

BY_NAME = {one.name: one for one in CASES}


def test_every_step_has_its_mutation() -> None:
    """`cargo-lock` is about several builds at once: the program's own tests have it."""
    assert steps() - {"cargo-lock"} == {mutation.name for mutation in MUTATIONS if not mutation.old}
    assert {mutation.case for mutation in MUTATIONS} <= BY_NAME.keys()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_it_a_case_goes_wrong(mutation: Mutation, make_site: Callable[[Design], Site]) -> None:
    """The case's programs are stale, or a build fails that must not: a needless recompile is not enough."""
    site = make_site(OURS)
    site.use_script(mutation.apply())
    one = BY_NAME[mutation.case]
    seen = run(site, one)
    assert not agrees(seen, one.cells)
    wrong = [
        cell for cell, want in zip(seen, one.cells.split(), strict=True) if cell[0] in "SW" and want[0] not in "SW"
    ]
    assert wrong, f"{' '.join(seen)}: nothing went wrong"
