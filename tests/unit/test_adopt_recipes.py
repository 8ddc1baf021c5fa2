"""Dockerfiles of Rust services in the styles found in public repositories, and how each line is converted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.distributions import bookworm
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Finding
from buildkit_tasks.workspaces import debian, tree
from buildkit_tasks.workspaces.cargo import Locked
from tests.support import repositories
from tests.support.repositories import Files, manifest

CRATE: Files = {
    "Cargo.toml": manifest(
        "app", '\n[[bin]]\nname = "app"\npath = "src/main.rs"\n\n[[bin]]\nname = "migrate"\npath = "src/m.rs"'
    ),
    "Cargo.lock": repositories.locked("app"),
    "src/main.rs": 'const SHA: &str = env!("GIT_SHA");\nfn main() {}\n',
    "src/m.rs": "fn main() {}\n",
    "static/a.css": "a\n",
    "migrations/1.sql": "select 1;\n",
    "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
}


def understand(place: Path, dockerfile: str, more: Files | None = None) -> tuple[tree.Tree, Finding]:
    files = {**CRATE, "Dockerfile": dockerfile, **(more or {})}
    repositories.write(place, files)
    found = tree.read(place)
    return found, look.find(found, repositories.resolved(place, files["compose.yaml"]), ("compose.yaml",))


def derived(place: Path, dockerfile: str, more: Files | None = None, *, images: str = "keep") -> tuple[str, list[str]]:
    """Return our Dockerfile without comments, and the open notes."""
    found, finding = understand(place, dockerfile, more)
    assert [s.name for s in finding.services] == ["app"], finding.left
    if images == "bookworm":
        finding = bookworm.apply(finding)
    written = adopted.write(found, finding)
    lines = [line for line in written.texts["docker/Dockerfile"].split("\n") if not line.startswith("#")]
    return "\n".join(lines), [f"{n.where}: {n.text}" for n in written.notes if n.open]


BUILD = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\nFROM debian:bookworm-slim\n"
END = "COPY --from=build /app/target/release/app /bin/app\n"
TAKEN = "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service "


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        # the destination of the program
        (BUILD + "COPY --from=build /app/target/release/app /usr/local/bin/app\n", TAKEN + "/usr/local/bin/app"),
        (BUILD + "COPY --from=build /app/target/release/app /usr/local/bin\n", TAKEN + "/usr/local/bin/app"),
        (BUILD + "WORKDIR /srv\nCOPY --from=build /app/target/release/app .\n", TAKEN + "/srv/app"),
        *(
            (BUILD + f"WORKDIR /x\n{made}\nCOPY --from=build /app/target/release/app {place}\n", f"{TAKEN}{place}/app")
            for made, place in (
                ("RUN groupadd app && mkdir -m 755 -p bin logs", "/x/bin"),
                ("RUN install -d -o root -m 0755 /x/sbin", "/x/sbin"),
                ("RUN useradd --uid 1000 -ms /bin/bash me", "/home/me"),
                ("RUN adduser -D -h /home/other -s /bin/sh me", "/home/other"),
                ("RUN useradd -r -d /nowhere me", "/var/lib"),
                ("COPY static/a.css /y/static/a.css", "/y"),
                ("COPY static /z", "/z"),
                ("ADD static/a.css static/a.css /v/", "/v"),
            )
        ),
        *(
            (BUILD + f"{made}\nCOPY --from=build /app/target/release/app {place}\n", f"{TAKEN}{place}\n")
            for made, place in (
                ("RUN useradd -r -d /nowhere me", "/nowhere"),
                ("RUN useradd --no-create-home -m me", "/home/me"),
                ("COPY static/a.css /z", "/opt/run"),
            )
        ),
        (BUILD + "WORKDIR /srv\nCOPY --from=build /app/target/release/app ./server\n", TAKEN + "/srv/server"),
        (BUILD + "RUN mkdir -p /opt/x\nCOPY --from=build /app/target/release/app /opt/x\n", TAKEN + "/opt/x/app"),
        (
            BUILD + 'COPY --chown=1:1 --from=build ["/app/target/release/app", "/a b"]\n',
            'COPY --from=compile --chown=1:1 ["/out/${CACHE_SCOPE}/${BIN}/bin/service", "/a b"]',
        ),
        # copied out of the target directory under another name
        (
            "FROM rust AS b\nWORKDIR /app\nCOPY . .\n"
            "RUN --mount=type=cache,target=/app/target cargo build --release && cp target/release/app /bin/server\n"
            "FROM debian:bookworm-slim\nCOPY --from=b /bin/server /bin/server\n",
            TAKEN + "/bin/server",
        ),
        (
            "FROM rust AS b\nCOPY . .\nRUN cargo install --path . --root /usr/local\n"
            "FROM debian:bookworm-slim\nCOPY --from=b /usr/local/bin/app /usr/local/bin/app\n",
            TAKEN + "/usr/local/bin/app",
        ),
        # the directory that contains it
        (
            "FROM rust AS b\nWORKDIR /app\nCOPY . .\nRUN cargo install --path . --locked --root /app\n"
            'FROM debian:bookworm-slim\nCOPY --from=b /app/bin /opt/bin\nENTRYPOINT ["/opt/bin/app"]\n',
            TAKEN + "/opt/bin/app",
        ),
        (
            "FROM rust AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release --bin app\n"
            "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/ /srv/\n",
            TAKEN + "/srv/app",
        ),
        # not copied explicitly: put where the start command expects it
        (
            "FROM rust AS build\nWORKDIR /app\nCOPY . .\nRUN make && cargo build --release --bin app\n"
            'FROM debian:bookworm-slim\nCOPY --from=build /made /srv\nUSER 1000\nCMD ["/srv/app"]\n',
            TAKEN + "/srv/app\nUSER 1000",
        ),
        # a second program, sources, files of the toolchain image, a tool
        (
            BUILD + "COPY --from=build /app/target/release/app /app/target/release/migrate /bin/\n",
            "COPY --from=compile /out/${CACHE_SCOPE}/migrate/bin/service /bin/migrate",
        ),
        (
            BUILD + "COPY --from=build /app/target/release/app /bin/\nCOPY --from=build /app/migrations /m\n",
            "COPY migrations /m",
        ),
        (
            "FROM rust AS b\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\nFROM scratch\n"
            "COPY --from=b /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n"
            "COPY --from=b /app/target/release/app /app\n",
            "COPY --from=toolchain /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/",
        ),
        (
            "FROM rust AS b\nRUN cargo install sqlx-cli --no-default-features\nWORKDIR /app\nCOPY . .\n"
            "RUN cargo build --release\nFROM debian:bookworm-slim\n"
            "COPY --from=b /usr/local/cargo/bin/sqlx /usr/local/bin/\nCOPY --from=b /app/target/release/app /bin/\n",
            "COPY --from=tools /usr/local/cargo/bin/sqlx /usr/local/bin/",
        ),
        # values of the compile stage that cargo or the sources read
        ("FROM rust AS build\nARG GIT_SHA=dev\nENV GIT_SHA=$GIT_SHA\n" + BUILD.split("\n", 1)[1], 'ARG GIT_SHA="dev"'),
        (BUILD.replace("cargo build", "RUSTFLAGS='-C x' SQLX_OFFLINE=true cargo build"), 'ENV SQLX_OFFLINE="true"'),
        (BUILD.replace("--release", "--profile dist"), "ARG PROFILE=dist"),
        (BUILD.replace("COPY . .", "RUN rustup component add rustfmt\nCOPY . ."), "then rustup component add rustfmt"),
        (BUILD.replace("RUN cargo", "RUN --mount=type=ssh cargo"), "--mount=type=ssh"),
        # images
        ("ARG V=1.80\n" + BUILD.replace("rust:1-bookworm", "rust:${V}-bookworm"), "ARG RUST_IMAGE=rust:1.80-bookworm"),
        (BUILD.replace("rust:1-bookworm", "lukemathwalker/cargo-chef:latest-rust-1.79"), "ARG RUST_IMAGE=rust:1.79"),
        (BUILD.replace("debian:bookworm-slim", "gcr.io/distroless/cc"), "ARG RUNTIME_IMAGE=gcr.io/distroless/cc"),
        (
            BUILD.replace("FROM rust", "FROM --platform=$BUILDPLATFORM tonistiigi/xx AS xx\nFROM rust")
            .replace(
                "WORKDIR /app", "COPY --from=xx / /\nRUN xx-apt-get install -y xx-c-essentials libpq-dev\nWORKDIR /app"
            )
            .replace("RUN cargo build", "RUN . /env-cargo && xx-cargo build"),
            'ARG BUILD_PACKAGES="libpq-dev"',
        ),
        # packages from another source stay next to the command that adds the source
        (
            BUILD.replace(
                "WORKDIR /app", "RUN curl -fsSL https://deb.example.org/setup | bash - && apt-get install -y nodejs"
            ),
            "curl -fsSL https://deb.example.org/setup | bash - && apt-get install -y nodejs",
        ),
        (
            BUILD.replace(
                "WORKDIR /app",
                "RUN echo 'deb http://p main' > /etc/apt/sources.list.d/p.list && apt-get update && apt-get install p",
            ),
            "/etc/apt/sources.list.d/p.list && apt-get update && apt-get install p",
        ),
        (
            "FROM rust:1 AS build-amd64\nFROM rust:2 AS build-arm64\n"
            + BUILD.replace("rust:1-bookworm", "build-$TARGETARCH"),
            "ARG RUST_IMAGE=rust:1",
        ),
        # the user's own arguments, here-documents and versions are kept
        ("ARG UNAME=me\n" + BUILD + "ARG UNAME\nRUN useradd $UNAME\nUSER $UNAME\n", "ARG UNAME=me"),
        (BUILD + "RUN <<EOF\nset -e\necho hello\nEOF\n", "RUN <<EOF\nset -e\necho hello\nEOF"),
        (BUILD + "RUN apt-get update && apt-get install -y curl=7.* && rm -rf /x\n", 'ARG RUNTIME_PACKAGES="curl=7.*"'),
    ],
)
def test_a_line_is_kept_or_put_in_our_words(tmp_path: Path, dockerfile: str, expected: str) -> None:
    if (
        "COPY --from=build" not in dockerfile
        and "COPY --from=b " not in dockerfile
        and "--from=build" not in dockerfile
    ):
        dockerfile += END
    text, _ = derived(tmp_path, dockerfile)
    assert expected in text, text


@pytest.mark.parametrize(
    ("run", "kept"),
    [
        ("apt-get update && apt-get install -y -t stable-backports tini", True),
        ("apt-get update && apt-get install -yq -o Dpkg::Options::=--force-confdef tini", True),
        ("curl -O https://example.org/x.deb && apt-get update && apt-get install -y tini ./x.deb", True),
        ("apt-get update && apt-get install -y tini $MORE", True),
        ("apt-get update -qq && apt-get install -qy --no-install-recommends tini libpq5", False),
    ],
)
def test_an_installation_that_is_more_than_names_stays(tmp_path: Path, run: str, kept: bool) -> None:
    text, _ = derived(tmp_path, f"{BUILD}RUN {run}\n{END}")
    assert (run in text) is kept
    assert ('ARG RUNTIME_PACKAGES="tini' in text) is not kept


def test_commands_before_an_installation_stay_before_it(tmp_path: Path) -> None:
    run = "RUN sed -i s/deb/ftp/ /etc/apt/list && apt-get update && apt-get install -y tini && ln -s /a /b\n"
    text, _ = derived(tmp_path, BUILD + run + END)
    assert text.index("RUN sed -i") < text.index('RUNTIME_PACKAGES="tini"') < text.index("RUN ln -s /a /b")


def test_a_command_that_only_fetches_package_lists_goes(tmp_path: Path) -> None:
    text, notes = derived(
        tmp_path, BUILD + "RUN apt-get -y update\nRUN apt-get -y install libpq5\nRUN apt-get upgrade -y\n" + END
    )
    assert "apt-get -y update" not in text
    assert 'ARG RUNTIME_PACKAGES="libpq5"' in text
    assert "apt-get upgrade -y" in text
    assert notes == []


def test_variables_come_before_the_commands_that_use_them(tmp_path: Path) -> None:
    """Commands that install tools go into the toolchain stage, cargo's variables into the compile stage."""
    build = BUILD.replace(
        "WORKDIR /app",
        "ENV POETRY_HOME=/opt/poetry\nENV SQLX_OFFLINE=true\nARG TOOL=1.2\nARG GIT_SHA=dev\n"
        "RUN curl -sSL https://install.example.org | python3 -\nRUN ln -s $POETRY_HOME/bin/poetry /usr/bin/poetry\n"
        "RUN get-tool ${TOOL}\nWORKDIR /app",
    )
    text, _ = derived(tmp_path, build + END)
    toolchain, compiling = text.split("FROM toolchain AS compile")
    assert toolchain.count("POETRY_HOME=") == 1
    assert toolchain.index('ENV POETRY_HOME="/opt/poetry"') < toolchain.index("install.example.org")
    assert toolchain.index('ARG TOOL="1.2"') < toolchain.index("RUN get-tool ${TOOL}")
    assert "SQLX_OFFLINE" not in toolchain
    assert 'ENV SQLX_OFFLINE="true"' in compiling
    assert "POETRY_HOME" not in compiling
    assert 'ARG GIT_SHA="dev"' in compiling


