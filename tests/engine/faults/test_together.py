"""Twenty builds at once, each of a separate project: all are correct, and hardly slower than one after another."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.cache_site import Site
from tests.engine.faults.conftest import SLICE, Range
from tests.support import process, strikes

pytestmark = [pytest.mark.engine, pytest.mark.slow]

COUNT = 6 if SLICE else 20

#: Limit for the time of all builds at once, compared with one after another.
RATIO = 1.5


@pytest.fixture
def sites(place: Range, tmp_path: Path) -> Iterator[list[Site]]:
    """Create copies of the project, each with its own scope and images, built once."""
    made = []
    for number in range(COUNT):
        scope = f"{place.site.scope}-{number}"
        root = tmp_path / scope
        shutil.copytree(place.site.root, root)
        (root / "compose.yaml").write_text((root / "compose.yaml").read_text().replace(place.site.scope, scope))
        made.append(Site(root, scope, place.site.bases))
    try:
        yield made
    finally:
        for site in made:
            site.remove_images()
            site.invoke("cache.clear", "--yes")


def test_builds_at_the_same_time(place: Range, sites: list[Site]) -> None:
    fault = f"{COUNT} builds at once"

    def edit(site: Site, text: str) -> None:
        (site.root / "services/worker/src/main.rs").write_text(f'fn main() {{ println!("{site.scope} {text}"); }}\n')

    def build(site: Site, mark: str = "") -> process.Done:
        return process.run([process.BIN / "invoke", "build"], site.root, {**site.env, strikes.MARK: mark})

    for site in sites:  # cold: compiles the dependencies
        assert build(site).code == 0
    began = time.monotonic()
    for site in sites:
        edit(site, "alone")
        assert build(site).code == 0
    alone = time.monotonic() - began
    for site in sites:
        edit(site, "together")
    mark = strikes.new_mark()
    began = time.monotonic()
    with strikes.Watch(mark) as watch, ThreadPoolExecutor(COUNT) as pool:
        ended = list(pool.map(lambda site: build(site, mark), sites))
    together = time.monotonic() - began
    ratio = together / alone
    note = f"{together:.0f} s, one after another {alone:.0f} s ({ratio:.2f}); {watch.peak / 1e6 / COUNT:.0f} MB each"
    for number, (site, done) in enumerate(zip(sites, ended, strict=True)):
        found = []
        if done.code != 0:
            found.append(("lost", f"code {done.code}: {done.err[-800:]}"))
        ran = process.run(["docker", "run", "--rm", f"{site.scope}/worker:dev"], site.root)
        if ran.out != f"{site.scope} together\n":
            found.append(("wrong", f"it prints {ran.all!r}"))
        if not number and ratio > RATIO and not SLICE:  # a slice runs next to other work
            found.append(("rough", note))
        place.tally.count(fault, hit=True, findings=found, note=note)
    place.agreed(fault)
