"""Lines of public Dockerfiles that used to change the image without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_adopt_recipes import derived

RUN = "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/app /bin/app\n"
START = "FROM rust:1-bookworm AS build\nWORKDIR /app\n"
SOURCES = "COPY . .\nRUN cargo build --release\n"


def stage(text: str, name: str) -> str:
    """Return the lines of one stage."""
    return text.split(f" AS {name}\n")[1].split("\nFROM ")[0]


@pytest.mark.parametrize("name", ["FEATURES", "PROFILE", "NO_DEFAULT_FEATURES", "BIN"])
def test_a_variable_with_the_name_of_our_argument_does_not_override_it(tmp_path: Path, name: str) -> None:
    """ENV wins over ARG, so cargo would not see the argument's value."""
    head = f'ARG {name}="x"\n{START}ARG {name}\nENV {name}=${{{name}}}\nRUN curl -O https://e.example/x && tar xf x\n'
    text, _ = derived(tmp_path, head + SOURCES + RUN)
    assert f"ENV {name}" not in text
    assert f"ARG {name}" in stage(text, "compile")


def test_variables_precede_their_use_in_the_toolchain_stage(tmp_path: Path) -> None:
    head = f"{START}ENV TOOLS=/opt/tools\nENV PATH=$TOOLS/bin:$PATH\nARG LEVEL=3\nENV LEVEL=${{LEVEL}}\n"
    text, _ = derived(tmp_path, f"{head}RUN make-tools\n{SOURCES}{RUN}")
    lines = stage(text, "toolchain").split("\n")
    assert lines.index('ENV TOOLS="/opt/tools"') < lines.index('ENV PATH="$TOOLS/bin:$PATH"')
    assert lines.index('ARG LEVEL="3"') < lines.index('ENV LEVEL="${LEVEL}"') < lines.index("RUN make-tools")


def test_home_of_the_old_user_stays_in_flags(tmp_path: Path) -> None:
    head = f'ARG HOME=/home/app\n{START}ARG HOME\nENV RUSTFLAGS="--remap-path-prefix=${{HOME}}=/app"\n'
    text, _ = derived(tmp_path, head + SOURCES + RUN)
    assert 'ARG RUSTFLAGS="--remap-path-prefix=/home/app=/app"' in stage(text, "compile")
    assert "RUSTFLAGS" not in stage(text, "toolchain")


@pytest.mark.parametrize("given", ["rm -r $CARGO_HOME/registry", "rm -rf /usr/local/cargo/registry"])
def test_the_clean_up_after_cargo_install_is_not_run_without_it(tmp_path: Path, given: str) -> None:
    """The toolchain image has no registry, so `rm` would fail."""
    head = f"FROM rust:1-bookworm AS build\nRUN cargo install cargo-chef --locked && {given}\nWORKDIR /app\n"
    text, notes = derived(tmp_path, f"{head}RUN apt-get update && make-it && {given}\n{SOURCES}{RUN}")
    assert "RUN make-it\n" in text
    assert "rm -r" not in stage(text, "toolchain").replace("rm -rf /var/lib/apt/lists", "")
    assert notes == []


def test_files_that_commands_put_next_to_the_output_of_cargo(tmp_path: Path) -> None:
    head = f"{START}COPY . .\nRUN mkdir -p target/site\nRUN npm run css\nRUN cp -a static/. target/site/\n"
    end = f"RUN cargo build --release\n{RUN}COPY --from=build /app/target/site /srv/site\n"
    text, notes = derived(tmp_path, head + end)
    lines = stage(text, "sources")
    assert "RUN mkdir -p target/site\n" in lines
    assert "RUN cp -a static/. target/site/\n" in lines
    assert "COPY --from=sources /app/target/site /srv/site" in text
    assert notes == []


@pytest.mark.parametrize(
    ("shell", "profile", "notes"),
    [
        ('FLAG="" && if [ "$MODE" = "fast" ]; then FLAG="--release"; fi && cargo build $FLAG', "", []),
        ('FLAG="" && if [ "$MODE" = "slow" ]; then FLAG="--release"; fi && cargo build ${FLAG}', "dev", []),
        ("FLAG=--profile=dist; cargo build ${FLAG}", "dist", []),
        ("cargo build --release $NOTHING", "", []),
        (
            'if [ -f x ]; then FLAG="--release"; fi && cargo build $FLAG',
            "dev",
            ["Dockerfile: app was compiled with `${FLAG}`, which was not converted"],
        ),
        (
            "FLAG=$(cat flags) && cargo build --release $FLAG",
            "",
            ["Dockerfile: app was compiled with `${FLAG}`, which was not converted"],
        ),
    ],
)
def test_options_in_shell_variables(tmp_path: Path, shell: str, profile: str, notes: list[str]) -> None:
    head = f"{START}ARG MODE=fast\nARG NOTHING\nCOPY . .\nRUN {shell} && cp target/*/app /app/app\n"
    made, found = derived(tmp_path, f"{head}FROM debian:bookworm-slim\nCOPY --from=build /app/app /bin/app\n")
    assert (f"ARG PROFILE={profile or 'release'}\n") in made
    assert found == notes