def test_an_argument_before_the_first_from_keeps_its_default(tmp_path: Path) -> None:
    build = BUILD.replace("WORKDIR /app", "ARG APP_VERSION\nARG EDITION=pro\nARG EDITION\nWORKDIR /app")
    reads = {"src/main.rs": 'fn main() { let _ = (option_env!("APP_VERSION"), option_env!("EDITION")); }\n'}
    text, _ = derived(tmp_path, f"ARG MAJOR=1\nARG APP_VERSION=${{MAJOR}}.5\nARG EDITION\n{build}{END}", reads)
    _, _, compiling = text.partition("FROM toolchain AS compile")
    assert 'ARG APP_VERSION="1.5"\n' in compiling
    assert 'ARG EDITION="pro"\n' in compiling


def test_an_argument_that_a_variable_uses_is_there_too(tmp_path: Path) -> None:
    """Even if no source reads it: with `CARGO_BUILD_JOBS=""`, cargo fails."""
    build = BUILD.replace(
        "WORKDIR /app",
        "ARG JOBS=2\nARG LEVEL\nARG OTHER=1\nENV CARGO_BUILD_JOBS=${JOBS}\n"
        "ENV CARGO_PROFILE_RELEASE_LTO=$LEVEL\nWORKDIR /app",
    )
    text, _ = derived(tmp_path, build + END)
    _, _, compiling = text.partition("FROM toolchain AS compile")
    lines = [line for line in compiling.splitlines() if re.search(r"JOBS|LEVEL|OTHER", line)]
    assert lines == [
        'ARG JOBS="2"',
        'ENV CARGO_BUILD_JOBS="${JOBS}"',
        "ARG LEVEL",
        'ENV CARGO_PROFILE_RELEASE_LTO="$LEVEL"',
    ]


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        # `cd`, `mkdir` and `mv` belong to the commands next to them
        (
            "curl -sSL https://example.org/mold.tgz | tar xz && mv mold-1/bin/mold /mold && rm -rf mold-1",
            "RUN curl -sSL https://example.org/mold.tgz | tar xz && mv mold-1/bin/mold /mold && rm -rf mold-1",
        ),
        (
            "apt-get update && apt-get install -y git && cd /tmp && git clone https://e.org/lib && cd lib && make",
            "RUN cd /tmp && git clone https://e.org/lib && cd lib && make",
        ),
        ("mkdir -p /opt/lib && get-lib /opt/lib; rustup target add a-b-c", "RUN mkdir -p /opt/lib && get-lib /opt/lib"),
        # commands that belong to a compilation are removed
        ("mkdir src && echo 'fn main() {}' > src/main.rs && cargo build --release && rm -rf src", ""),
        ("mkdir -p src crates/one/src", ""),
        # so are commands that install another cache
        ("case $TARGETARCH in amd64) A=x86_64 ;; esac && curl example.org/sccache-$A | tar xz && mv sccache /bin/", ""),
        ("curl example.org/sccache.tgz | tar xz && mv sccache /bin/ && chmod +x /bin/sccache", ""),
    ],
)
def test_commands_that_prepare_the_toolchain_stay_together(tmp_path: Path, command: str, kept: str) -> None:
    build = BUILD.replace("WORKDIR /app", f"RUN {command}\nWORKDIR /app")
    text, notes = derived(tmp_path, build + END)
    _, _, toolchain = text.partition("AS toolchain")
    toolchain, _, _ = toolchain.partition("FROM toolchain AS compile")
    lines = [line for line in toolchain.splitlines() if re.search(r"curl|clone|make|mkdir|mv |src", line)]
    assert [line.strip().removeprefix("RUN ") for line in lines] == ([kept.removeprefix("RUN ")] if kept else [])
    assert notes == []


