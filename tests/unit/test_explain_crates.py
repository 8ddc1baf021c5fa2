"""Why crates were compiled: marks, sources, dependencies, lock file, and what makes cargo start from scratch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.explain import crates, manifests
from buildkit_tasks.history.model import Build, Cargo, Crate
from tests.support.recorded import FILES, History, Project

API = Crate("api", "0.1.0", "services/api", 0.0)
COMMON = Crate("common", "0.1.0", "services/common", 0.0)
SERDE = Crate("serde", "1.0.1", None, 0.0)
LOCK = "services/Cargo.lock"
START = Project()
MAIN = "services/api/src/main.rs"


def cargo(*compiled: Crate, marked: tuple[str, ...] = (), total: int | None = None, tree: str = "2-a") -> Cargo:
    return Cargo(compiled, 3 - len(compiled), total, marked, tree)


FIRST = cargo(COMMON, SERDE, API, total=3)

CASES = {
    "own source": (START.put(MAIN, "1"), cargo(API), {"api": "source"}),
    "a dependency": (
        START.put("services/common/src/lib.rs", "1"),
        cargo(COMMON, API),
        {"common": "source", "api": "dependency"},
    ),
    "marked": (
        START.put("services/common/words.txt", "1"),
        cargo(COMMON, API, marked=("common (services/common/words.txt changed)",)),
        {"common": "marked", "api": "dependency"},
    ),
    "feature": (
        START.put("services/common/Cargo.toml", '[package]\nname = "common"\n[features]\nloud = ["x"]\n'),
        cargo(COMMON, API, marked=("common (services/common/Cargo.toml changed)",)),
        {"common": "feature", "api": "dependency"},
    ),
    "lock file": (
        START.put(LOCK, FILES[LOCK].replace("1.0.1", "1.0.2")),
        cargo(replace(SERDE, version="1.0.2"), API),
        {"serde": "lock", "api": "dependency"},
    ),
    "profile in the manifest": (
        START.put("services/Cargo.toml", "[workspace]\n[profile.release]\nlto = true\n"),
        cargo(SERDE),
        {"serde": "profile"},
    ),
    "features by argument": (START.with_args(FEATURES="common/loud"), cargo(COMMON), {"common": "feature"}),
    "environment": (
        START.with_args(SECRET="x"),
        cargo(API, marked=("everything (environment changed)",)),
        {"api": "environment"},
    ),
    "other profile": (
        START.with_args(PROFILE="dev"),
        cargo(API, SERDE, total=2),
        {"api": "profile", "serde": "profile"},
    ),
    "empty mount": (START, cargo(API, SERDE, total=2), {"api": "mount-empty", "serde": "mount-empty"}),
    "toolchain": (START, cargo(API, total=2, tree="2-b"), {"api": "toolchain"}),
    "other programs": (START.with_args(BINS="api"), cargo(SERDE), {"serde": "programs"}),
    "unknown": (START, cargo(API), {"api": "unknown"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cause_of_a_crate(name: str, tmp_path: Path) -> None:
    project, compiled, expected = CASES[name]
    history = History(tmp_path)
    history.build(START, "/compile", FIRST)
    build = history.build(project, "/compile", compiled)
    assert kinds(build, history) == {crate: {kind} for crate, kind in expected.items()}


def kinds(build: Build, history: History) -> dict[str, set[str]]:
    found = crates.reasons(build, history.earlier, history.kept)
    return {crate: {cause.kind for cause in reason.causes} for reason in found for crate in reason.crates}


def test_a_pack_and_a_first_build(tmp_path: Path) -> None:
    history = History(tmp_path)
    build = history.build(START, "/compile", FIRST)
    assert kinds(build, history)["api"] == {"mount-empty"}
    assert kinds(replace(build, pulled=True), history)["api"] == {"pack"}


def test_after_a_failed_build(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.build(START, "/compile", FIRST)
    history.build(START.put(MAIN, "1"), "/compile", outcome="failed", problem="compile-failed")
    build = history.build(START, "/compile", cargo(API))
    assert kinds(build, history) == {"api": {"failed"}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "[features]\na = []\n",
            "[features]\na = ['x']\nb = []\n",
            ["the feature `a` changed", "the feature `b` was added"],
        ),
        ("[dependencies]\na = '1'\n", "", ["the dependency `a` was removed"]),
        ("[profile.dev]\nlto = true\n", "[profile.dev]\n", ["the profile `dev` changed"]),
        ("[workspace.dependencies]\na = '1'\n", "[workspace.dependencies]\na = '2'\n", ["the dependency `a` changed"]),
        ("[workspace]\nmembers = ['a']\n", "[workspace]\nmembers = ['b']\n", ["`[workspace]` members changed"]),
        ("[package]\nname = 'a'\n", "[package]\nname = 'b'\n", ["`[package]` changed"]),
        ("# a\n", "# b\n", []),
        ("broken = [", "[package]\n", ["`[package]` changed"]),
    ],
)
def test_what_differs_in_a_manifest(old: str, new: str, expected: list[str]) -> None:
    assert manifests.differences(old, new) == expected


def test_a_lock_file_that_is_not_one() -> None:
    assert manifests.packages("package = 3\n") == {}
    assert manifests.packages("[[package]]\nname = 3\n") == {}
    assert manifests.packages(None) == {}
