"""Toolchain images, oracle and scratch space for the staleness tests; their cases run in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.staleness import proof
from tests.engine.staleness import site as sites
from tests.engine.staleness.cases import Case, run
from tests.engine.staleness.site import Design, Images, Oracle, Site

RUST = "rust:1-bookworm"
_passed = 0
AT_ONCE = 3  # parallel builds: one waits for the engine while two compile


#: Tests with many cases, of which some run every time.
SAMPLED = ("test_matrix.py", "test_mutations.py", "test_registry.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """If the recipe is proven, an everyday run only runs the cornerstone cases and the commit's share of the rest.

    So does a slice (`nox -s stale -- --slice`), for the cases of every design.
    """
    everyday = "not slow" in str(config.getoption("-m", "")) and proof.holds()
    if not everyday and not os.environ.get("BT_STALE_SLICE"):
        return
    by = proof.commit()
    left = [item for item in items if _sampled(item) and not _cornerstone(item) and not proof.drawn(item.name, by)]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


def _sampled(item: pytest.Item) -> bool:
    return item.path.parent == Path(__file__).parent and item.path.name in SAMPLED and hasattr(item, "callspec")


def _cornerstone(item: pytest.Item) -> bool:
    return item.get_closest_marker("cornerstone") is not None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the tests that passed: collecting or skipping tests proves nothing."""
    global _passed
    _passed += report.when == "call" and report.passed


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Record a complete run that passed as a proof."""
    if os.environ.get("BT_STALE_PROOF") and exitstatus == 0 and _passed == session.testscollected:
        proof.record(session.testscollected)


@pytest.fixture(scope="session")
def images(base_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Return the toolchain images, built on first use."""
    return Images(tmp_path_factory.mktemp("images"), base_images.get(RUST, RUST))


@pytest.fixture(scope="session")
def oracle(images: Images) -> Iterator[Oracle]:
    """Return the judge. Removes its containers at the end, and all mounts unless other tests run in parallel."""
    judge = Oracle(images)
    yield judge
    judge.close()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        sites.remove_mounts()


@pytest.fixture
def make_site(images: Images, oracle: Oracle, tmp_path: Path) -> Callable[[Design], Site]:
    """Create a separate site for one test."""
    return lambda design: Site(tmp_path / design.name.replace(" ", "-"), design, images, oracle)


@pytest.fixture(scope="session")
def cells(
    request: pytest.FixtureRequest, images: Images, oracle: Oracle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Design, Case], list[str]]]:
    """Return the results of the builds of a case. The first call starts all selected cases, a few at a time."""
    top = tmp_path_factory.mktemp("cases")

    def play(number: int, design: Design, one: Case) -> list[str]:
        return run(Site(top / str(number), design, images, oracle), one)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun: dict[tuple[str, str], Future[list[str]]] = {}
        for item in request.session.items:
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            if {"design", "one"} <= parameters.keys():
                design, one = parameters["design"], parameters["one"]
                begun[design.name, one.name] = pool.submit(play, len(begun), design, one)
        yield lambda design, one: begun[design.name, one.name].result()
        for future in begun.values():
            future.cancel()