@pytest.mark.parametrize(
    "command",
    [
        "rustup toolchain install --profile minimal \"$(sed -n 's/channel = //p' rust-toolchain.toml)\"",
        "rustup default `cat rust-toolchain`",
        "rustup override set $(cat rust-toolchain)",
    ],
)
def test_a_toolchain_read_from_its_file_is_left_to_our_own_step(tmp_path: Path, command: str) -> None:
    build = BUILD.replace("WORKDIR /app", f"COPY rust-toolchain.toml .\nRUN {command}\nWORKDIR /app")
    text, notes = derived(tmp_path, build + END, {"rust-toolchain.toml": '[toolchain]\nchannel = "1.90"\n'})
    assert command not in text
    assert notes == []


def test_a_target_computed_by_a_script_of_xx_is_left_to_our_own_step(tmp_path: Path) -> None:
    build = (
        "FROM tonistiigi/xx AS xx\nFROM rust:1 AS build\nCOPY --from=xx / /\n"
        "ARG TARGETARCH\nARG TRIPLE=wasm32-wasip1\n"
        "RUN apt-get update && apt-get install -y clang git && \\\n"
        "    xx-apt-get install -y libpq-dev xx-c-essentials && \\\n"
        '    echo "export CARGO_TARGET=$(xx-cargo --print-target-triple)" >> /env-cargo\n'
        'WORKDIR /app\nRUN . /env-cargo && rustup target add "${CARGO_TARGET}"\n'
        'RUN rustup target add "$TRIPLE"\nCOPY . .\n'
        "RUN . /env-cargo && xx-cargo build --release\nFROM debian:bookworm-slim\n"
    )
    text, notes = derived(tmp_path, build + END)
    assert 'ARG BUILD_PACKAGES="clang git libpq-dev"' in text
    assert "xx-" not in text
    assert "CARGO_TARGET}" not in text
    toolchain = text[: text.index("AS compile")]
    assert toolchain.index('ARG TRIPLE="wasm32-wasip1"') < toolchain.index('rustup target add "$TRIPLE"')
    assert notes == []


@pytest.mark.parametrize(
    ("dockerfile", "expected", "open_notes"),
    [
        ("FROM debian:bookworm-slim\nCOPY ./out/app_$TARGETARCH /bin/app\n", TAKEN + "/bin/app", []),
        (
            "FROM gcr.io/distroless/cc\nARG TARGETPLATFORM\nWORKDIR /srv\n"
            "COPY --chmod=0755 binaries/$TARGETPLATFORM/app .\nCOPY static ./static\n",
            "COPY --from=compile --chmod=0755 /out/${CACHE_SCOPE}/${BIN}/bin/service /srv/app",
            [],
        ),
        (
            "FROM debian:bookworm-slim\nCOPY target/release/app-linux-x86_64 /usr/bin/\nCOPY out/empty /data\n",
            TAKEN + "/usr/bin/app",
            ["out/empty is not in the repository"],
        ),
    ],
)
def test_a_program_that_was_compiled_before_is_compiled_now(
    tmp_path: Path, dockerfile: str, expected: str, open_notes: list[str]
) -> None:
    text, notes = derived(tmp_path, dockerfile)
    assert expected in text, text
    assert "ARG RUST_IMAGE=rust:1-bookworm" in text
    assert len(notes) == len(open_notes)
    assert all(wanted in note for wanted, note in zip(open_notes, notes, strict=True))


