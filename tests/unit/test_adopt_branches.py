"""Which cargo command of a Dockerfile runs, compared with the real `sh`."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import cargo_command
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Service
from buildkit_tasks.workspaces import tree
from tests.support import process, repositories
from tests.support.repositories import manifest

WORDS = st.sampled_from(["", "release", "dev", "a b"])
TESTS = st.sampled_from(
    ['"$P" = {}', "$P != {}", '-n "$P"', '-z "$P"', '"${{P}}" == {}', '"x$P" = {}', '"$P" = "$Q"', "! -n {}"]
)


@given(WORDS, WORDS, WORDS, TESTS, st.booleans(), st.sampled_from(["[ {} ]", "test {}", "[[ {} ]]"]))
def test_an_if_takes_the_branch_that_bash_takes(
    p: str, q: str, literal: str, test: str, inverse: bool, form: str
) -> None:
    condition = form.format(test.format(shlex.quote(literal)))
    script = f"if {condition}; then echo yes; else echo no; fi"
    if inverse:
        script = f"if [ a != a ]; then echo never; else {script}; fi"
    taken = cargo_command.branches_taken(syntax.expand(script, {"P": p, "Q": q}, keep=True))
    if "if " in taken:
        return  # unchanged: nothing was decided
    theirs = process.run(["bash", "-c", script], Path.cwd(), {"P": p, "Q": q})
    if theirs.err:
        return  # not a condition that bash accepts, such as an unquoted word with a space
    assert process.ok(["bash", "-c", taken], Path.cwd()).out == theirs.out, taken


@pytest.mark.parametrize(
    ("script", "profile"),
    [
        ('if [ "$PROFILE" = "release" ]; then cargo build --release; else cargo build; fi', "release"),
        ('if [ "$PROFILE" = "dev" ]; then cargo build; else cargo build --release; fi', "release"),
        ('if [ "$PROFILE" != "release" ]; then cargo build --release; else cargo build; fi', "dev"),
        ('cargo build --profile "$PROFILE"', "release"),
    ],
)
def test_the_profile_is_that_of_the_branch_that_runs(script: str, profile: str) -> None:
    items = list(syntax.instructions(f"FROM rust\nARG PROFILE=release\nRUN {script}\n"))
    assert cargo_command.commands(items, {"PROFILE": "release"})[-1].profile == profile


def test_an_argument_with_an_empty_default_is_empty() -> None:
    items = list(
        syntax.instructions('FROM rust\nARG FEATURES=""\nRUN cargo build --release --features "${FEATURES}"\n')
    )
    assert cargo_command.commands(items, {"FEATURES": ""})[-1].features == ()


MEMBERS = {
    "Cargo.toml": '[workspace]\nmembers = ["crates/api", "crates/worker"]\nresolver = "2"\n',
    "Cargo.lock": repositories.locked("api", "worker"),
    **{f"crates/{n}/Cargo.toml": manifest(n, "\n[features]\npg = []\nlite = []") for n in ("api", "worker")},
    **{f"crates/{n}/src/main.rs": "fn main() {}\n" for n in ("api", "worker")},
}
API = "COPY --from=build /app/target/release/api /api\n"
WORKER = "COPY --from=build /app/target/release/worker /worker\n"


def services(place: Path, dockerfile: str, compose: str) -> dict[str, Service]:
    repositories.write(place, {**MEMBERS, "Dockerfile": dockerfile})
    found = look.find(tree.read(place), repositories.resolved(place, compose), ("compose.yaml",))
    assert not found.left
    return {s.name: s for s in found.services}


@pytest.mark.parametrize(
    ("commands", "api", "worker"),
    [
        ("cargo build --release -p api -F pg && cargo build --release -p worker", ("pg",), ()),
        ("cargo build --release --bin api -F pg; cargo build --release --bin worker -F lite", ("pg",), ("lite",)),
        ("cargo install --path crates/api -F pg && cargo install --path crates/worker", ("pg",), ()),
        ("cargo build --release && cargo build --release -p worker --features lite,pg", (), ("lite", "pg")),
        ("cargo build --release -p api -F lite && cargo build --release -F pg", ("pg",), ("pg",)),
        # a tool from the registry has its own features
        ("cargo build --release && cargo install sqlx-cli --no-default-features -F pg", (), ()),
        ("cargo build --release -F pg && cargo install --git https://example.org/tool tool -F x", ("pg",), ("pg",)),
    ],
)
def test_the_options_are_those_of_the_command_that_builds_the_program(
    tmp_path: Path, commands: str, api: tuple[str, ...], worker: tuple[str, ...]
) -> None:
    stages = f"FROM rust:1 AS build\nWORKDIR /app\nCOPY . .\nRUN {commands}\n"
    stages += f"FROM debian:bookworm-slim AS one\n{API}FROM debian:bookworm-slim AS two\n{WORKER}"
    compose = "services:\n" + "".join(
        f"  {name}:\n    build: {{context: ., target: {target}}}\n"
        for name, target in (("api", "one"), ("worker", "two"))
    )
    found = services(tmp_path, stages, compose)
    assert (found["api"].features, found["worker"].features) == (api, worker)
    assert all(s.default_features and s.profile == "release" for s in found.values())


def test_the_options_are_those_of_the_stage_that_the_image_copies_from(tmp_path: Path) -> None:
    base = "FROM rust:1 AS base\nWORKDIR /app\nCOPY . .\n"
    build = "FROM base AS build\nRUN cargo build --release -F pg\n"
    debug = "FROM base AS debug\nRUN cargo build -F lite\n"
    end = f"FROM debian:bookworm-slim\n{API}FROM debian:bookworm-slim AS dev\n"
    end += API.replace("build", "debug").replace("release", "debug")
    for number, stages in enumerate((build + debug, debug + build)):
        compose = "services:\n  api:\n    build: {context: ., target: dev}\n"
        dev = services(tmp_path / f"{number}dev", base + stages + end, compose)["api"]
        assert (dev.features, dev.profile) == (("lite",), "dev")
        shipped = end.partition("FROM debian:bookworm-slim AS dev")[0]
        api = services(tmp_path / f"{number}", base + stages + shipped, "services:\n  api:\n    build: .\n")["api"]
        assert (api.features, api.profile) == (("pg",), "release")


TWO = {
    f"{n}/{path}": text
    for n in ("api", "worker")
    for path, text in (
        ("Cargo.toml", manifest(n)),
        ("Cargo.lock", repositories.locked(n)),
        ("src/main.rs", "fn main() {}\n"),
    )
}


@pytest.mark.parametrize("used", [True, False])
def test_programs_of_several_workspaces_from_one_stage_are_not_converted(tmp_path: Path, used: bool) -> None:
    stage = "FROM rust:1 AS build\nCOPY . /app\nRUN cd /app/api && cargo build --release\n"
    stage += "RUN cd /app/worker && cargo build --release\nFROM debian:bookworm-slim\n"
    ends = "".join(f"COPY --from=build /app/{n}/target/release/{n} /{n}\n" for n in ("api", "worker"))
    compose = f"services:\n  both:\n    {'build: .' if used else 'image: postgres:15'}\n"
    repositories.write(tmp_path, {**TWO, "Dockerfile": stage + ends})
    found = look.find(tree.read(tmp_path), repositories.resolved(tmp_path, compose), ("compose.yaml",))
    assert not found.services
    reasons = [left.why for left in found.left] if used else [note.text for note in found.notes]
    assert len(reasons) == 1
    assert "ships programs from several workspaces (api, worker) in one stage" in reasons[0]


@pytest.mark.parametrize(
    ("command", "path", "converted"),
    [
        ("", "/app/worker", True),  # the sources of that workspace
        (" && cargo build && cp target/debug/worker /app/out/worker", "/app/out/worker", False),
        (" && cargo install --path worker --root /usr", "/usr/bin/worker", False),
    ],
)
def test_a_directory_with_the_name_of_a_program_is_no_program(
    tmp_path: Path, command: str, path: str, converted: bool
) -> None:
    stage = f"FROM rust:1 AS build\nCOPY . /app\nRUN cd /app/api && cargo build --release{command}\n"
    stage += (
        f"FROM debian:bookworm-slim\nCOPY --from=build /app/api/target/release/api /api\nCOPY --from=build {path} /w\n"
    )
    repositories.write(tmp_path, {**TWO, "Dockerfile": stage})
    compose = "services:\n  api:\n    build: .\n"
    found = look.find(tree.read(tmp_path), repositories.resolved(tmp_path, compose), ("compose.yaml",))
    assert bool(found.services) is converted
