"""The comparison of a manifest with a tree; the engine tests check that the script writes the same format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.builds import manifest

FILES = {
    "services/Cargo.toml": "[workspace]\n",
    "services/Cargo.lock": "version = 4\n",
    "services/.cargo/config.toml": "",
    "services/migrations/1.sql": "create",
    "services/crates/api/Cargo.toml": "[package]\n",
    "services/crates/api/src/main.rs": "fn main() {}\n",
    "services/crates/common/Cargo.toml": "[package]\n",
    "services/crates/common/src/lib.rs": "\n",
    "services/crates/worker/Cargo.toml": "[package]\n",
    "services/crates/worker/src/main.rs": "fn main() {}\n",
    "services/target/release/api": "not a source",
    "docker/compile.rs": "fn main() {}\n",
    ".dockerignore": "*\n!services\n!docker/compile.rs\n**/*.md\n",
}


def _text(root: Path, **changes: object) -> str:
    content: dict[str, Any] = {
        "format": 1,
        "crate": "api",
        "binary": "api",
        "features": ["default"],
        "profile": "release",
        "incremental": False,
        "rustflags": "",
        "toolchain": {"key": "k", "rustc": "rustc 1.0", "host": "x86_64-unknown-linux-gnu"},
        "lock": "",
        "source": "",
        "workspace": "services",
        "script": "docker/compile.rs",
        "packages": ["services/crates/api", "services/crates/common"],
        "files": {},
    }
    found, lock = manifest.files(manifest.parse(json.dumps(content | changes)), root)
    return json.dumps({**content, "files": found, "lock": lock, "source": manifest.digest(found), **changes})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Create a workspace of three crates, two of which are in the program."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "services/crates/api/link").symlink_to("src/main.rs")
    return tmp_path


@pytest.fixture
def built(root: Path) -> manifest.Manifest:
    """Return the manifest of api, built from that tree."""
    return manifest.parse(_text(root))


def test_an_unchanged_tree_corresponds(root: Path, built: manifest.Manifest) -> None:
    assert manifest.compare(built, root) == ()
    assert "services/migrations/1.sql" in built.files
    assert not any("worker" in path or "target" in path or path.startswith("docker") for path in built.files)


def test_the_digest_is_what_anyone_can_compute(root: Path, built: manifest.Manifest) -> None:
    lines = b"".join(f"{look} {path}\n".encode() for path, look in sorted(built.files.items()))
    assert built.source == f"sha256:{hashlib.sha256(lines).hexdigest()}"
    assert built.files["services/crates/api/link"] == "l" + hashlib.sha256(b"src/main.rs\n").hexdigest()


def _edit(root: Path) -> None:
    (root / "services/crates/common/src/lib.rs").write_text("// other\n")


def _mode(root: Path) -> None:
    (root / "services/crates/api/src/main.rs").chmod(0o755)


def _add(root: Path) -> None:
    (root / "services/migrations/2.sql").write_text("alter")


def _delete(root: Path) -> None:
    (root / "services/crates/api/src/main.rs").unlink()


def _retarget(root: Path) -> None:
    (root / "services/crates/api/link").unlink()
    (root / "services/crates/api/link").symlink_to("Cargo.toml")


def _lock(root: Path) -> None:
    (root / "services/Cargo.lock").write_text("version = 3\n")


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        (_edit, "changed", "services/crates/common/src/lib.rs"),
        (_mode, "changed", "services/crates/api/src/main.rs"),
        (_add, "added", "services/migrations/2.sql"),
        (_delete, "removed", "services/crates/api/src/main.rs"),
        (_retarget, "changed", "services/crates/api/link"),
        (_lock, "lock", "services/Cargo.lock"),
    ],
)
def test_each_change_is_named(
    change: Callable[[Path], None], kind: str, name: str, root: Path, built: manifest.Manifest
) -> None:
    change(root)
    (difference,) = manifest.compare(built, root)
    assert (difference.kind, difference.name) == (kind, name)
    assert name in str(difference)


@pytest.mark.parametrize(
    "path",
    [
        "services/crates/worker/src/main.rs",
        "services/crates/api/README.md",
        "services/target/release/api",
        "docker/compile.rs",
        "README.md",
    ],
)
def test_files_that_are_not_in_the_program_do_not_count(path: str, root: Path, built: manifest.Manifest) -> None:
    (root / path).write_text("other\n")
    assert manifest.compare(built, root) == ()


def test_how_it_was_built_is_compared_where_asked(root: Path, built: manifest.Manifest) -> None:
    same = {"profile": "release", "incremental": False, "rustflags": "", "toolchain": "k"}
    assert manifest.compare(built, root, **same) == ()  # type: ignore[arg-type]
    kinds = [
        difference.kind
        for difference in manifest.compare(built, root, profile="dev", incremental=True, rustflags="-g", toolchain="j")
    ]
    assert kinds == ["profile", "incremental", "rustflags", "toolchain"]


def test_a_root_package_that_is_not_in_the_program_counts_only_as_workspace(root: Path) -> None:
    (root / "services/Cargo.toml").write_text("[workspace]\n[package]\n")
    (root / "services/src").mkdir()
    (root / "services/src/main.rs").write_text("fn main() {}\n")
    built = manifest.parse(_text(root))
    assert {"services/Cargo.toml", "services/.cargo/config.toml"} <= built.files.keys()
    assert "services/src/main.rs" not in built.files


def test_a_workspace_at_the_root_of_the_context(tmp_path: Path) -> None:
    for name in ("Cargo.toml", "Cargo.lock", "api/Cargo.toml", "api/src/main.rs", "target/x", "compile.rs", "proto/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    built = manifest.parse(_text(tmp_path, workspace=".", script="compile.rs", packages=["api"]))
    assert set(built.files) == {"Cargo.toml", "api/Cargo.toml", "api/src/main.rs", "proto/a"}
    assert built.lock == f"sha256:{hashlib.sha256(b'Cargo.lock').hexdigest()}"


def test_a_build_that_could_not_write_its_sources_down_is_never_called_equal(root: Path) -> None:
    built = manifest.parse(_text(root, files={}))
    assert [d.kind for d in manifest.compare(built, root)] == ["unknown"]


def test_a_manifest_that_contradicts_itself_is_never_called_equal(root: Path) -> None:
    built = manifest.parse(_text(root, source="sha256:0"))
    assert [d.kind for d in manifest.compare(built, root)] == ["unknown"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "crate": "a"}', "null", "[" * 100_000]
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"manifest"):
        manifest.parse(text)


def test_what_other_stages_make_is_not_looked_for_in_the_tree(root: Path) -> None:
    path = root / "services/crates/api/src/made.rs"
    path.write_text("made\n")
    built = manifest.parse(_text(root))
    path.unlink()
    assert [d.kind for d in manifest.compare(built, root)] == ["removed"]
    assert manifest.compare(built, root, generated=["services/crates/api/src/made.rs"]) == ()
    assert manifest.compare(built, root, generated=["services/crates/api/src"]) == ()
    assert manifest.compare(built, root, prepared=True) == ()
    (root / "services/crates/api/Cargo.toml").write_text("changed\n")
    assert [d.kind for d in manifest.compare(built, root, prepared=True)] == ["changed"]
    (difference,) = manifest.compare(built, root, generated=["services/crates/api/src"])
    assert (difference.kind, difference.name) == ("changed", "services/crates/api/Cargo.toml")


def test_a_file_that_was_moved_is_compared_with_its_original(root: Path) -> None:
    path, original = root / "services/crates/api/src/moved.rs", root / "moved.rs"
    path.write_text("moved\n")
    built = manifest.parse(_text(root))
    path.rename(original)
    moved = {"services/crates/api/src/moved.rs": "moved.rs"}
    assert manifest.compare(built, root, moved=moved) == ()
    original.write_text("changed\n")
    assert [(d.kind, d.name) for d in manifest.compare(built, root, moved=moved)] == [("changed", *moved)]