def test_a_front_end_that_cargo_embeds_is_built_before_and_put_into_its_sources(tmp_path: Path) -> None:
    text, notes = derived(
        tmp_path,
        "FROM node:20 AS web\nWORKDIR /web\nCOPY web/package.json .\nRUN npm ci\nCOPY web .\nRUN npm run build\n"
        "FROM rust:1 AS build\nWORKDIR /app\nCOPY . .\nCOPY --from=web /web/dist ./dist\nRUN cargo build --release\n"
        "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/app /bin/app\n",
        {"web/package.json": "{}\n"},
    )
    assert text.index("FROM node:20 AS web") < text.index("FROM scratch AS sources") < text.index("AS compile")
    assert "COPY . /\nCOPY --from=web /web/dist /dist\n" in text
    assert "--mount=type=bind,from=sources,target=/context" in text
    assert notes == []


def test_a_front_end_beside_the_program_keeps_its_stage(tmp_path: Path) -> None:
    text, _ = derived(
        tmp_path,
        "FROM node:20 AS web\nCOPY web .\nRUN npm run build\n"
        + BUILD
        + "COPY --from=web /dist /srv/www\nCOPY --from=build /app/target/release/app /bin/app\n",
        {"web/package.json": "{}\n"},
    )
    assert "FROM node:20 AS web\nCOPY web .\n" in text
    assert "COPY --from=web /dist /srv/www" in text


@pytest.mark.parametrize(
    ("dockerfile", "why"),
    [
        (BUILD.replace("cargo build", "cargo leptos build"), "builds with cargo leptos"),
        (BUILD.replace("--release", "--release --target wasm32-unknown-unknown"), "compiles for wasm32"),
        ("FROM nginx\nCOPY . .\n", "does not compile Rust"),
        (
            "FROM rust AS t\nRUN cargo install trunk\nCOPY . .\nRUN trunk build --release\nFROM nginx\n",
            "builds with trunk",
        ),
        (
            "FROM rust AS t\nRUN cargo install wasm-pack\nCOPY . .\n"
            "RUN --mount=type=cache,target=/t wasm-pack build --release\nFROM nginx\n",
            "builds with wasm-pack",
        ),
        (
            "FROM rust AS t\nRUN cargo install mdbook\nFROM nginx\nCOPY --from=t /usr/local/cargo/bin/mdbook /\n",
            "does not compile Rust",
        ),
    ],
)
def test_what_is_not_ours_to_build_is_left_alone_and_said_why(tmp_path: Path, dockerfile: str, why: str) -> None:
    _, finding = understand(tmp_path, dockerfile + (END if "AS build" in dockerfile else ""))
    assert finding.services == ()
    assert why in finding.left[0].why


@pytest.mark.parametrize(
    ("run", "line", "named"),
    [
        ("export RUSTFLAGS='-C opt-level=1' && cargo build --release", 'ARG RUSTFLAGS="-C opt-level=1"', ""),
        ("export A_KEY=1 RUSTFLAGS=-O; cargo build --release", 'ARG RUSTFLAGS="-O"', ""),
        ("RUSTFLAGS='--cfg a=\"b c\"' cargo build --release", 'ARG RUSTFLAGS="--cfg a=\\"b c\\""', ""),
        ("SQLX_OFFLINE=true env X=1 cargo build --release", 'ENV SQLX_OFFLINE="true"', ""),
        ("SQLX_OFFLINE=true cargo fetch\nRUN cargo build --release", 'ENV SQLX_OFFLINE="true"', ""),
        # computed by the shell, or set in only one branch
        ('RUSTFLAGS="${LINKER:+-C linker=}$LINKER" cargo build --release', "", "RUSTFLAGS"),
        ('export RUSTFLAGS="-C linker=$(which clang)" && cargo build --release', "", "RUSTFLAGS"),
        ("if [ -f x ]; then export RUSTFLAGS=-O; fi && cargo build --release", "", "RUSTFLAGS"),
        ("export SQLX_OFFLINE=true; [ -f x ] && export SQLX_OFFLINE=false; cargo build --release", "", "SQLX_OFFLINE"),
        ("export GIT_SHA=$(git rev-parse HEAD) && cargo build --release", "", "GIT_SHA"),  # read by a source
        # not for cargo
        ("cargo build --release && DIR=$(pwd) && cp target/release/app $DIR/x", "", ""),
        ("RUSTFLAGS=$X ./configure\nRUN cargo build --release", "", ""),
    ],
)
def test_what_the_shell_sets_for_cargo_is_set_or_listed(tmp_path: Path, run: str, line: str, named: str) -> None:
    main = 'fn main() { println!("{:?}", option_env!("GIT_SHA")); }\n'
    text, notes = derived(tmp_path, BUILD.replace("cargo build --release", run) + END, {"src/main.rs": main})
    assert line in text
    said = [note for note in notes if "the shell computes" in note]
    assert [name for note in said for name in ("RUSTFLAGS", "SQLX_OFFLINE", "GIT_SHA") if name in note] == (
        [named] if named else []
    ), notes
    if named:
        assert f"ENV {named}" not in text


def test_what_has_no_place_is_listed_with_its_line(tmp_path: Path) -> None:
    _, notes = derived(
        tmp_path,
        BUILD.replace("RUN cargo build --release", "RUN cargo build --release\nRUN ./generate.sh /generated")
        + "COPY --from=build /app/target/release/app /bin/app\nCOPY --from=build /generated /generated\n",
    )
    assert any(n.startswith("Dockerfile:5: ") and "./generate.sh" in n for n in notes), notes
    assert any(n.startswith("Dockerfile:8: ") and "/generated" in n for n in notes), notes


def test_a_program_under_another_name_is_the_one_that_is_started(tmp_path: Path) -> None:
    dockerfile = (
        "FROM rust AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release && cp target/release/app /bin/server\n"
        "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/migrate /bin/migrate\n"
        'COPY --from=build /bin/server /bin/server\nCMD ["/bin/server"]\n'
    )
    _, finding = understand(tmp_path, dockerfile)
    assert finding.services[0].binary == "app"
    text, notes = derived(tmp_path, dockerfile)
    assert "COPY --from=compile /out/${CACHE_SCOPE}/migrate/bin/service /bin/migrate" in text
    assert 'BINS="${BINS:+$BINS migrate}"' in text
    assert notes == []


def test_alpine_with_musl_is_kept_or_put_on_debian(tmp_path: Path) -> None:
    dockerfile = (
        "FROM rust:1.80-alpine AS build\nRUN apk add --no-cache musl-dev openssl-dev\nWORKDIR /app\nCOPY . .\n"
        "RUN cargo build --release\nFROM alpine:3.20\nRUN apk add --no-cache ca-certificates libgcc\n"
        "RUN addgroup -S app && adduser -S -u 1000 -G app app\n"
        "COPY --from=build /app/target/release/app /app\nUSER app\n"
    )
    text, _ = derived(tmp_path / "a", dockerfile)
    assert "ARG RUST_IMAGE=rust:1.80-alpine" in text
    assert "apk add --no-cache $BUILD_PACKAGES" in text
    assert 'ARG RUNTIME_PACKAGES="ca-certificates libgcc"' in text
    text, notes = derived(tmp_path / "b", dockerfile, images="bookworm")
    assert "alpine" not in text
    assert "apk" not in text
    assert 'ARG BUILD_PACKAGES="libssl-dev"' in text
    assert 'ARG RUNTIME_PACKAGES="ca-certificates"' in text
    assert "RUN groupadd -r app && useradd -r -u 1000 -g app -m app" in text
    assert notes == []


