"""Which files are sent to the builder, decided as in BuildKit (the engine tests compare with a real BuildKit)."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.dockerfiles.ignore import Ignore, walk

TREE = (
    "Dockerfile",
    "README.md",
    "docker/compile.rs",
    "docker/README.md",
    "services/Cargo.toml",
    "services/README.md",
    "services/api/src/main.rs",
    "services/api/src/target/mod.rs",
    "services/target/debug/api",
    "services/[x]/a b",
)


def _sent(root: Path, *texts: str) -> set[str]:
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return {path for path, _ in walk(root, *(Ignore.parse(text) for text in texts))}


@pytest.mark.parametrize(
    ("text", "kept_out"),
    [
        ("", set()),
        ("# *\n\n   \n", set()),
        ("*", set(TREE)),
        (
            "*\n!services\nservices/target",
            {"Dockerfile", "README.md", "docker/compile.rs", "docker/README.md", TREE[8]},
        ),
        ("*\n!docker/compile.rs", set(TREE) - {"docker/compile.rs"}),
        ("!docker/compile.rs\n*", set(TREE)),
        ("*.md", {"README.md"}),
        ("**/*.md", {"README.md", "docker/README.md", "services/README.md"}),
        ("**/target", {"services/api/src/target/mod.rs", "services/target/debug/api"}),
        ("/services/api/", {"services/api/src/main.rs", "services/api/src/target/mod.rs"}),
        ("services/./x/../api", {"services/api/src/main.rs", "services/api/src/target/mod.rs"}),
        ("service?", {n for n in TREE if n.startswith("services")}),
        ("services/\\[x\\]", {"services/[x]/a b"}),
        ("[DR]*\n!README.md", {"Dockerfile"}),
        ("services/**\n!services/**/*.rs", {n for n in TREE if n.startswith("services") and not n.endswith(".rs")}),
        (".", set()),
        ("Dockerfile\x0cREADME.md\x85docker", set()),  # one pattern: only a line feed ends a line
    ],
)
def test_patterns(text: str, kept_out: set[str], tmp_path: Path) -> None:
    assert _sent(tmp_path, text) == set(TREE) - kept_out


def test_of_several_the_widest_counts(tmp_path: Path) -> None:
    assert _sent(tmp_path, "*\n!docker", "*\n!services/api") == {
        n for n in TREE if n.startswith(("docker/", "services/api"))
    }


@pytest.mark.parametrize("text", ["!", "[z-a]"])
def test_illegal_patterns_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="illegal"):
        Ignore.parse(text)


def test_links_are_entries_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").touch()
    (tmp_path / "link").symlink_to("dir")
    assert {path for path, _ in walk(tmp_path)} == {"dir/file", "link"}


def test_the_dockerfiles_own_ignore_file_wins(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("a")
    assert Ignore.of(tmp_path, tmp_path / "Dockerfile").patterns[0].text == "a"
    (tmp_path / "Dockerfile.dockerignore").write_text("b")
    assert Ignore.of(tmp_path, tmp_path / "Dockerfile").patterns[0].text == "b"
    assert Ignore.of(tmp_path / "elsewhere") == Ignore()


def test_a_directory_is_not_an_ignore_file(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.dockerignore").mkdir()
    assert Ignore.of(tmp_path, tmp_path / "Dockerfile") == Ignore()
    (tmp_path / ".dockerignore").write_text("a")
    assert Ignore.of(tmp_path, tmp_path / "Dockerfile").patterns[0].text == "a"


def test_a_pattern_longer_than_any_path_matches_nothing_and_costs_nothing() -> None:
    found = Ignore.parse("x" * 3_000_000 + "\na\n")
    assert found.patterns[0].regex.pattern == "(?!)"
    assert found.excludes("a")
    assert not found.excludes("x" * 255)
    assert Ignore.parse("x" * 5000 + "*").patterns[0].regex.pattern != "(?!)"
