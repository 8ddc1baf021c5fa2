"""What `init --check` reports about variables that compose requires, including the file that sets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import check, record
from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Finding, Note
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.support.repositories import Files, manifest


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, "add NAME=VALUE to .env"),
        ({"deploy.env": "A=1\nB=2\n"}, "run `cp deploy.env .env`"),
        ({"env.template": "A=1\n", "deploy.env": "A=1\nB=2\n"}, "run `cp deploy.env .env`"),
        ({"env.template": "A=1\nB=\n"}, "run `cp env.template .env`, then set the remaining 1"),
        ({"a b.env": "A=1\nB=2\n"}, "run `cp 'a b.env' .env`"),
        ({"deep/deploy.env": "A=1\nB=2\n", "environment": "A=1\nB=2\n"}, "add NAME=VALUE to .env"),
        ({"broken.env": "A='1\n"}, "add NAME=VALUE to .env"),
    ],
)
def test_the_file_that_sets_what_compose_requires_is_named(
    tmp_path: Path, texts: dict[str, str], expected: str
) -> None:
    (note,) = check.variables(tree.make(tmp_path, (), texts), "compose.yaml", ["A", "B"])
    assert note.open
    assert note.text == f"compose requires a value for A, B: {expected}"


def test_the_file_is_looked_for_beside_the_compose_file(tmp_path: Path) -> None:
    files = tree.make(tmp_path, (), {"run/.env.example": "A=1\n", "deploy.env": "A=1\n"})
    (note,) = check.variables(files, "run/compose.yaml", ["A"])
    assert note.where == "run/.env"
    assert note.text.endswith("run `cp run/.env.example run/.env`")


def test_nothing_is_said_if_all_is_set(tmp_path: Path) -> None:
    assert check.variables(tree.make(tmp_path, (), {"deploy.env": "A=1\n"}), "compose.yaml", []) == []


@pytest.mark.parametrize(
    ("version", "members", "wanted"),
    [
        ("0.8.2", 1, "`cargo sqlx prepare --workspace` and commit .sqlx"),
        ("0.6.3", 1, "`cargo sqlx prepare` and commit sqlx-data.json"),
        ("0.5.9", 2, "`cargo sqlx prepare --merged` and commit sqlx-data.json"),
    ],
)
def test_prepared_queries_are_asked_for_in_the_words_of_their_version(
    tmp_path: Path, version: str, members: int, wanted: str
) -> None:
    names = ["app", "jobs"][:members]
    listed = ", ".join(f'"{name}"' for name in names)
    files: Files = {"Cargo.toml": f"[workspace]\nmembers = [{listed}]\n"}
    for name in names:
        files[f"{name}/Cargo.toml"] = manifest(name, '\n[dependencies]\nsqlx = "0"')
        files[f"{name}/src/main.rs"] = 'fn main() { sqlx::query!("select 1"); }\n'
    lock = repositories.locked(*(f"{name}: sqlx" for name in names), "sqlx: sqlx-macros", "sqlx-macros")
    files["Cargo.lock"] = lock.replace('"sqlx"\nversion = "0.1.0"', f'"sqlx"\nversion = "{version}"')
    repositories.write(tmp_path, files)
    notes = [note.text for note in look.find(tree.read(tmp_path), {}, ()).notes]
    assert len(notes) == 1
    assert wanted in notes[0]


@pytest.mark.parametrize(
    ("image", "version", "said"),
    [
        ("rust:1-bookworm", "0.3.22", True),
        ("rust:latest", "0.3.34", True),
        ("rust:1.85-slim", "0.3.22", True),
        ("rust:1.70.0-slim-bullseye", "0.3.22", False),
        ("rust:1-bookworm", "0.3.36", False),
        ("rust:1-bookworm", "0.1.45", False),
    ],
)
def test_a_crate_that_newer_compilers_reject_is_named_before_the_build(
    tmp_path: Path, image: str, version: str, said: bool
) -> None:
    lock = repositories.locked("app: time", "time").replace(
        '"time"\nversion = "0.1.0"', f'"time"\nversion = "{version}"'
    )
    dockerfile = (
        f"FROM {image} AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\nFROM debian:bookworm-slim\n"
        "COPY --from=build /app/target/release/app /bin/app\n"
    )
    files: Files = {"Cargo.toml": manifest("app"), "Cargo.lock": lock, "src/main.rs": "fn main() {}\n"}
    repositories.write(tmp_path, {**files, "Dockerfile": dockerfile})
    found = tree.read(tmp_path)
    notes = [note.text for note in adopted.write(found, look.find(found, {}, ())).notes if note.open]
    fix = f"run `cargo update -p time@{version}` and commit Cargo.lock"
    wanted = f"time {version} does not compile with Rust 1.80 or newer: {fix}"
    assert notes == ([wanted] if said else [])


@pytest.mark.parametrize(("crate", "missing"), [("curl-sys", False), ("pq-sys", True)])
def test_a_package_is_missing_only_if_the_crate_cannot_do_without(tmp_path: Path, crate: str, missing: bool) -> None:
    """curl-sys compiles its own copy without the package."""
    files: Files = {
        "Cargo.toml": manifest("app"),
        "Cargo.lock": repositories.locked("app"),
        "src/main.rs": "fn main() {}\n",
        "Dockerfile": "FROM rust:1 AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\n"
        "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/app /bin/app\n",
        "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
    }
    repositories.write(tmp_path, files)

    def found() -> tuple[tree.Tree, Finding]:
        read, text = tree.read(tmp_path), (tmp_path / "compose.yaml").read_text()
        return read, look.find(read, repositories.resolved(tmp_path, text), ("compose.yaml",))

    repositories.write(tmp_path, adopted.write(*found()).texts)
    repositories.write(tmp_path, {"Cargo.lock": repositories.locked(f"app: {crate}", crate)})
    said = [note.text for note in check.check(*found()) if "BUILD_PACKAGES" in note.text]
    assert bool(said) is missing


def test_a_program_that_a_source_starts_is_no_file(tmp_path: Path) -> None:
    start = 'let path = dir(1);\n    std::process::Command::new("docker").arg(path);\n'
    files: Files = {
        "Cargo.toml": manifest("app"),
        "Cargo.lock": repositories.locked("app"),
        "src/main.rs": f"fn dir(_: u8) -> u8 {{ 0 }}\nfn main() {{\n    {start}}}\n",
        "docker/notes": "",
        "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
    }
    repositories.write(tmp_path, files)
    read = tree.read(tmp_path)
    finding = look.find(read, repositories.resolved(tmp_path, files["compose.yaml"]), ("compose.yaml",))
    assert "docker" not in finding.workspaces[0].reach.paths


def test_what_was_not_converted_is_recorded_until_its_dockerfile_is_deleted(tmp_path: Path) -> None:
    listed = Note("Dockerfile:5", "not converted: RUN make", True)
    notes = [listed, Note("Dockerfile:6", "moved"), Note("Cargo.lock", "missing", True)]
    pairs = check.unconverted(notes, {"Dockerfile": ""})
    assert record.load(record.dump(record.Record(unconverted=pairs))).unconverted == pairs
    assert check.still_there(tree.make(tmp_path, ("Dockerfile",), {}), pairs) == (listed,)
    assert check.still_there(tree.make(tmp_path, (), {}), pairs) == ()
