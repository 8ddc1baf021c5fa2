"""Workspaces and programs as cargo sees them, compared with `cargo metadata`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.workspaces import cargo, reach, tree
from tests.support import process, repositories
from tests.support.repositories import Files, manifest

MAIN = "fn main() {}\n"

LAYOUTS: dict[str, Files] = {
    "one crate": {"Cargo.toml": manifest("a"), "src/main.rs": MAIN},
    "named and found programs": {
        "Cargo.toml": manifest(
            "a", '[[bin]]\nname = "x"\npath = "src/main.rs"\n\n[[bin]]\nname = "y"\npath = "tools/y.rs"'
        ),
        "src/main.rs": MAIN,
        "tools/y.rs": MAIN,
        "src/bin/z.rs": MAIN,
        "src/bin/deep/main.rs": MAIN,
        "src/bin/deep/other.rs": "",
    },
    "no autobins": {
        "Cargo.toml": manifest("a", "autobins = false"),
        "src/main.rs": MAIN,
        "src/lib.rs": "",
        "src/bin/z.rs": MAIN,
    },
    "globs and an exclusion": {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*", "tools/one"]\nexclude = ["crates/old"]\n',
        "crates/a/Cargo.toml": manifest("a"),
        "crates/a/src/main.rs": MAIN,
        "crates/b/Cargo.toml": manifest("b"),
        "crates/b/src/lib.rs": "",
        "crates/old/Cargo.toml": manifest("old"),
        "crates/old/src/main.rs": MAIN,
        "tools/one/Cargo.toml": manifest("one"),
        "tools/one/src/main.rs": MAIN,
    },
    "a root crate with members, one of them by path only": {
        "Cargo.toml": manifest(
            "root", '[dependencies]\nhidden = { path = "hidden" }\n\n[workspace]\nmembers = ["member"]'
        ),
        "src/main.rs": MAIN,
        "member/Cargo.toml": manifest("member"),
        "member/src/main.rs": MAIN,
        "hidden/Cargo.toml": manifest("hidden"),
        "hidden/src/lib.rs": "",
        "hidden/src/bin/tool.rs": MAIN,
    },
    "a dependency per target": {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["a"]\n',
        "a/Cargo.toml": manifest("a", "[target.'cfg(unix)'.dependencies]\nb = { path = \"../b\" }"),
        "a/src/main.rs": MAIN,
        "b/Cargo.toml": manifest("b"),
        "b/src/lib.rs": "",
    },
}


@pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is the oracle")
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_members_and_programs_are_cargos(tmp_path: Path, name: str) -> None:
    root = repositories.write(tmp_path / "r", LAYOUTS[name])
    argv: list[str | Path] = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    said = json.loads(process.ok(argv, root).out)
    theirs = {
        p["name"]: sorted(t["name"] for t in p["targets"] if "bin" in t["kind"])
        for p in said["packages"]
        if p["id"] in said["workspace_members"]
    }
    workspace = cargo.workspaces(tree.read(root))[0]
    assert workspace.directory == "."
    assert {p.name: sorted(p.binaries) for p in workspace.packages} == theirs


@pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is the oracle")
def test_features_are_cargos(tmp_path: Path) -> None:
    features = '[features]\ndefault = ["b"]\nb = ["dep:x", "y?/z"]\nc = []\n'
    optional = "".join(f'{n} = {{ path = "../{n}", optional = true }}\n' for n in ("x", "y", "w"))
    files: Files = {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["a"]\n',
        "a/Cargo.toml": manifest("a", features, "[dependencies]", optional),
        "a/src/main.rs": MAIN,
        **{f"{n}/Cargo.toml": manifest(n, "[features]\nz = []") for n in ("x", "y", "w")},
        **{f"{n}/src/lib.rs": "" for n in ("x", "y", "w")},
    }
    root = repositories.write(tmp_path, files)
    said = json.loads(process.ok(["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"], root).out)
    (theirs,) = (sorted(p["features"]) for p in said["packages"] if p["name"] == "a")
    (workspace,) = cargo.workspaces(tree.read(root))
    assert sorted(workspace.binaries["a"].features) == theirs


def test_what_lies_outside_of_a_workspace_is_one_of_its_own(tmp_path: Path) -> None:
    root = repositories.write(tmp_path, LAYOUTS["globs and an exclusion"])
    assert [w.directory for w in cargo.workspaces(tree.read(root))] == [".", "crates/old"]


def test_toolchain_configuration_and_vendored_crates(tmp_path: Path) -> None:
    files = {
        "rust-toolchain.toml": '[toolchain]\nchannel = "1.80"\n',
        "back/Cargo.toml": manifest("a"),
        "back/src/main.rs": MAIN,
        "back/.cargo/config.toml": (
            '[source.vendored-sources]\ndirectory = "vendor"\n[build]\ntarget = "x86_64-unknown-linux-musl"\n'
        ),
    }
    (workspace,) = cargo.workspaces(tree.read(repositories.write(tmp_path, files)))
    assert (workspace.toolchain, workspace.channel) == ("rust-toolchain.toml", "1.80")
    assert (workspace.vendored, workspace.target) == (("back/vendor",), "x86_64-unknown-linux-musl")
    assert workspace.has_lock is False


def test_a_tree_of_links_pipes_and_large_files_is_read_in_bounds(tmp_path: Path) -> None:
    import os

    repositories.write(tmp_path, {"Cargo.toml": manifest("a"), "src/main.rs": MAIN})
    os.mkfifo(tmp_path / "Cargo.lock.pipe")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "large.rs").write_text("x" * (tree.MOST_BYTES + 10))
    found = tree.read(tmp_path)
    assert found.text("Cargo.lock.pipe") == ""
    assert len(found.text("large.rs")) == tree.MOST_BYTES
    assert not any(path.startswith("loop/") for path in found.files)
    assert found.text("../secret") == ""


def test_a_directory_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_FILES", 3)
    repositories.write(tmp_path, {f"{n}.txt": "" for n in range(5)})
    with pytest.raises(Problem, match="more than 3 files"):
        tree.read(tmp_path)


def test_a_crate_of_another_workspace_needs_the_manifest_that_it_inherits_from(tmp_path: Path) -> None:
    """A workspace inside another workspace that uses a crate of the outer one by path."""
    inherits = '[package]\nname = "core"\nversion = "0.1.0"\nedition.workspace = true\n'
    files: Files = {
        "Cargo.toml": '[workspace]\nmembers = ["core"]\nexclude = ["bench"]\n[workspace.package]\nedition = "2021"\n',
        "core/Cargo.toml": inherits,
        "core/src/lib.rs": "",
        "bench/Cargo.toml": manifest("bench", '\n[workspace]\n\n[dependencies]\ncore = { path = "../core" }'),
        "bench/Cargo.lock": repositories.locked("bench: core", "core"),
        "bench/src/main.rs": "fn main() {}\n",
    }
    repositories.write(tmp_path, files)
    found = tree.read(tmp_path)
    workspace = next(w for w in cargo.workspaces(found) if w.directory == "bench")
    paths = set(reach.find(found, workspace).paths)
    assert {"Cargo.toml", "core", "bench/Cargo.toml"} <= paths
    # cargo itself does not need more
    bare = tmp_path / "bare"
    for path in files:
        if any(path == p or path.startswith(f"{p}/") for p in paths | {"bench/src"}):
            (bare / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / path, bare / path)
    if shutil.which("cargo"):
        process.ok(["cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"], bare / "bench")
        process.ok(["cargo", "check", "--offline", "--locked", "--quiet"], bare / "bench")