@pytest.mark.parametrize(
    ("installing", "kept"),
    [
        (
            "RUN apk add rustup build-base\nCOPY rust-toolchain.toml .\nRUN rustup-init -y",
            "",
        ),
        ("RUN apk add --no-cache curl && curl -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain stable", ""),
        (
            "RUN curl -L https://static.rust-lang.org/rustup.sh | sh -s -- -y && make -C /opt/tool",
            "RUN make -C /opt/tool",
        ),
    ],
)
def test_debian_s_image_already_has_the_toolchain(tmp_path: Path, installing: str, kept: str) -> None:
    dockerfile = (
        f"FROM alpine:3 AS build\n{installing}\nENV PATH=/root/.cargo/bin:$PATH\nWORKDIR /app\nCOPY . .\n"
        "RUN cargo build --release\nFROM alpine:3\n"
    )
    text, notes = derived(tmp_path, dockerfile + END, images="bookworm")
    assert not re.search(r"rustup-init|sh\.rustup|static\.rust-lang", text), text
    assert kept in text
    assert notes == []


@pytest.mark.parametrize(
    ("dockerfile", "expected", "without"),
    [
        (
            BUILD.replace("debian:bookworm-slim", "gcr.io/distroless/cc-debian12:nonroot")
            + "COPY --from=build --chown=nonroot:nonroot /app/target/release/app /bin/app\n",
            ["RUNTIME_IMAGE=debian:bookworm-slim", "USER 65532:65532\nENV HOME=/home/nonroot", "--chown=65532:65532"],
            "nonroot:",
        ),
        (
            BUILD.replace("debian:bookworm-slim", "cgr.dev/chainguard/glibc-dynamic") + END,
            ["ARG RUNTIME_IMAGE=debian:bookworm-slim", "USER 65532:65532"],
            "chainguard",
        ),
        (
            BUILD.replace("debian:bookworm-slim", "gcr.io/distroless/static") + END + "USER nonroot\n",
            ["ARG RUNTIME_IMAGE=debian:bookworm-slim", "USER 65532:65532", "ARG STATIC\n"],
            "distroless",
        ),
        (
            BUILD.replace("debian:bookworm-slim", "scratch") + END,
            ["ARG RUNTIME_IMAGE=scratch", "ARG STATIC=gnu"],
            "debian",
        ),
        (
            BUILD.replace("debian:bookworm-slim", "ubuntu:24.04")
            + "RUN apt-get update && apt-get install -y libssl3t64\n"
            + END,
            ["ARG RUNTIME_IMAGE=debian:bookworm-slim", 'ARG RUNTIME_PACKAGES="libssl3"'],
            "ubuntu",
        ),
    ],
)
def test_images_without_a_stand_in_are_put_on_debian(
    tmp_path: Path, dockerfile: str, expected: list[str], without: str
) -> None:
    text, notes = derived(tmp_path, dockerfile, images="bookworm")
    for part in expected:
        assert part in text, text
    assert without not in text
    assert notes == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "if [ -n $M ]; then sed -i s/a/b/ /etc/apt/sources.list; fi \\\n"
            "    && apt-get -o Acquire::Retries=5 update \\\n"
            "    && apt-get -o Acquire::Retries=5 install -y --no-install-recommends libpq5=15.3-0 curl",
            "    && apt-get -o Acquire::Retries=5 update \\\n"
            "    && apt-get -o Acquire::Retries=5 install -y --no-install-recommends libpq5 curl",
        ),
        (
            "retries=3; apt-get install -o Dpkg::Use-Pty=0 -t=1 -y \\\n    libssl3t64=3.0* \\\n"
            "    g++:arm64=${V} libc6=$W; level=2 make -C /opt x=1 || exit 1",
            "retries=3; apt-get install -o Dpkg::Use-Pty=0 -t=1 -y \\\n    libssl3 \\\n"
            "    g++:arm64 libc6; level=2 make -C /opt x=1 || exit 1",
        ),
    ],
)
def test_versions_of_another_debian_are_removed_from_packages_only(tmp_path: Path, command: str, expected: str) -> None:
    dockerfile = BUILD.replace("debian:bookworm-slim", "debian:trixie-slim") + END + f"RUN {command}\n"
    found, finding = understand(tmp_path, dockerfile)
    text = adopted.write(found, bookworm.apply(finding)).texts["docker/Dockerfile"]
    assert expected in text
    assert f"{command}\n" in adopted.write(found, finding).texts["docker/Dockerfile"]


@pytest.mark.parametrize(
    ("toolchain", "runtime", "installed"),
    [
        ("rust:1-alpine", "scratch", ["ca-certificates", "libssl3"]),
        ("rust:1-alpine", "alpine:3", ["ca-certificates", "libssl3"]),
        ("rust:1-bookworm", "gcr.io/distroless/cc-debian12", ["ca-certificates", "libssl3"]),
        ("rust:1.76-buster", "rust:1.76-buster", ["ca-certificates", "libssl3"]),
        ("rust:1-bookworm", "debian:bookworm-slim", []),
    ],
)
def test_what_was_linked_into_the_program_is_installed_on_debian(
    tmp_path: Path, toolchain: str, runtime: str, installed: list[str]
) -> None:
    dockerfile = BUILD.replace("rust:1-bookworm", toolchain).replace("debian:bookworm-slim", runtime)
    lock = repositories.locked("app: openssl-sys, openssl-probe", "openssl-sys", "openssl-probe")
    text, _ = derived(tmp_path, dockerfile + "USER 1000\n" + END, {"Cargo.lock": lock}, images="bookworm")
    stage = text[text.index("AS runtime") :]
    packages = re.findall(r'ARG RUNTIME_PACKAGES="([^"]*)"', stage)
    assert packages == ([" ".join(installed)] if installed else [])
    assert not installed or stage.index("RUNTIME_PACKAGES=") < stage.index("USER 1000")


@pytest.mark.parametrize(
    "command",
    [
        "cargo install --locked --bin app --path ./crates/app --root /build",
        "cargo --version && cargo build --release",
        "set -eux; cargo build --release; cp target/release/app /app/target/release/",
    ],
)
def test_a_command_that_compiles_is_nothing_to_look_at(tmp_path: Path, command: str) -> None:
    _, notes = derived(tmp_path, BUILD.replace("cargo build --release", command) + END)
    assert notes == []


