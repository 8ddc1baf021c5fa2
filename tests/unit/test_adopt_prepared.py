"""Commands of a compile stage that prepare the sources run before cargo, in a stage with the same paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.survey import look
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.unit.test_adopt_recipes import CRATE, derived, understand

START = "FROM rust:1-bookworm AS build\nWORKDIR /app\n"
COMPILE = "RUN cargo build --release\n"
IMAGE = "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/app /bin/app\n"
WEB = "RUN npm --prefix web ci && npm --prefix web run build\n"
MOUNT = "--mount=type=bind,from=sources,source=/app,target=/context"


def stage(text: str) -> list[str]:
    """Return the instructions of the stage `sources`, or nothing if there is no such stage."""
    if "AS sources\n" not in text:
        return []
    lines = text.partition("AS sources\n")[2].partition("\nFROM ")[0].split("\n")
    return [line.strip().removesuffix(" \\") for line in lines if line.strip() and "--mount=type=" not in line]


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        (f"COPY . .\n{WEB}{COMPILE}", ["WORKDIR /app", "COPY . .", WEB.strip().removeprefix("RUN ")]),
        # in the command that compiles, with its directory
        (
            "COPY . .\nRUN cd web && npm ci && cd .. && cargo build --release && strip target/release/app\n",
            ["WORKDIR /app", "COPY . .", "cd web && npm ci && cd .."],
        ),
        # dependency lists first, a stub that compiles, variables
        (
            "ENV MODE=fast\nCOPY web/package.json web/\nRUN cd web && npm ci\nCOPY Cargo.toml .\n"
            "RUN mkdir src && echo 'fn main() {}' > src/main.rs && cargo build\nRUN rm -rf src\nCOPY . .\n"
            f"RUN ./gen.sh $MODE\n{COMPILE}",
            [
                *("WORKDIR /app", 'ENV MODE="fast"', "COPY web/package.json web/", "cd web && npm ci"),
                *("COPY Cargo.toml .", "RUN mkdir src", "COPY . .", "RUN ./gen.sh $MODE"),
            ],
        ),
        (
            "COPY . ./\nRUN if [ -d web ]; then \\\n  make; fi\nRUN mkdir -p gen\nRUN touch src/main.rs\n" + COMPILE,
            ["WORKDIR /app", "COPY . ./", "RUN if [ -d web ]; then", "make; fi", "RUN mkdir -p gen"],
        ),
        (
            "WORKDIR /tmp/tools\nCOPY web/get.sh .\nRUN ./get.sh\nWORKDIR /app\nCOPY . .\nRUN ./gen.sh\n" + COMPILE,
            [
                *("WORKDIR /app", "WORKDIR /tmp/tools", "COPY web/get.sh .", "RUN ./get.sh"),
                *("WORKDIR /app", "COPY . .", "RUN ./gen.sh"),
            ],
        ),
        (
            f"COPY web web\n{WEB}COPY Cargo.toml Cargo.lock ./\nCOPY src src/\n{COMPILE}",
            [
                *("WORKDIR /app", "COPY web web", WEB.strip().removeprefix("RUN ")),
                *("COPY Cargo.toml Cargo.lock ./", "COPY src src/"),
            ],
        ),
        (
            "RUN cargo install wasm-pack\nCOPY . .\nRUN ./build.sh\n" + COMPILE,
            [
                "cargo install wasm-pack",
                "WORKDIR /app",
                "COPY . .",
                "RUN ./build.sh",
            ],
        ),
    ],
)
def test_commands_before_cargo_run_in_a_stage_of_their_own(tmp_path: Path, middle: str, expected: list[str]) -> None:
    text, notes = derived(tmp_path, START + middle + IMAGE, {"web/package.json": "{}\n"})
    assert stage(text) == ["ARG CACHE_SCOPE", *expected]
    assert MOUNT in text
    assert text.index("AS toolchain") < text.index("AS sources") < text.index("AS compile")
    assert notes == []


def test_the_context_has_what_the_commands_may_read_and_the_user_is_told(tmp_path: Path) -> None:
    dockerfile = START + f"COPY . .\n{WEB}{COMPILE}" + IMAGE
    found, finding = understand(tmp_path, dockerfile, {"web/package.json": "{}\n", ".dockerignore": "docs\n"})
    written = adopted.write(found, finding)
    ignored = written.texts["docker/Dockerfile.dockerignore"].split("\n")
    assert "docs" in ignored
    assert "*" not in ignored
    assert [(n.where, n.text.partition(":")[0]) for n in written.notes if "sources" in n.text] == [
        ("Dockerfile:4", "now runs before cargo, in the stage `sources`")
    ]


def test_an_image_gets_the_files_as_the_commands_left_them(tmp_path: Path) -> None:
    image = IMAGE + "COPY --from=build /app/static /srv/static\nCOPY --from=build /app/web/dist /srv/web\n"
    text, notes = derived(tmp_path, START + f"COPY . .\n{WEB}{COMPILE}" + image)
    assert "COPY --from=sources /app/static /srv/static\n" in text
    assert "COPY --from=sources /app/web/dist /srv/web\n" in text
    assert notes == []


def test_files_of_other_stages_are_there_before_the_commands(tmp_path: Path) -> None:
    side = "FROM node:22 AS web\nCOPY web /web\nRUN make -C /web\n"
    middle = f"COPY . .\nCOPY --from=web /web/dist static/dist\nRUN ./hash.sh static\n{COMPILE}"
    text, notes = derived(tmp_path, side + START + middle + IMAGE)
    assert stage(text)[-2:] == ["COPY --from=web /web/dist static/dist", "RUN ./hash.sh static"]
    assert text.count("COPY --from=web") == 1
    assert notes == []


@pytest.mark.parametrize(
    ("dockerfile", "line"),
    [
        # it may need the program
        (START + f"COPY . .\n{COMPILE}RUN ./package.sh\n" + IMAGE, 5),
        (START + "COPY . .\nRUN cargo build --release && ./package.sh\n" + IMAGE, 4),
        (START + "COPY . .\nRUN ./package.sh target/release\n" + COMPILE + IMAGE, 4),
        # the location of the repository in the stage is unclear
        (START + f"COPY Cargo.toml Cargo.lock ./\nCOPY src program/src\nRUN ./gen.sh\n{COMPILE}" + IMAGE, 5),
    ],
)
def test_a_command_that_may_need_more_is_listed(tmp_path: Path, dockerfile: str, line: int) -> None:
    text, notes = derived(tmp_path, dockerfile)
    assert "sources" not in text
    assert [n.partition(": ")[0] for n in notes] == [f"Dockerfile:{line}"]


def test_dockerfiles_that_prepare_the_sources_in_different_ways_are_listed(tmp_path: Path) -> None:
    compose = "name: shop\nservices:\n  a:\n    build: .\n  b:\n    build: {context: ., dockerfile: b.Dockerfile}\n"
    other = START + f"COPY . .\nRUN ./other.sh\n{COMPILE}" + IMAGE
    files = {**CRATE, "Dockerfile": START + f"COPY . .\n{WEB}{COMPILE}" + IMAGE, "b.Dockerfile": other}
    repositories.write(tmp_path, {**files, "compose.yaml": compose})
    read = tree.read(tmp_path)
    written = adopted.write(read, look.find(read, repositories.resolved(tmp_path, compose), ("compose.yaml",)))
    assert "AS sources" not in written.texts["docker/Dockerfile"]
    assert [n.where for n in written.notes if n.open] == ["Dockerfile:4", "b.Dockerfile:4"]


@pytest.mark.parametrize(
    "command",
    [
        "export TOKEN=$(cat /run/secrets/token) && cargo build --release",
        "echo x > ~/.npmrc && cargo build --release",
        "ln -s /opt/lib /usr/lib/lib && cargo build --release",
    ],
)
def test_what_acts_on_cargo_itself_does_not_move_to_another_stage(tmp_path: Path, command: str) -> None:
    text, notes = derived(tmp_path, START + f"COPY . .\nRUN {command}\n" + IMAGE)
    assert "sources" not in text
    assert ("echo x" in command) or [n.partition(": ")[0] for n in notes] == ["Dockerfile:4"]


def test_git_s_configuration_is_that_of_the_stage_in_which_cargo_runs(tmp_path: Path) -> None:
    command = 'RUN git config --global url."https://example.org/".insteadOf ssh://git@example.org/\n'
    text, notes = derived(tmp_path, START + f"COPY . .\n{command}{COMPILE}" + IMAGE)
    assert text.index("AS toolchain") < text.index("git config --global url") < text.index("AS compile")
    assert "sources" not in text
    assert notes == []


def test_a_variable_for_a_generator_and_for_cargo_is_set_for_both(tmp_path: Path) -> None:
    dockerfile = START + "COPY . .\nRUN export MODE=1 && ./gen.sh && cargo build --release\n" + IMAGE
    text, notes = derived(tmp_path, dockerfile)
    assert stage(text)[-1] == "RUN export MODE=1 && ./gen.sh"
    assert 'ENV MODE="1"' in text.partition("AS compile")[2]
    assert notes == []


def test_a_program_that_is_downloaded_after_the_sources_is_there_for_cargo(tmp_path: Path) -> None:
    get = "RUN curl -LO https://example.org/protoc.zip \\\n    && unzip protoc.zip -d /usr/local && rm protoc.zip\n"
    text, notes = derived(tmp_path, START + f"COPY . .\n{get}{COMPILE}" + IMAGE)
    assert text.index("AS toolchain") < text.index("unzip protoc.zip -d /usr/local") < text.index("AS compile")
    assert "sources" not in text
    assert notes == []
