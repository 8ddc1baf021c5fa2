"""If something is missing in a first build, the build fails and reports it, and following the hint fixes the build."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.adopted import Repository
from tests.support import process

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("base_images")]


@dataclass(frozen=True)
class Case:
    """Files that cause the problem, text of the error, a pattern of the hint, and a function that follows the hint."""

    files: dict[str, str | None]
    says: str
    hint: str
    follow: Callable[[Repository, re.Match[str]], None]


def package(repository: Repository, hint: re.Match[str]) -> None:
    """Add NAMES to `ARG BUILD_PACKAGES=`."""
    path = repository.root / "docker/Dockerfile"
    text = re.sub(r'ARG BUILD_PACKAGES="([^"]*)"', rf'ARG BUILD_PACKAGES="\1 {hint[1]}"', path.read_text(), count=1)
    path.write_text(text)


def line(repository: Repository, hint: re.Match[str]) -> None:
    """Add the line `!PATH` to FILE."""
    with (repository.root / hint[2]).open("a") as file:
        file.write(f"{hint[1]}\n")


def command(repository: Repository, hint: re.Match[str]) -> None:
    """Run a cargo command in the toolchain image: the machine may not have Rust."""
    argv = [
        "docker",
        "run",
        "--rm",
        "-v",
        f"{repository.root}:/w",
        "-w",
        "/w",
        "localhost/buildkit-tasks/rust:1-bookworm",
    ]
    process.ok([*argv, *hint[1].split()], repository.root)


def program(repository: Repository, _hint: re.Match[str]) -> None:
    """Set the build argument BIN."""
    path = repository.root / repository.compose
    path.write_text(path.read_text().replace("BIN: nothing", "BIN: ping"))


BUILD_SCRIPT = (
    'fn main() {{\n    let done = std::process::Command::new("{0}").arg("--version").output();\n'
    '    if done.is_err() {{\n        panic!("{1}");\n    }}\n}}\n'
)
PACKAGES = r"add ([^`]+) to `ARG BUILD_PACKAGES=`"

CASES = {
    "file": Case(
        {"words/a.txt": "ping\n", "src/main.rs": 'fn main() { print!("{}", include_str!("../words/a.txt")); }\n'},
        "The file words/a.txt is not in the build context.",
        r"add the line `(\S+)` to (\S+),",
        line,
    ),
    "library": Case(
        {"build.rs": 'fn main() { println!("cargo:rustc-link-lib=magic"); }\n'},
        "The library magic is not in the toolchain image.",
        PACKAGES,
        package,
    ),
    "program": Case(
        {"build.rs": BUILD_SCRIPT.format("protoc", "Could not find `protoc`. If `protoc` is installed")},
        "The program protoc is not in the toolchain image.",
        PACKAGES,
        package,
    ),
    "linker": Case(
        {".cargo/config.toml": '[target.x86_64-unknown-linux-gnu]\nlinker = "clang"\n'},
        "The program clang is not in the toolchain image.",
        PACKAGES,
        package,
    ),
    "no lock file": Case(
        {"Cargo.lock": None}, "The build context has no Cargo.lock.", r"hint: run `(cargo generate-lockfile)`", command
    ),
    "stale lock file": Case(
        {"Cargo.toml": '[package]\nname = "ping"\nversion = "0.2.0"\nedition = "2021"\n'},
        "Cargo.lock does not match the manifests.",
        r"hint: run `(cargo update --workspace)`",
        command,
    ),
    "no program": Case(
        {"compose.yaml": "BIN: ping=BIN: nothing"},
        "The workspace has no program named nothing.",
        r"set the build argument (BIN)",
        program,
    ),
}


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Create one repository for all cases: its toolchain layer and mounts are created once."""
    made = Repository(tmp_path_factory.mktemp("remedies"), "bare")
    assert made.type("init", "--yes").code == 0
    process.ok(["git", "add", "-A"], made.root)
    process.ok(["git", "-c", "user.email=a@example.org", "-c", "user.name=a", "commit", "-qm", "two"], made.root)
    assert (done := made.type("build")).code == 0, done.all
    return made


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_remedy_works_to_the_letter(adopted: Repository, name: str) -> None:
    case = CASES[name]
    for path, text in case.files.items():
        place = adopted.root / path
        if text is None:
            place.unlink()
        elif "=BIN" in text:
            before, _, after = text.partition("=")
            place.write_text(place.read_text().replace(before, after))
        else:
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)
    try:
        done = adopted.type("build")
        assert done.code == 67, done.all
        assert case.says in done.err
        hint = re.search(case.hint, done.err)
        assert hint, done.err
        case.follow(adopted, hint)
        done = adopted.type("build")
        assert done.code == 0, done.all
        assert adopted.printed("ping") == "ping"
    finally:
        process.ok(["git", "reset", "-q", "--hard"], adopted.root)
        process.ok(["git", "clean", "-qfd"], adopted.root)


def test_nothing_is_left(adopted: Repository) -> None:
    listed = process.run(["docker", "image", "ls", "-q", "--filter", f"reference={adopted.project}*"], Path("/"))
    process.run(["docker", "image", "rm", "-f", *listed.out.split()], Path("/"))