def test_two_workspaces_have_a_dockerfile_and_mounts_each(tmp_path: Path) -> None:
    files: Files = {
        "compose.yaml": "name: two\nservices:\n  a:\n    build: ./a\n  b:\n    build: ./b\n",
    }
    for name in ("a", "b"):
        files |= {
            f"{name}/Cargo.toml": manifest(name),
            f"{name}/Cargo.lock": repositories.locked(name),
            f"{name}/src/main.rs": "fn main() {}\n",
            f"{name}/Dockerfile": BUILD + f"COPY --from=build /app/target/release/{name} /bin/{name}\n",
        }
    repositories.write(tmp_path, files)
    found = tree.read(tmp_path)
    written = adopted.write(
        found, look.find(found, repositories.resolved(tmp_path, files["compose.yaml"]), ("compose.yaml",))
    )
    assert "ARG SOURCE=a" in written.texts["docker/Dockerfile"]
    assert "ARG SOURCE=b" in written.texts["docker/b.Dockerfile"]
    assert re.findall(r"CACHE_SCOPE: (.*)", written.texts["compose.yaml"]) == ["two", "two-b"]
    assert "docker/b.Dockerfile.dockerignore" in written.texts


@pytest.mark.parametrize(
    ("locked", "build", "run"),
    [
        ([Locked("openssl-sys", "0.9")], ("libssl-dev", "pkg-config"), ("libssl3",)),
        ([Locked("openssl-sys", "0.9"), Locked("openssl-src", "3")], (), ()),
        ([Locked("libsqlite3-sys", "0.30", "", frozenset({"cc"}))], (), ()),
        ([Locked("libsqlite3-sys", "0.30")], ("libsqlite3-dev", "pkg-config"), ("libsqlite3-0",)),
        ([Locked("prost-build", "0.13")], ("libprotobuf-dev", "protobuf-compiler"), ()),
        ([Locked("prost-build", "0.13"), Locked("protobuf-src", "2")], (), ()),
        ([Locked("ring", "0.17"), Locked("tokio", "1")], (), ()),
        ([Locked("native-tls", "0.2")], (), ("ca-certificates",)),
    ],
)
def test_packages_that_crates_need(locked: list[Locked], build: tuple[str, ...], run: tuple[str, ...]) -> None:
    found = debian.needs(locked)
    assert (found.build, found.run) == (build, run)


def test_only_the_crates_that_a_program_depends_on_count(tmp_path: Path) -> None:
    """A desktop application's dependencies in the same workspace do not count."""
    files: Files = {
        "Cargo.toml": '[workspace]\nmembers = ["api", "desktop", "shared"]\n',
        "Cargo.lock": repositories.locked(
            *("api: shared", "desktop: gtk-sys, shared", "shared: openssl-sys", "gtk-sys", "openssl-sys")
        ),
        **{f"{name}/Cargo.toml": repositories.manifest(name) for name in ("api", "desktop", "shared")},
        **{f"{name}/src/main.rs": "fn main() {}\n" for name in ("api", "desktop")},
        "shared/src/lib.rs": "",
        "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
    }
    repositories.write(tmp_path, files | {"Dockerfile": BUILD + END.replace("release/app", "release/api")})
    read = tree.read(tmp_path)
    finding = look.find(read, repositories.resolved(tmp_path, files["compose.yaml"]), ("compose.yaml",))
    assert [s.binary for s in finding.services] == ["api"]
    assert finding.workspaces[0].packages.build == ("libssl-dev", "pkg-config")


def test_packages_in_an_argument_are_installed(tmp_path: Path) -> None:
    build = BUILD.replace(
        "WORKDIR", 'ARG MORE="libpq-dev cmake"\nRUN apt-get update && apt-get install -y git $MORE\nWORKDIR'
    )
    text, _ = derived(tmp_path, build + END)
    assert 'ARG BUILD_PACKAGES="cmake git libpq-dev"' in text


def test_tests_that_a_build_ran_are_named(tmp_path: Path) -> None:
    text, notes = derived(tmp_path, BUILD.replace("RUN cargo", "RUN cargo test --release && cargo") + END)
    assert "cargo test" not in text
    assert notes == [
        "Dockerfile:4: image builds no longer run these tests: RUN cargo test --release && cargo build --release"
    ]


ARGUMENTS = (
    "ARG BASE=debian:bookworm-slim\n"
    + BUILD.replace("WORKDIR", "ARG FEATURES\nARG EXTRA\nARG PROFILE=release\nWORKDIR")
    .replace("build --release", 'build --profile $PROFILE --features "$FEATURES" --features "$EXTRA"')
    .replace("debian:bookworm-slim", "${BASE}")
    + END.replace("release", "${PROFILE}")
)


@pytest.mark.parametrize(
    ("given", "resolved", "written", "removed"),
    [
        # the user's variables are kept
        ("FEATURES: ${DB:-pg,redis}", {"FEATURES": "pg,redis"}, "FEATURES: ${DB:-pg,redis}", ""),
        ("PROFILE: ${PROFILE:-fast}", {"PROFILE": "fast"}, "PROFILE: ${PROFILE:-fast}", ""),
        # BuildKit itself reads these
        ('BUILDKIT_INLINE_CACHE: "1"', {"BUILDKIT_INLINE_CACHE": "1"}, 'BUILDKIT_INLINE_CACHE: "1"', ""),
        ("https_proxy: ${P:-x}", {"https_proxy": "x"}, "https_proxy: ${P:-x}", ""),
        ("BASE: ${BASE:-ubuntu}", {"BASE": "ubuntu"}, "", "BASE"),
    ],
)
def test_build_arguments_of_the_compose_file(
    tmp_path: Path, given: str, resolved: dict[str, str], written: str, removed: str
) -> None:
    compose = f"name: shop\nservices:\n  app:\n    build:\n      context: .\n      args:\n        {given}\n"
    repositories.write(tmp_path, {**CRATE, "Dockerfile": ARGUMENTS, "compose.yaml": compose})
    read = tree.read(tmp_path)
    build = {"context": str(tmp_path), "dockerfile": "Dockerfile", "args": resolved}
    finding = look.find(read, {"name": "shop", "services": {"app": {"build": build}}}, ("compose.yaml",))
    made = adopted.write(read, finding)
    lines = made.texts["compose.yaml"].partition("args:")[2].split("\n")
    others = [line.strip() for line in lines if not re.search(r"^\s*(?:BIN|CACHE_SCOPE|CARGO_INCREMENTAL):|^$", line)]
    assert others == ([written] if written else [])
    notes = [n.text for n in made.notes if "removed" in n.text]
    assert notes == ([f"removed build arguments whose values are now in the new files: {removed}"] if removed else [])


@pytest.mark.parametrize(
    ("config", "packages"),
    [
        (
            '[target.x86_64-unknown-linux-gnu]\nlinker = "clang"\nrustflags = ["-Clink-arg=-fuse-ld=/usr/bin/mold"]\n',
            "clang mold",
        ),
        ('[target.aarch64-unknown-linux-gnu]\nrustflags = ["-C", "link-arg=-fuse-ld=lld"]\n', "lld"),
        ('[build]\nrustflags = "-C linker=/usr/bin/clang -C link-arg=--ld-path=mold"\n', "clang mold"),
        ('[target.\'cfg(target_os = "linux")\']\nlinker = "clang"\n', "clang"),
        ('[target.x86_64-pc-windows-msvc]\nlinker = "lld"\n\n[target.aarch64-apple-darwin]\nlinker = "clang"\n', ""),
        ("[target]\nx86_64-unknown-linux-gnu = 3\n\n[build]\nrustflags = 7\njobs = 2\n", ""),
    ],
)
def test_the_linkers_of_a_cargo_configuration_are_installed(tmp_path: Path, config: str, packages: str) -> None:
    text, _ = derived(tmp_path, BUILD + END, {".cargo/config.toml": config})
    assert f'ARG BUILD_PACKAGES="{packages}"\n' in text


