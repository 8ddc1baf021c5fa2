"""The compile program records what the host can compute: compare manifests of real builds with the tree on disk."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from buildkit_tasks.builds import manifest
from buildkit_tasks.builds.manifest import Difference
from tests.engine.staleness import tree
from tests.engine.staleness.cases import GENERATING, main, part
from tests.engine.staleness.site import BUSYBOX, OURS, Build, Design, Result, Site
from tests.engine.staleness.tree import API, COMMON, WORKER, Delete, Link, Mode, Replace, Write

pytestmark = pytest.mark.engine


def _compare(site: Site, result: Result, program: str) -> tuple[Difference, ...]:
    made = manifest.parse(result.manifests[program])
    return manifest.compare(made, site.context, site.context / "docker/Dockerfile", profile="release")


def _build(site: Site, build: Build | None = None) -> Result:
    result = site.build(build or Build())
    assert result.programs is not None, result.log
    return result


@pytest.mark.parametrize("design", [OURS, BUSYBOX], ids=lambda design: design.name)
def test_a_manifest_covers_the_sources_of_its_program(design: Design, make_site: Callable[[Design], Site]) -> None:
    """Nothing differs after a build; an edit of api affects api, an edit of common affects both programs."""
    site = make_site(design)
    Write(f"{COMMON}/sql/é | a.sql", "odd").apply(site.context)
    Mode(f"{COMMON}/sql/1.sql", 0o755).apply(site.context)
    first = _build(site)
    assert _compare(site, first, "api") == _compare(site, first, "worker") == ()
    made = manifest.parse(first.manifests["api"])
    assert (made.crate, made.binary, made.profile, made.incremental) == ("api", "api", "release", True)
    assert made.rustc.startswith("rustc 1.")
    # `services` because of the file behind the link; for vendored crates, only their checksums count
    assert set(made.packages) == {API, COMMON, "services/crates/mac", "services"}
    assert {path for path in made.files if "/vendor/" in path} == {
        f"services/vendor/dep-1.0.{n}/.cargo-checksum.json" for n in (1, 2)
    }

    main("two").apply(site.context)
    assert [d.name for d in _compare(site, first, "api")] == [f"{API}/src/main.rs"]
    assert _compare(site, first, "worker") == ()
    second = _build(site)
    assert _compare(site, second, "api") == ()
    assert second.manifests["worker"] == first.manifests["worker"]
    assert second.manifests["api"] != first.manifests["api"]

    part("two").apply(site.context)
    Delete(f"{COMMON}/listed/b").apply(site.context)
    Write("services/migrations/2.sql", "alter").apply(site.context)
    Link(f"{COMMON}/data/link.txt", "swap2.txt").apply(site.context)
    Mode(f"{COMMON}/input/tool.sh", 0o755).apply(site.context)
    for program in ("api", "worker"):
        found = {(d.kind, d.name) for d in _compare(site, second, program)}
        assert found == {
            ("changed", f"{COMMON}/src/part.rs"),
            ("removed", f"{COMMON}/listed/b"),
            ("added", "services/migrations/2.sql"),
            ("changed", f"{COMMON}/data/link.txt"),
            ("changed", f"{COMMON}/input/tool.sh"),
        }


def test_a_manifest_contains_features_profile_and_flags(make_site: Callable[[Design], Site]) -> None:
    site = make_site(OURS)
    Replace(f"{API}/Cargo.toml", "[dependencies]", "[features]\ndefault = []\nmore = []\n\n[dependencies]").apply(
        site.context
    )
    made = manifest.parse(_build(site).manifests["api"])
    assert made.features == ("default",)
    chosen = Build("api", (("FEATURES", "more"), ("NO_DEFAULT_FEATURES", "1")))
    assert manifest.parse(_build(site, chosen).manifests["api"]).features == ("more",)
    args = (("PROFILE", "fast"), ("RUSTFLAGS", '--cfg feature="x"'), ("CARGO_INCREMENTAL", "0"))
    other = manifest.parse(_build(site, Build("api", args)).manifests["api"])
    assert (other.profile, other.incremental, other.rustflags) == ("fast", False, '--cfg feature="x"')
    assert other.source == made.source


def test_only_the_requested_program_is_copied_out(make_site: Callable[[Design], Site]) -> None:
    """A program of an earlier build is never included: only what cargo has just reported is copied out."""
    site = make_site(OURS)
    _build(site)
    assert set(_build(site, Build("api")).manifests) == {"api"}


def test_files_written_by_the_build_are_not_sources(make_site: Callable[[Design], Site]) -> None:
    site = make_site(OURS)
    GENERATING.apply(site.context)
    result = _build(site)
    assert f"{WORKER}/src/gen.rs" not in manifest.parse(result.manifests["worker"]).files
    assert _compare(site, result, "worker") == ()


def test_a_manifest_supports_any_file_name(make_site: Callable[[Design], Site]) -> None:
    site = make_site(OURS)
    names = [f"{COMMON}/sql/{name}" for name in ("a\nb", 'quote"', "back\\slash", "tab\t")]
    for name in names:
        tree.put(site.context, name, "odd")
    result = _build(site)
    assert set(names) <= set(manifest.parse(result.manifests["api"]).files)
    assert _compare(site, result, "api") == ()


def test_a_manifest_is_plain_json(make_site: Callable[[Design], Site]) -> None:
    content = json.loads(_build(make_site(OURS)).manifests["worker"])
    assert content["format"] == 1
    assert all(len(look) == 65 and look[0] in "fxl" for look in content["files"].values())
