"""Warm, bump, trim: what the next build compiles and how large the mount becomes. Real crates, our Dockerfile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.engine import cache_site
from tests.engine.cache_site import CRATES, Site
from tests.support import process

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Site]:
    """Create one workspace for all tests of this file, which run in order, like a developer's days."""
    made = cache_site.make_rust(tmp_path_factory.mktemp("rust"), base_images)
    yield made
    made.remove_images()
    made.clear()


def bump(site: Site, itoa: str) -> None:
    """Change to another version of a dependency, with sources that differ from all earlier ones.

    Sources that were already built would be a cached step, and cargo would not run at all.
    """
    source = site.root / "services/common/src/lib.rs"
    source.write_text(source.read_text() + f"// {itoa}\n")
    manifest = site.root / "services/common/Cargo.toml"
    lines = [f'itoa = "={itoa}"' if line.startswith("itoa") else line for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(lines) + "\n")
    cache_site.cargo(site.root / "services", site.bases, "update", "--workspace")


def target(site: Site) -> dict[str, Any]:
    """Return the bytes by category in the only profile directory of the target mount."""
    mounts = {m["kind"]: m for m in site.document("cache", "--inside")["mounts"] if m["project"] == site.scope}
    (tree,) = [t for t in mounts["target"]["inside"]["trees"] if t["profile"] == "release"]
    assert tree["note"] == "", tree
    return {**tree["bytes"], "all": mounts["target"]["bytes"]}


def test_warm_compiles_every_dependency_and_no_crate_of_the_workspace(site: Site) -> None:
    warmed = site.document("cache.warm")["warmed"]
    assert warmed[0]["crates"] >= 4
    made = [line.split("/")[-1] for line in site.in_mounts().splitlines() if "/target/release/" in line]
    assert any(name.startswith("libitoa-") for name in made)
    # nothing that could be mistaken for the product: no program, library or build script of the workspace's crates
    own = re.compile(r"(lib)?(api|worker|common)(-[0-9a-f]{16})?(\.(rlib|rmeta|so|d))?")
    assert [name for name in made if own.fullmatch(name)] == []
    built = site.document("build")
    assert sorted(built["cargo"]["compiled"]) == sorted(CRATES)
    assert process.ok(["docker", "run", "--rm", f"{site.scope}/worker:dev"], site.root).out == "worker 8! 1.5\n"


def test_a_second_warm_compiles_nothing_and_costs_the_next_build_nothing(site: Site) -> None:
    assert site.document("cache.warm")["warmed"][0]["crates"] == 0
    assert site.document("build", "--no-cache")["cargo"]["compiled"] == []


def test_a_stub_in_the_place_of_a_program_is_not_shipped(site: Site) -> None:
    """A stub program with a new time, as left by careless warming, must not be shipped."""
    stub = "rm -f $d/api; printf '#!/bin/sh\\necho stub\\n' > $d/api; chmod +x $d/api"
    planted = site.in_mounts(
        f"for d in /mnt/build/*/target/release; do {stub}; done; cat /mnt/build/*/target/release/api"
    )
    assert "./build/" in planted
    site.invoke("build", "--no-cache", "--service", "api")
    assert process.ok(["docker", "run", "--rm", f"{site.scope}/api:dev"], site.root).out == "api 7!\n"


def test_warm_tells_a_dependency_that_does_not_compile(site: Site) -> None:
    """Refused crates are expected; any other failure is reported."""
    broken = site.root / "services" / "broken"
    (broken / "src").mkdir(parents=True)
    (broken / "Cargo.toml").write_text('[package]\nname = "broken"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n')
    (broken / "src/lib.rs").write_text("this is not Rust\n")
    workspace = site.root / "services/Cargo.toml"
    manifest = site.root / "services/worker/Cargo.toml"
    kept = {p: p.read_text() for p in (workspace, manifest, site.root / "services/Cargo.lock")}
    workspace.write_text(kept[workspace] + 'exclude = ["broken"]\n')
    manifest.write_text(kept[manifest] + 'broken = { path = "../broken" }\n')
    cache_site.cargo(site.root / "services", site.bases, "update", "--workspace")
    done = process.run([process.BIN / "invoke", "cache.warm"], site.root, site.env)
    assert done.code != 0, done.all
    assert "dependencies failed to compile: broken" in done.all
    for path, text in kept.items():
        path.write_text(text)


def live(bytes_: Mapping[str, int]) -> int:
    """Return the bytes of everything that a build needs."""
    return sum(bytes_[k] for k in ("dependencies", "workspace", "incremental", "other"))


def replay(site: Site, versions: list[str]) -> None:
    """Build and trim after each bump: the mount is never larger than a fresh target, and nothing is compiled twice."""
    bump(site, versions[0])
    site.invoke("build")
    site.invoke("cache.trim", "--yes")
    fresh = live(target(site))
    largest = 0.0
    for version in versions[1:]:
        bump(site, version)
        built = site.document("build")["cargo"]["compiled"]
        assert "itoa" in built
        assert "ryu" not in built
        trimmed = site.document("cache.trim", "--yes")
        assert any("leftovers" in item["why"] for item in trimmed["items"])
        now = target(site)
        assert now["stale"] == 0
        largest = max(largest, live(now) / fresh)
        print(f"{version}: {live(now) / fresh:.3f} of a fresh target")  # noqa: T201 - figures of a long run
        assert site.document("build", "--no-cache")["cargo"]["compiled"] == []
    print(json.dumps({"bumps": len(versions) - 1, "largest": round(largest, 3)}))  # noqa: T201 - the figure itself
    assert largest <= 1.2


def test_after_a_bump_and_a_trim_the_mount_is_as_small_as_a_fresh_one(site: Site) -> None:
    replay(site, ["1.0.10", "1.0.11"])


@pytest.mark.slow
def test_twenty_bumps(site: Site) -> None:
    numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    replay(site, [f"1.0.{n}" for n in [10, *numbers, *reversed(numbers[-6:-1])]])