@pytest.mark.parametrize(
    ("image", "static"),
    [
        ("scratch", True),
        ("alpine:3.20", True),
        ("gcr.io/distroless/static-debian12:nonroot", True),
        ("gcr.io/distroless/cc-debian12", False),
        ("debian:bookworm-slim", False),
    ],
)
def test_a_prebuilt_program_in_an_image_without_glibc_is_linked_statically(
    tmp_path: Path, image: str, static: bool
) -> None:
    found, finding = understand(tmp_path, f"FROM {image}\nCOPY app /usr/bin/app\n")
    written = adopted.write(found, finding)
    assert ("ARG STATIC=gnu\n" in written.texts["docker/Dockerfile"]) is static
    assert any(f"linked statically, because {image} has no glibc" in n.text for n in written.notes) is static
    lock = repositories.locked("app: openssl-sys", "openssl-sys")
    found, finding = understand(tmp_path, f"FROM {image}\nCOPY app /usr/bin/app\n", {"Cargo.lock": lock})
    text = adopted.write(found, bookworm.apply(finding)).texts["docker/Dockerfile"]
    assert "ARG RUNTIME_IMAGE=debian:bookworm-slim\n" in text
    assert "ARG STATIC\n" in text
    assert ('ARG RUNTIME_PACKAGES="libssl3"' in text) is (image != "debian:bookworm-slim")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("ARG CXXFLAGS", True),
        ("ARG CMAKE_POLICY_VERSION_MINIMUM=3.5", True),
        ("ARG CARGO_PROFILE_RELEASE_LTO=thin", True),
        ("ARG AARCH64_OPENSSL_LIB_DIR=/opt", True),
        ("ARG CARGO_ARGS", False),
        ("ARG RUST_VERSION=1.80", False),
    ],
)
def test_an_argument_that_compilers_and_build_scripts_read_reaches_them(tmp_path: Path, line: str, kept: bool) -> None:
    name, _, value = line.removeprefix("ARG ").partition("=")
    compose = CRATE["compose.yaml"].replace("build: .", f'build: {{context: ., args: {{{name}: "x y"}}}}')
    dockerfile = BUILD.replace("WORKDIR", f"{line}\nWORKDIR").replace("cargo build", f"cargo build ${name}") + END
    found, finding = understand(tmp_path, dockerfile, {"compose.yaml": compose})
    written = adopted.write(found, finding)
    expected = f'ARG {name}="{value}"' if value else f"ARG {name}"
    assert (expected in written.texts["docker/Dockerfile"].split("\n")) is kept
    assert (f"{name}: " in written.texts["compose.yaml"]) is kept


def test_a_library_that_a_crate_brings_is_not_linked_from_a_package_that_only_the_toolchain_has(tmp_path: Path) -> None:
    lock = repositories.locked("app: curl-sys, openssl-sys", "curl-sys", "openssl-sys")
    text, _ = derived(tmp_path / "a", BUILD + END, {"Cargo.lock": lock})
    assert 'ARG BUILD_PACKAGES="libssl-dev pkg-config"\n' in text
    installed = BUILD.replace("WORKDIR", "RUN apt-get update && apt-get install -y libcurl4-openssl-dev\nWORKDIR")
    text, _ = derived(tmp_path / "b", installed + END, {"Cargo.lock": lock})
    assert 'ARG BUILD_PACKAGES="libcurl4-openssl-dev libssl-dev pkg-config"\n' in text
    files = {**CRATE, "Cargo.lock": lock}
    repositories.write(tmp_path / "c", files)  # without a Dockerfile, we generate both stages
    found = tree.read(tmp_path / "c")
    config = repositories.resolved(tmp_path / "c", files["compose.yaml"])
    text = adopted.write(found, look.find(found, config, ("compose.yaml",))).texts["docker/Dockerfile"]
    assert 'ARG BUILD_PACKAGES="libcurl4-openssl-dev libssl-dev pkg-config"\n' in text
    assert 'ARG RUNTIME_PACKAGES="libcurl4 libssl3"\n' in text


@pytest.mark.parametrize(("name", "said"), [("TARGETARCH", False), ("BUILDPLATFORM", False), ("TARGET_DIR", True)])
def test_an_argument_that_nothing_reads_is_named_unless_buildkit_sets_it(tmp_path: Path, name: str, said: bool) -> None:
    found, finding = understand(tmp_path, BUILD.replace("WORKDIR", f"ARG {name}\nWORKDIR") + END)
    notes = [note.text for note in adopted.write(found, finding).notes]
    assert any(f"no source file uses {name}" in text for text in notes) is said


@pytest.mark.parametrize("source", ["example.org/base:1", "builder"])
def test_a_program_that_another_image_has_compiled_is_compiled_here(tmp_path: Path, source: str) -> None:
    dockerfile = (
        f"FROM example.org/base:1 AS builder\nFROM debian:12 AS extras\nFROM debian:bookworm-slim\n"
        f"COPY --from={source} --chmod=755 /src/target/release/app ./\nCOPY --from=extras /usr/bin/uname /bin/\n"
        'CMD ["./app"]\n'
    )
    text, notes = derived(tmp_path, dockerfile)
    assert "COPY --from=compile --chmod=755 /out/${CACHE_SCOPE}/${BIN}/bin/service /app\n" in text
    assert "COPY --from=extras /usr/bin/uname /bin/" in text
    assert "example.org" not in text
    assert notes == []


def test_an_image_that_has_other_files_than_programs_is_still_needed(tmp_path: Path) -> None:
    dockerfile = "FROM example.org/base:1 AS builder\nFROM debian:bookworm-slim\n"
    dockerfile += "COPY --from=builder /src/target/release/app /app\nCOPY --from=builder /src/web /web\n"
    text, _ = derived(tmp_path, dockerfile)
    assert "FROM example.org/base:1 AS builder\n" in text
    assert "COPY --from=builder /src/web /web\n" in text
    assert "/bin/service /app\n" in text


def test_a_compiler_that_nix_brings_is_replaced_and_named(tmp_path: Path) -> None:
    dockerfile = BUILD.replace("rust:1-bookworm", "nixos/nix:2.24").replace("cargo", "nix develop --command cargo")
    text, notes = derived(tmp_path, dockerfile + END)
    assert "ARG RUST_IMAGE=rust:1-bookworm\n" in text
    assert notes == ["Dockerfile: app was compiled in nixos/nix:2.24; all services now share rust:1-bookworm"]


