"""Removing or breaking a step of the compile program makes a specific case fail, so the matrix can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.staleness.cases import CASES, agrees, run
from tests.engine.staleness.mutations import MUTATIONS, Mutation, steps
from tests.engine.staleness.site import OURS, Design, Site

pytestmark = pytest.mark.engine

BY_NAME = {one.name: one for one in CASES}


def test_every_step_has_a_mutation() -> None:
    """`cargo-lock` affects parallel builds: the program's own tests cover it."""
    assert steps() - {"cargo-lock"} == {mutation.name for mutation in MUTATIONS if not mutation.old}
    assert {mutation.case for mutation in MUTATIONS} <= BY_NAME.keys()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_breaks_its_case(mutation: Mutation, make_site: Callable[[Design], Site]) -> None:
    """A program of the case is stale, or a build fails wrongly; an unnecessary recompile is not enough."""
    site = make_site(OURS)
    site.use_script(mutation.apply())
    one = BY_NAME[mutation.case]
    seen = run(site, one)
    assert not agrees(seen, one.cells)
    wrong = [
        cell for cell, want in zip(seen, one.cells.split(), strict=True) if cell[0] in "SW" and want[0] not in "SW"
    ]
    assert wrong, f"{' '.join(seen)}: nothing went wrong"
