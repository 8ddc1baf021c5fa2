"""The generated ignore file and the repository's own: files that were not in an image before are not added."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.recipes import excluded
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Service
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.support.repositories import Files, manifest

BUILD = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\n"
RUN = "FROM debian:bookworm-slim\nWORKDIR /srv\nCOPY --from=build /app/target/release/app /bin/app\n"
SERVICE = "name: shop\nservices:\n  app:\n    build: "


def crate(place: str = "") -> Files:
    return {
        f"{place}Cargo.toml": manifest("app"),
        f"{place}Cargo.lock": repositories.locked("app"),
        f"{place}src/main.rs": "fn main() {}\n",
    }


def ignored(place: Path, files: Files) -> tuple[str, list[str]]:
    repositories.write(place, files)
    read = tree.read(place)
    finding = look.find(read, repositories.resolved(place, files["compose.yaml"]), ("compose.yaml",))
    assert [s.name for s in finding.services] == ["app"], finding.left
    written = adopted.write(read, finding)
    name = "docker/Dockerfile.dockerignore"
    return written.texts[name], [n.text for n in written.notes if n.where == name]


def sent(text: str, paths: list[str]) -> list[str]:
    return [path for path in paths if not Ignore.parse(text).excludes(path)]


@pytest.mark.parametrize(
    ("theirs", "out"),
    [
        ("python/**/__pycache__\npython/.cache\n", ["python/a/__pycache__/x.pyc", "python/.cache/x"]),
        ("**/*.pem\n!**/public.pem\n", ["python/key.pem", "python/a/key.pem"]),
        ("*\n!Cargo.*\n!src\n!python\npython/key.pem\n", ["python/key.pem"]),
        ("python\n!python/public.pem\n", ["python/a.py", "python/README.md", "python/key.pem"]),
        ("*.md\n*.pem\n", []),  # only in the root
        ("**/*.md\n", ["python/README.md"]),
    ],
)
def test_a_copied_directory_stays_without_what_its_own_list_excludes(
    tmp_path: Path, theirs: str, out: list[str]
) -> None:
    given_files = ["a.py", "a/__pycache__/x.pyc", ".cache/x", "key.pem", "a/key.pem", "public.pem", "README.md"]
    files = {
        **crate(),
        **{f"python/{name}": "" for name in given_files},
        "Dockerfile": f"{BUILD}{RUN}COPY python ./python\n",
        ".dockerignore": theirs,
        "compose.yaml": f"{SERVICE}.\n",
    }
    text, _ = ignored(tmp_path, files)
    paths = [f"python/{name}" for name in given_files]
    before = sent(theirs, paths)
    assert sent(text, paths) == before
    assert set(out) <= set(paths) - set(before)
    assert sent(text, ["Cargo.toml", "Cargo.lock", "src/main.rs", "docker/compile.rs"]) == [
        "Cargo.toml",
        "Cargo.lock",
        "src/main.rs",
        "docker/compile.rs",
    ]


def test_the_list_of_a_context_in_a_subfolder(tmp_path: Path) -> None:
    """Its patterns are relative to the context. Sources that it excludes are still compiled."""
    files = {
        **crate("backend/"),
        "backend/web/index.html": "",
        "backend/web/draft.html": "",
        "backend/web/.env": "",
        "backend/build.rs": "fn main() {}\n",
        "backend/Dockerfile": f"{BUILD}{RUN}COPY . .\n",
        "backend/.dockerignore": "web/draft.*\n*.rs\ntarget\n",
        "compose.yaml": f"{SERVICE}./backend\n",
    }
    text, notes = ignored(tmp_path, files)
    paths = ["backend/web/index.html", "backend/web/draft.html", "backend/target/x", "backend/src/main.rs"]
    assert sent(text, paths) == ["backend/web/index.html", "backend/src/main.rs"]
    assert sent(text, ["backend/build.rs"]) == ["backend/build.rs"]
    assert [n.split(":")[0] for n in notes] == ["excludes backend/web/.env, which was previously copied into images"]


def test_the_list_beside_the_dockerfile_wins(tmp_path: Path) -> None:
    for copy in ("COPY . .", "COPY web web"):
        files = {
            **crate(),
            "web/a": "",
            "web/b": "",
            "Dockerfile": f"{BUILD}{RUN}{copy}\n",
            ".dockerignore": "web/a\n",
            "Dockerfile.dockerignore": "web/b\n",
            "compose.yaml": f"{SERVICE}.\n",
        }
        text, _ = ignored(tmp_path / copy.replace(" ", "-"), files)
        assert sent(text, ["web/a", "web/b", "src/main.rs"]) == ["web/a", "src/main.rs"]


def test_what_is_copied_by_name_is_there(tmp_path: Path) -> None:
    """Even with a name that is usually excluded; also Markdown files that are added to a copied directory later."""
    files = {
        **crate(),
        ".env": "",
        "pages/one.html": "",
        "Dockerfile": f"{BUILD}{RUN}COPY .env .\nCOPY pages pages\n",
        "compose.yaml": f"{SERVICE}.\n",
    }
    text, notes = ignored(tmp_path, files)
    assert sent(text, [".env", "pages/one.html", "pages/later.md"]) == [".env", "pages/one.html", "pages/later.md"]
    assert notes == []


def test_a_whole_context_stays_without_what_its_own_list_excludes(tmp_path: Path) -> None:
    """Also inside source directories."""
    files = {
        **crate(),
        "src/keys/one.pem": "",
        "docs/a": "",
        ".env": "",
        "Dockerfile": f"{BUILD}{RUN}COPY . .\n",
        ".dockerignore": "docs\nsrc/keys/\n.env\n",
        "compose.yaml": f"{SERVICE}.\n",
    }
    files["src/keys/two.rs"] = ""
    text, notes = ignored(tmp_path, files)
    assert sent(text, ["docs/a", ".env", "src/main.rs", "README.md"]) == ["src/main.rs", "README.md"]
    assert notes == []


PART = st.sampled_from(("*", "**", "a", "b", "a*", "?", "**b", "a**", "[ab]"))
LINE = st.tuples(st.booleans(), st.lists(PART, min_size=1, max_size=4)).map(
    lambda one: ("!" if one[0] else "") + "/".join(one[1])
)
NAMES = ("a", "b", "ab")
PATHS = [f"{x}/{y}/{z}" for x in NAMES for y in NAMES for z in NAMES]


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=5), st.sampled_from((".", "a")), st.sampled_from(("a", "a/b", "a/a/b")))
@example(["a**/b"], ".", "a/b")
def test_inside_a_directory_the_lines_mean_the_same(patterns: list[str], context: str, directory: str) -> None:
    """The oracle is the list itself, in its context. A directory that it excludes completely could not be copied."""
    theirs = Ignore.parse("\n".join(patterns))
    prefix = "" if context == "." else f"{context}/"
    paths = [f"{directory}/{p}" for p in (*PATHS, *NAMES)]
    before = [p for p in paths if not theirs.excludes(p.removeprefix(prefix))]
    given_tree = tree.make(Path("/none"), (), {f"{prefix}.dockerignore": "\n".join(patterns)})
    found = excluded.lines(given_tree, [Service("app", ".", "app", context)], directory)
    if before:
        assert sent("\n".join(found), paths) == before


def test_a_pattern_that_docker_refuses_is_left_to_docker(tmp_path: Path) -> None:
    for copy in ("COPY . .", "COPY web web"):
        files = {
            **crate(),
            "web/a": "",
            "Dockerfile": f"{BUILD}{RUN}{copy}\n",
            ".dockerignore": "[z-a]\n",
            "compose.yaml": f"{SERVICE}.\n",
        }
        _, notes = ignored(tmp_path / copy.replace(" ", "-"), files)
        assert notes == []
