"""Mounts of known size on a real engine: listed exactly, cleared individually, but never while a build uses them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.engine import cache_site
from tests.engine.cache_site import Site
from tests.support import process

pytestmark = pytest.mark.engine

#: MiB written into each mount. Random data, so no file system can compress it.
SIZES = {"cargo-registry": ("registry", 7), "cargo-git": ("git", 3), "target": ("build", 20)}
FILL = "; ".join(f"dd if=/dev/urandom of=/mnt/{d}/f bs=1M count={n} 2>/dev/null" for d, n in SIZES.values())


@pytest.fixture
def site(tmp_path: Path, base_images: Mapping[str, str]) -> Iterator[Site]:
    """Create a project with three filled mounts."""
    made = cache_site.make(tmp_path, base_images)
    made.step(FILL)
    yield made
    made.clear()


def test_sizes_are_shown_within_a_hundredth(site: Site) -> None:
    mounts = site.mounts()
    assert set(mounts) == set(SIZES)
    for kind, (_, mib) in SIZES.items():
        assert mounts[kind]["bytes"] == pytest.approx(mib * 2**20, rel=0.01), kind
        assert mounts[kind]["flags"] == []
    assert mounts["target"]["platform"].startswith("linux/")


def test_clearing_one_leaves_the_others_byte_for_byte(
    site: Site, tmp_path: Path, base_images: Mapping[str, str]
) -> None:
    other = cache_site.make(tmp_path / "other", base_images)
    theirs, before = other.step(FILL), site.step()
    answer = site.document("cache.clear", "--mount", "target", "--yes")
    assert answer["freed"] == pytest.approx(20 * 2**20, rel=0.01)
    assert set(site.mounts()) == {"cargo-registry", "cargo-git"}
    assert site.step().splitlines() == [line for line in before.splitlines() if "/build/" not in line]
    assert other.step() == theirs
    assert other.mounts()["target"]["bytes"] == pytest.approx(20 * 2**20, rel=0.01)
    other.clear()


def test_dry_run_and_a_refused_question_change_nothing(site: Site) -> None:
    before = site.step()
    assert site.document("cache.clear", "--dry-run")["freed"] == 0
    refused = process.run([process.BIN / "invoke", "cache.clear"], site.root, site.env)
    assert refused.code == 18, refused.all
    assert site.step() == before


def test_a_mount_that_a_running_build_holds_stays(site: Site, tmp_path: Path) -> None:
    fifo_free = "echo holding; tail -f /dev/null"
    holder = process.start(site.step_argv(fifo_free, tmp_path / "held"), site.root, site.env)
    try:
        assert holder.stderr is not None
        seen = next((line for line in holder.stderr if line.rstrip().endswith(" holding")), None)
        assert seen, "the build did not come as far as holding its mounts"
        assert site.mounts(held=True)["target"]["in_use"] is True
        answer = site.document("cache.clear", "--yes")
        assert answer["selected"] == []
        assert len(answer["held"]) == 3
        assert "in use" in site.invoke("cache").out
    finally:
        holder.send_signal(signal.SIGINT)
        holder.communicate(timeout=60)
    assert set(site.mounts()) == set(SIZES)


def test_a_mount_no_dockerfile_declares_any_more_is_an_orphan(site: Site) -> None:
    dockerfile = site.root / "docker" / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace("-cargo-git,", "-crates-git,"))
    assert site.mounts()["cargo-git"]["flags"] == ["orphan"]
    dockerfile.write_text(text)


def test_trim_ends_below_the_budget_and_the_registry_goes_last(site: Site) -> None:
    answer = site.document("cache.trim", "--keep", "12MB", "--yes")
    assert answer["within"] is True
    assert answer["after"] <= 12e6 * 1.05
    assert set(site.mounts()) == {"cargo-registry", "cargo-git"}