USERS = BUILD.replace("FROM debian", "RUN groupadd -g 9 app\nRUN useradd -u 9 -g app app\nFROM debian").replace(
    "debian:bookworm-slim", "scratch"
)


def test_users_of_the_compile_stage_are_there_if_an_image_has_its_list_of_users(tmp_path: Path) -> None:
    image = "COPY --from=build /etc/passwd /etc/group /etc/\nCOPY --from=build --chown=9 /tmp /tmp\nUSER app\n"
    text, notes = derived(tmp_path / "a", USERS + END + image)
    group, user = "getent group app > /dev/null || groupadd -g 9 app", "getent passwd app > /dev/null || useradd"
    assert text.index("AS toolchain") < text.index(group) < text.index(user) < text.index("AS compile")
    assert "COPY --from=toolchain /etc/passwd /etc/\n" in text
    assert "COPY --from=toolchain --chown=9 /tmp /tmp\n" in text
    assert notes == []
    text, notes = derived(tmp_path / "b", USERS + END)
    assert "useradd" not in text
    assert notes == []


def test_an_image_with_all_sources_gets_them_from_the_repository(tmp_path: Path) -> None:
    dockerfile = BUILD + 'COPY --from=build /app /app\nCMD ["/app/target/release/app"]\n'
    text, notes = derived(tmp_path, dockerfile)
    assert "COPY . /app\n" in text
    assert TAKEN + "/app/target/release/app\n" in text
    assert text.index("COPY . /app") < text.index("/bin/service /app/target")
    assert notes[0].startswith("Dockerfile:6: copies the sources, but no longer cargo's output: COPY --from")


def test_a_directory_of_sources_with_a_programs_name_is_not_the_program(tmp_path: Path) -> None:
    dockerfile = BUILD + END + "COPY --from=build /app/migrate /srv/migrate\n"
    text, notes = derived(tmp_path, dockerfile, {"migrate/1.sql": ""})
    assert "COPY migrate /srv/migrate\n" in text
    assert "migrate/bin/service" not in text
    assert notes == []


def test_a_copy_of_a_copied_program_is_the_program(tmp_path: Path) -> None:
    commands = "cp target/release/app /usr/local/bin/app && cp /usr/local/bin/app /usr/local/bin/app-debug"
    image = "COPY --from=build /usr/local/bin/app-debug /usr/local/bin/app\n"
    text, notes = derived(tmp_path, BUILD.replace("--release\n", f"--release && {commands}\n") + image)
    assert TAKEN + "/usr/local/bin/app\n" in text
    assert "AS tools" not in text
    assert notes == []


def test_what_no_command_installs_is_not_a_tool(tmp_path: Path) -> None:
    text, notes = derived(tmp_path, BUILD + END + "COPY --from=build /usr/local/bin/other /bin/\n")
    assert "AS tools" not in text
    assert notes[0].startswith("Dockerfile:7: created by a stage that the compile step replaces")
    get = "RUN curl -o /usr/local/bin/other https://example.org/other\nWORKDIR"
    text, notes = derived(
        tmp_path / "b", BUILD.replace("WORKDIR", get) + END + "COPY --from=build /usr/local/bin/other /bin/\n"
    )
    assert "COPY --from=tools /usr/local/bin/other /bin/\n" in text
    assert notes == []


def test_a_file_that_a_compile_stage_writes_for_an_image_is_still_there(tmp_path: Path) -> None:
    info = """ARG SHA=none
RUN echo "sha=$SHA" > /etc/info \\
    && echo "rust=$(rustc --version)" >> /etc/info
FROM debian"""
    text, notes = derived(
        tmp_path, BUILD.replace("FROM debian", info) + END + "COPY --from=build /etc/info /etc/info\n"
    )
    assert text.index('ARG SHA="none"') < text.index('RUN echo "sha=$SHA" > /etc/info') < text.index("AS compile")
    assert "COPY --from=toolchain /etc/info /etc/info\n" in text
    assert notes == []


@pytest.mark.parametrize("place", ["$(cat /target)", "`cat /target`", "${TARGET}"])
def test_a_program_is_found_under_a_computed_target(tmp_path: Path, place: str) -> None:
    command = f"cargo build --release --target {place} && cp target/{place}/release/app /app/program"
    dockerfile = BUILD.replace("RUN cargo build --release\n", f"RUN echo x > /target\nRUN {command}\n")
    text, notes = derived(tmp_path, dockerfile + "COPY --from=build /app/program /bin/server\n")
    assert TAKEN + "/bin/server\n" in text
    assert notes == []


@pytest.mark.parametrize(
    ("kinds", "static", "named"), [(("musl", "musl"), True, False), (("gnu", "musl"), False, True), ((), False, False)]
)
def test_a_computed_target_is_for_musl_if_the_stage_names_no_other(
    tmp_path: Path, kinds: tuple[str, ...], static: bool, named: bool
) -> None:
    cases = [f"{arch}) echo {arch}-unknown-linux-{kind} ;;" for arch, kind in zip(("x86_64", "aarch64"), kinds)]  # noqa: B905
    chosen = f"RUN case $(uname -m) in {' '.join(cases)} esac > /triple\n" if cases else ""
    command = 'cargo build --release --target "$(cat /triple)" && cp target/$(cat /triple)/release/app /bin/app'
    dockerfile = BUILD.replace("RUN cargo build --release\n", f"{chosen}RUN {command}\n")
    text, notes = derived(tmp_path, dockerfile + "COPY --from=build /bin/app /bin/app\n")
    assert ("ARG STATIC=musl\n" in text) == static
    assert [note for note in notes if "computes the cargo target" in note] == notes
    assert bool(notes) == named


def test_a_target_that_the_image_chooses_is_in_the_path_of_the_program(tmp_path: Path) -> None:
    place = "/app/target/x86_64-unknown-linux-musl/release/app"
    dockerfile = BUILD.replace("rust:1-bookworm", "example.org/rust-musl:1").replace("debian:bookworm-slim", "scratch")
    text, notes = derived(tmp_path, f"{dockerfile}COPY --from=build {place} /\n")
    assert "ARG STATIC=musl\n" in text
    assert TAKEN + "/app\n" in text
    assert notes == []


def test_a_pattern_in_a_copied_path_is_found_in_the_repository(tmp_path: Path) -> None:
    text, notes = derived(tmp_path, BUILD + END + "COPY --from=build /app/migrations/*.sql /srv/\n")
    assert "COPY migrations/*.sql /srv/\n" in text
    assert notes == []


def test_a_pattern_below_usr_is_found_in_the_repository(tmp_path: Path) -> None:
    dockerfile = BUILD.replace("/app", "/usr/src/app") + END.replace("/app/target", "/usr/src/app/target")
    text, notes = derived(tmp_path, dockerfile + "COPY --from=build /usr/src/app/migrations/* /srv/\n")
    assert "COPY migrations/* /srv/\n" in text
    assert notes == []
