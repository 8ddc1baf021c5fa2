"""Lines of public Dockerfiles that used to change the image without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.survey import look
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.unit.test_adopt_recipes import CRATE, derived, understand

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


def test_an_image_on_alpine_that_debian_cannot_replace_keeps_its_images(tmp_path: Path) -> None:
    head = START.replace("rust:1-bookworm", "rust:1-alpine") + "RUN apk add musl-dev\n" + SOURCES
    end = "FROM node:20-alpine\nRUN apk add tini\nCOPY --from=build /app/target/release/app /bin/app\n"
    text, _ = derived(tmp_path, head + end, images="bookworm")
    assert "ARG RUST_IMAGE=rust:1-alpine\nARG RUNTIME_IMAGE=node:20-alpine\n" in text
    assert "apk add" in stage(text, "runtime")


def test_commands_of_an_image_that_debian_cannot_replace_are_kept(tmp_path: Path) -> None:
    end = "FROM node:20-trixie-slim\nRUN apt-get update && apt-get install -y libssl3t64=3.5\n"
    end += "COPY --from=build /app/target/release/app /bin/app\n"
    text, _ = derived(tmp_path, START + SOURCES + end, images="bookworm")
    assert "ARG RUNTIME_IMAGE=node:20-trixie-slim\n" in text
    assert "libssl3t64" in text


@pytest.mark.parametrize("image", ["nixos/nix:2.24", "nvidia/cuda:13.0-devel-ubuntu24.04", "ghcr.io/acme/builder:1"])
def test_a_compile_image_with_tools_of_its_own_is_named(tmp_path: Path, image: str) -> None:
    _, notes = derived(tmp_path, START.replace("rust:1-bookworm", image) + SOURCES + RUN, images="bookworm")
    assert notes == [
        f"Dockerfile: app was compiled in {image} and is now compiled in rust:1-bookworm, which may lack some tools"
    ]


@pytest.mark.parametrize(
    ("image", "lines", "place"),
    [
        ("gcr.io/distroless/cc-debian12:nonroot", "", "/home/nonroot/app"),
        ("gcr.io/distroless/cc-debian12", "", "/app"),
        ("ghcr.io/acme/runtime:1", "", "./app"),
        ("ghcr.io/acme/runtime:1", "WORKDIR /srv\n", "/srv/app"),
        ("ghcr.io/acme/runtime:1", "WORKDIR bin\n", "./app"),
        ("debian:bookworm-slim", "", "/app"),
    ],
)
def test_a_relative_destination_is_in_the_directory_of_the_base_image(
    tmp_path: Path, image: str, lines: str, place: str
) -> None:
    end = f"FROM {image}\n{lines}COPY --from=build /app/target/release/app ./\n"
    text, _ = derived(tmp_path, f'{START}{SOURCES}{end}CMD ["./app"]\n')
    assert f"bin/service {place}\n" in text


def test_debian_takes_over_the_home_of_nonroot(tmp_path: Path) -> None:
    end = "FROM gcr.io/distroless/cc-debian12:nonroot\nCOPY --from=build /app/target/release/app ./\n"
    text, _ = derived(tmp_path, f"{START}{SOURCES}{end}", images="bookworm")
    assert "USER 65532:65532\nENV HOME=/home/nonroot\nWORKDIR /home/nonroot\n" in text
    assert "bin/service /home/nonroot/app\n" in text


@pytest.mark.parametrize("ignored", ["/assets/*.css\n/assets/img/*\n", "assets\n", "assets/*\n!assets/keep.css\n"])
def test_what_the_compiler_reads_is_in_a_context_copied_whole(tmp_path: Path, ignored: str) -> None:
    """`!assets` alone does not include files again that a pattern for files excludes."""
    more = {
        ".dockerignore": ignored,
        "assets/a.css": "",
        "assets/img/b.svg": "",
        "assets/keep.css": "",
        "src/main.rs": 'const ALL: Dir = include_dir!("$CARGO_MANIFEST_DIR/assets");\nfn main() {}\n',
    }
    head = f"{START}COPY . .\nRUN npm run css\nRUN cargo build --release\n"
    found, finding = understand(tmp_path, head + RUN, more)
    text = adopted.write(found, finding).texts["docker/Dockerfile.dockerignore"]
    ignore = Ignore.parse(text)
    assert "A stage copies the whole context" in text
    assert [p for p in more if p.startswith("assets/") and ignore.excludes(p)] == []


@pytest.mark.parametrize(
    "shell",
    [
        'RUSTFLAGS="${RUSTFLAGS}" cargo build --release',
        "export CARGO_BUILD_JOBS=$(nproc) && cargo build --release",
        '[ -n "$RUSTFLAGS" ] && export RUSTFLAGS="$RUSTFLAGS" || true; cargo build --release',
        "if [ -n x ]; then env CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc cargo build --release; fi",
    ],
)
def test_a_variable_that_changes_nothing_needs_no_note(tmp_path: Path, shell: str) -> None:
    _, notes = derived(tmp_path, f'{START}ARG RUSTFLAGS="-g"\nCOPY . .\nRUN {shell}\n{RUN}')
    assert notes == []


def test_sccache_is_replaced_with_its_variables(tmp_path: Path) -> None:
    head = f"{START}ENV SCCACHE_BUCKET=shop\nCOPY . .\nRUN ci/sccache-setup.sh v0.8\n"
    head += "RUN . ci/sccache-env.sh && cargo build --release && sccache --show-stats\n"
    text, notes = derived(tmp_path, head + RUN)
    assert "sccache" not in text.lower()
    assert notes == []


def test_the_command_that_was_not_converted_is_named(tmp_path: Path) -> None:
    run = "RUN --mount=type=cache,target=/app/target \\\n    cargo build --release && ./sign.sh app\n"
    _, notes = derived(tmp_path, f"{START}COPY . .\n{run}{RUN}")
    assert notes == ["Dockerfile:4: this command in the compile stage was not converted: RUN ./sign.sh app"]


def test_commands_that_read_the_context_from_a_mount_do_not_run_in_the_toolchain_stage(tmp_path: Path) -> None:
    run = "RUN --mount=type=bind,source=src,target=src --mount=type=bind,source=Cargo.toml,target=Cargo.toml \\\n"
    text, notes = derived(tmp_path, f"{START}{run}    ./src/gen.sh && cargo build --release\n{RUN}")
    assert "gen.sh" not in text
    assert notes == ["Dockerfile:3: this command in the compile stage was not converted: RUN ./src/gen.sh"]


def test_a_copied_file_is_not_the_whole_context(tmp_path: Path) -> None:
    head = f"{START}COPY Cargo.toml .\nCOPY src src\nCOPY static/ assets/\nRUN cargo build --release\n"
    text, notes = derived(tmp_path, head + RUN)
    assert "AS sources" not in text
    assert notes == []


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        ("ARG FLAGS=--locked\n", "--release $FLAGS", "FLAGS"),
        ("ARG DB=pg\n", "--release --features=db-${DB}", "DB"),
        ("ARG PROFILE=release\nARG APP=app\nARG TARGETARCH\n", "--profile $PROFILE --bin $APP", ""),
    ],
)
def test_arguments_that_selected_cargo_options_are_named(
    tmp_path: Path, arguments: str, options: str, named: str
) -> None:
    found, finding = understand(tmp_path, f"{START}{arguments}COPY . .\nRUN cargo build {options}\n{RUN}")
    notes = [n.text for n in adopted.write(found, finding).notes if "no longer selects" in n.text]
    assert [text.split()[0] for text in notes] == ([named] if named else [])


def test_a_dockerfile_whose_last_stage_is_something_else(tmp_path: Path) -> None:
    """Without a compose file, every target is looked at, even if the default one compiles nothing."""
    dockerfile = f"{START}{SOURCES}{RUN.replace('slim', 'slim AS server')}FROM nginx AS site\nCOPY static /site\n"
    repositories.write(tmp_path, {**{n: t for n, t in CRATE.items() if n != "compose.yaml"}, "Dockerfile": dockerfile})
    finding = look.find(tree.read(tmp_path), {}, ())
    assert [(s.binary, s.recipe.target if s.recipe else "") for s in finding.services] == [("app", "server")]


@pytest.mark.parametrize("end", ["/", "/out/", "."])
def test_several_programs_copied_at_once_out_of_the_target_directory(tmp_path: Path, end: str) -> None:
    folder = {".": "/app/"}.get(end, end)
    build = f'COPY . .\nRUN cargo build --release && cp target/"release"/app \\\n    target/release/migrate {end}\n'
    image = f"FROM debian:bookworm-slim\nCOPY --from=build {folder}migrate {folder}app ./\n"
    text, notes = derived(tmp_path, START + build + image)
    assert "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /app\n" in text
    assert "COPY --from=compile /out/${CACHE_SCOPE}/migrate/bin/service /migrate\n" in text
    assert notes == []
