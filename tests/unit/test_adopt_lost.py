"""What public Dockerfiles and compose files do that `init` used to drop or change without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import install
from buildkit_tasks.recipes import replaced
from buildkit_tasks.survey.finding import Finding
from tests.support.repositories import Files, manifest
from tests.unit.test_adopt_recipes import BUILD, CRATE, END, derived, understand
from tests.unit.test_adopt_stages import crate, found

START = "FROM rust:1-bookworm AS build\nWORKDIR /app\n"
SOURCES = "COPY . .\nRUN cargo build --release\n"
IMAGE = f"FROM debian:bookworm-slim\n{END}"
NOT_CONVERTED = "this command in the compile stage was not converted: RUN "


def stage(text: str, name: str) -> str:
    """Return the lines of one stage."""
    return text.split(f" AS {name}\n")[1].split("\nFROM ")[0]


def notes_of(place: Path, dockerfile: str, more: Files | None = None) -> list[str]:
    found, finding = understand(place, dockerfile, more)
    return [n.text for n in adopted.write(found, finding).notes]


@pytest.mark.parametrize("head", ["<<EOF", "bash -e <<'EOF'"])
def test_commands_in_a_here_document_prepare_the_toolchain(tmp_path: Path, head: str) -> None:
    script = (
        f"RUN {head}\nset -eu\n# tools\napt-get update && apt-get install -y \\\n  libfoo-dev\n"
        "cargo install cargo-chef --locked\ncd ..\ngit clone $URL gen\nEOF\n"
    )
    text, notes = derived(tmp_path, f"{START}ARG URL=https://example.org/gen\n{script}{SOURCES}{IMAGE}")
    assert 'ARG BUILD_PACKAGES="libfoo-dev"' in text
    assert "cd .. && git clone $URL gen" in stage(text, "toolchain")
    assert 'ARG URL="https://example.org/gen"' in stage(text, "toolchain")
    assert "cargo install" not in text
    assert notes == []


def test_a_here_document_that_compiles_and_does_more_is_reported(tmp_path: Path) -> None:
    script = "RUN <<EOF\ncargo build --release\n./sign.sh target/release/app\nEOF\n"
    _, notes = derived(tmp_path, f"{START}COPY . .\n{script}{IMAGE}")
    assert notes == [f"Dockerfile:4: {NOT_CONVERTED}./sign.sh target/release/app"]


@pytest.mark.parametrize(
    "text",
    [
        "RUN python3 <<EOF\nprint(1)\nEOF\n",
        "RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n",
        "RUN <<EOF\nif true; then\n  x\nfi\nEOF\n",
        "RUN <<EOF\nx() {\n  y\n}\nEOF\n",
    ],
)
def test_a_here_document_that_is_no_chain_of_commands_stays(text: str) -> None:
    item = next(syntax.instructions(text))
    assert install.flat(item) == item


@pytest.mark.parametrize(
    ("script", "lost"),
    [
        ('if [ "$R" = 0 ]; then cargo build && mv target/debug/a /o; else cargo build --release; fi', []),
        ("for d in crates/*; do mkdir -p $d/src; echo 'fn main() {}' > $d/src/main.rs; done; cargo build", []),
        ('case "$T" in a|b) t=x ;; (c) t=y ;; *) echo no >&2; exit 1 ;; esac; cargo build --target $t', []),
        ('set -eux; rustup target add x; if [ -n "$F" ]; then cargo build --features "$F"; fi', []),
        ("echo ids && if [ ! -f .env ]; then touch .env; fi && ./ids.sh && cat .env", ["touch .env", "./ids.sh"]),
        ("if [ -d web ]; then make web; fi; cargo build", ["make web"]),
        ('case "$T" in a) ./gen.sh ;; esac; cargo build', ["./gen.sh"]),
        ("for p in a b; do protoc $p.proto; done; cargo build", ["protoc $p.proto"]),
    ],
)
def test_what_a_script_does_besides_compiling(script: str, lost: list[str]) -> None:
    assert replaced.others(script) == lost


def test_a_script_that_does_more_than_compile_is_reported(tmp_path: Path) -> None:
    script = "RUN echo ids && if [ ! -f .env ]; then touch .env; fi && ./ids.sh a && cat .env\n"
    _, notes = derived(tmp_path, f"{START}{SOURCES}{script}{IMAGE}")
    assert [note.partition(": RUN ")[0] for note in notes] == [f"Dockerfile:5: {NOT_CONVERTED[:-6]}"]
    before = "RUN if [ -f Cargo.toml ]; then cargo build; ./x.sh; fi\n"
    text, notes = derived(tmp_path / "b", f"{START}{before}{SOURCES}{IMAGE}")
    assert len(notes) == 1
    assert "x.sh" not in text


def test_a_program_that_generates_sources_is_reported(tmp_path: Path) -> None:
    _, notes = derived(tmp_path, f"{START}COPY . .\nRUN cargo run --bin migrate\nRUN cargo build --release\n{IMAGE}")
    assert notes == [f"Dockerfile:4: {NOT_CONVERTED}cargo run --bin migrate"]


def test_tools_that_no_image_copies_are_there_for_the_compilation(tmp_path: Path) -> None:
    tools = "ARG V=0.7.0\nRUN cargo binstall -y wild-linker --version $V\nRUN cargo install cargo-chef\n"
    text, _ = derived(tmp_path / "a", f"{START}{tools}{SOURCES}{IMAGE}")
    there = stage(text, "toolchain")
    assert there.index('ARG V="0.7.0"') < there.index("cargo binstall -y wild-linker --version $V")
    assert "AS tools" not in text
    assert "cargo-chef" not in text
    copied = f"{IMAGE}COPY --from=build /usr/local/cargo/bin/wild /usr/local/bin/\n"
    text, _ = derived(tmp_path / "b", f"{START}{tools}{SOURCES}{copied}")
    there = stage(text, "tools")
    assert there.index('ARG V="0.7.0"') < there.index("cargo binstall -y wild-linker --version $V")
    assert "wild-linker" not in stage(text, "toolchain")


def test_an_argument_that_selected_a_stage_is_named(tmp_path: Path) -> None:
    stages = (
        f"FROM debian:bookworm-slim AS main\n{END}FROM main AS main-a\nENV KIND=a\nFROM main AS main-b\nENV KIND=b\n"
        "FROM main-${KIND}\nCMD /bin/app\n"
    )
    text, notes = derived(tmp_path, f"ARG KIND=b\n{START}{SOURCES}{stages}")
    assert "ENV KIND=b" in text
    assert [note.partition(". ")[0] for note in notes] == [
        "Dockerfile:12: KIND no longer selects a stage: the image is always built on the stage main-b"
    ]
    tag = f"ARG KIND=b\n{START}{SOURCES}{IMAGE.replace('bookworm-slim', '$KIND')}"
    assert derived(tmp_path / "tag", tag)[1] == []


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ('if [ "$DEV" = true ]; then cargo build --release --features a; else cargo build --release; fi', True),
        ('case "$DEV" in 1) cargo build --release --features a ;; *) cargo build --release ;; esac', True),
        ('F=$([ "$DEV" = true ] && echo --release || echo ""); cargo build --release $F', True),
        ('if [ -z "$DEV" ]; then exit 1; fi; cargo build --release', False),
        ('test -n "$DEV" && cargo build --release', False),
    ],
)
def test_an_argument_that_selected_a_command_is_named(tmp_path: Path, script: str, named: bool) -> None:
    notes = notes_of(tmp_path, f"{START}ARG DEV=false\nCOPY . .\nRUN {script}\n{IMAGE}")
    assert any(note.startswith("DEV no longer selects cargo options") for note in notes) == named


@pytest.mark.parametrize("command", ["apt-get upgrade -y", "apt-get dist-upgrade -y", "apt-get autoremove -y"])
def test_an_image_upgrades_its_packages_as_before(tmp_path: Path, command: str) -> None:
    line = f"RUN apt-get update && {command} && apt-get install -y curl\n"
    text, notes = derived(tmp_path, f"{START}{line}{SOURCES}{IMAGE}{line}")
    assert f"apt-get update && {command} && apt-get install -y curl" in stage(text, "runtime")
    assert "upgrade" not in stage(text, "toolchain")
    assert notes == []


def test_alpine_packages_are_upgraded_on_debian_too(tmp_path: Path) -> None:
    image = f"FROM alpine:3.20\nRUN apk update && apk upgrade && apk add curl\n{END}"
    text, _ = derived(tmp_path, f"{START}{SOURCES}{image}", images="bookworm")
    assert "apt-get upgrade -y" in stage(text, "runtime")


SINGLE = f"{START}{SOURCES}"


@pytest.mark.parametrize(
    ("dockerfile", "entry", "script", "runs"),
    [
        (f"{SINGLE}CMD cargo watch -x run\n", "", "", True),
        (f'{SINGLE}ENTRYPOINT ["cargo", "watch"]\n', "", "", True),
        (f'{SINGLE}CMD ["cargo", "run", "--release"]\n', "", "", False),
        (f'{SINGLE}CMD ["cargo", "watch"]\n', "command: /app/target/release/app", "", False),
        (f"{SINGLE}{IMAGE}", "command: cargo run", "", True),
        (f"{SINGLE}{IMAGE}", "entrypoint: [sh, -c, 'cd x && cargo watch -x run']", "", True),
        (f"{SINGLE}CMD ./start.sh\n", "", "#!/bin/sh\nexec cargo run\n", True),
        (f"{SINGLE}CMD ./start.sh\n", "", "#!/bin/sh\nexec app\n", False),
        (f"{SINGLE}{IMAGE.replace('debian:bookworm-slim', 'rust:1')}", "command: cargo run", "", False),
    ],
)
def test_a_service_whose_containers_run_cargo_is_refused(
    tmp_path: Path, dockerfile: str, entry: str, script: str, runs: bool
) -> None:
    compose = f"services:\n  app:\n    build: .\n{f'    {entry}' if entry else ''}\n"
    _, finding = understand(tmp_path, dockerfile, {"compose.yaml": compose, **({"start.sh": script} if script else {})})
    whys = [item.why for item in finding.left]
    assert [s.name for s in finding.services] == ([] if runs else ["app"]), whys
    assert all("its containers run cargo (`" in why for why in whys)


def test_what_a_single_stage_puts_beside_the_sources_stays(tmp_path: Path) -> None:
    dockerfile = (
        "ARG REVISION=0\nFROM rust:1-bookworm\nARG REVISION\nRUN useradd -m app\nWORKDIR /app\nCOPY . .\n"
        "RUN cargo build --release\nCOPY static/a.css /etc/app/\nRUN chmod 600 /etc/app/a.css\n"
        "COPY --from=busybox:1 /bin/wget /usr/bin/wget\nRUN mkdir -p /stdb && ln -s /app/x /stdb/x\n"
        "ENV CARGO_TERM_COLOR=never MODE=fast\nLABEL revision=$REVISION\nUSER app\nCMD target/release/app\n"
    )
    text, notes = derived(tmp_path, dockerfile)
    lines = [line for line in stage(text, "runtime").split("\n") if not line.startswith(" ")]
    for line in ("RUN useradd -m app", "COPY static/a.css /etc/app/", "RUN chmod 600 /etc/app/a.css"):
        assert line in lines
    for line in ("COPY --from=busybox:1 /bin/wget /usr/bin/wget", "ENV MODE=fast", "ARG REVISION"):
        assert line in lines
    assert lines.index("RUN chmod 600 /etc/app/a.css") < lines.index("USER app")
    assert lines.index("COPY static/a.css /etc/app/") < lines.index("RUN chmod 600 /etc/app/a.css")
    assert "COPY . ." not in text
    assert any("ln -s /app/x /stdb/x" in note for note in notes)


def test_commands_of_a_stage_on_the_one_that_compiles_are_named(tmp_path: Path) -> None:
    end = "FROM build AS dev\nCOPY start.sh /start.sh\nRUN chmod +x /start.sh\nRUN ./setup --all\nCMD /start.sh\n"
    text, notes = derived(tmp_path, SINGLE + end, {"start.sh": "#!/bin/sh\nexec app\n"})
    there = stage(text, "runtime")
    assert there.index("COPY start.sh /start.sh") < there.index("RUN chmod +x /start.sh")
    assert "Dockerfile:8: the new image does not run this command: RUN ./setup --all" in notes


LEPTOS = '\n[package.metadata.leptos]\nbin-features = ["ssr"]\n'


def test_a_program_that_leptos_builds_is_not_compiled_without_its_features(tmp_path: Path) -> None:
    dockerfile = "FROM debian:bookworm-slim\nCOPY target/release/app /bin/app\n"
    assert finding_of(tmp_path / "plain", dockerfile, {}).services
    found = finding_of(tmp_path / "leptos", dockerfile, {"Cargo.toml": manifest("app", LEPTOS)})
    assert [item.why for item in found.left] == [
        "Dockerfile copies a program of Cargo.toml built with cargo leptos, which does more than compile"
    ]


def finding_of(place: Path, dockerfile: str, more: Files) -> Finding:
    return understand(place, dockerfile, more)[1]


def test_the_options_of_a_program_compiled_elsewhere_are_said_to_be_unknown(tmp_path: Path) -> None:
    notes = notes_of(tmp_path, "FROM debian:bookworm-slim\nCOPY target/release/app /bin/app\n")
    assert any(note.startswith("compiled outside Docker until now (app): compiled here with") for note in notes)


@pytest.mark.parametrize("table", ["dependencies", "workspace.dependencies"])
def test_a_crate_outside_the_repository_is_named(tmp_path: Path, table: str) -> None:
    more = f'\n[{table}]\ngen = {{ path = "../gen/crates/gen" }}\n' + ("[workspace]\n" if "w" in table else "")
    text = CRATE["Cargo.toml"]
    assert isinstance(text, str)
    notes = notes_of(tmp_path, BUILD + END, {"Cargo.toml": text + more})
    named = "path dependency outside the repository, which the build context cannot contain: ../gen/crates/gen."
    assert any(note.startswith(named) for note in notes)


def test_git_s_directory_is_not_in_the_context(tmp_path: Path) -> None:
    middle = "COPY . .\nRUN sed -i s/0/1/ Cargo.toml\nRUN cargo build --release\nCOPY .git /tmp/.git\nWORKDIR /tmp\n"
    dockerfile = f"{START}{middle}RUN git rev-parse HEAD > /commit\n{IMAGE}COPY --from=build /commit /commit\n"
    text, notes = derived(tmp_path, dockerfile)
    assert "RUN sed -i s/0/1/ Cargo.toml" in stage(text, "sources")
    assert "COPY .git" not in text
    assert "rev-parse" not in text
    assert notes[:2] == [
        "Dockerfile:6: not converted, because with .git in the build context, each commit compiles again: "
        "COPY .git /tmp/.git",
        f"Dockerfile:8: {NOT_CONVERTED}git rev-parse HEAD > /commit",
    ]


@pytest.mark.parametrize(
    ("test", "profile"),
    [('[ "$R" -eq "0" ]', "dev"), ("[ $R -ne 0 ]", "release"), ('[ "$R" -eq 1 ]', "release"), ("[ $R -ne 1 ]", "dev")],
)
def test_a_number_selects_the_profile(tmp_path: Path, test: str, profile: str) -> None:
    script = f"if {test}; then cargo build; else cargo build --release; fi"
    _, finding = understand(tmp_path, f"{START}ARG R=0\nCOPY . .\nRUN {script}\n{IMAGE}")
    assert [s.profile for s in finding.services] == [profile]


def test_installing_rustup_does_not_add_a_package_source(tmp_path: Path) -> None:
    rustup = "RUN apt update\nRUN curl https://sh.rustup.rs -sSf | sh -s -- -y\nRUN apt install -y libssl-dev\n"
    text, _ = derived(tmp_path, f"{START.replace('rust:1', 'buildpack-deps:1')}{rustup}{SOURCES}{IMAGE}")
    assert 'ARG BUILD_PACKAGES="libssl-dev"' in text
    assert "RUN apt install" not in text


def test_a_directory_that_the_sources_stage_does_not_make_is_not_copied_from_it(tmp_path: Path) -> None:
    middle = "COPY . .\nRUN ./gen.sh > /info\nRUN cargo build --release && install -D static/a.css /out/tree/a.css\n"
    end = f"{IMAGE}COPY --from=build /out/tree /srv\nCOPY --from=build /info /info\n"
    text, notes = derived(tmp_path, f"{START}{middle}{end}", {"gen.sh": "#!/bin/sh\n"})
    assert "COPY --from=sources /info /info" in text
    assert "RUN ./gen.sh > /info" in stage(text, "sources")
    assert "/out/tree /srv" not in text
    assert any("it is no longer in the image: COPY --from=build /out/tree /srv" in note for note in notes)


@pytest.mark.parametrize(
    ("option", "file", "named"),
    [("--default-toolchain 1.81.0", False, True), ("--default-toolchain=1.81.0", True, False), ("-y", False, False)],
)
def test_a_version_that_rustup_installed_is_named(tmp_path: Path, option: str, file: bool, named: bool) -> None:
    rustup = f"RUN curl https://sh.rustup.rs -sSf | sh -s -- {option}\n"
    more: Files = {"rust-toolchain.toml": '[toolchain]\nchannel = "1.81.0"\n'} if file else {}
    dockerfile = f"{START.replace('rust:1-bookworm', 'debian:12')}{rustup}{SOURCES}{IMAGE}"
    _, notes = derived(tmp_path, dockerfile, more, images="bookworm")
    assert (
        any(note.startswith("Dockerfile:3: rustup installed 1.81.0, and rust:1-bookworm has") for note in notes)
        == named
    )


@pytest.mark.parametrize(("value", "profile"), [("true", "release"), ("false", "dev")])
def test_a_test_in_an_assignment_selects_the_profile(tmp_path: Path, value: str, profile: str) -> None:
    flag = 'FLAG=$([ "$R" = "true" ] && echo "--release" || echo "")'
    dockerfile = f"{START}ARG R={value}\nCOPY . .\nRUN {flag} && cargo build $FLAG\n{IMAGE}"
    _, finding = understand(tmp_path, dockerfile)
    assert [s.profile for s in finding.services] == [profile]
    text, notes = derived(tmp_path, dockerfile)
    assert "FLAG=" not in text
    assert notes == []


def test_a_file_copied_into_the_directory_of_another_copy_is_named(tmp_path: Path) -> None:
    copies = "COPY server /app/all\nCOPY docker/.cargo /app/all/.cargo\nCOPY docker/web.sh /app/all/web.sh\n"
    build = f"FROM rust:1 AS build\n{copies}RUN cd /app/all && cargo build --release\n"
    image = "FROM debian:bookworm-slim\nCOPY --from=build /app/all/target/release/app /bin/app\n"
    files = {**crate("app", "server/"), "docker/.cargo/config.toml": "[build]\n", "docker/web.sh": ""}
    read, finding = found(tmp_path, {**files, "Dockerfile": build + image})
    notes = [f"{n.where}: {n.text}" for n in adopted.write(read, finding).notes if n.open]
    assert [note.partition(", because")[0] for note in notes] == ["Dockerfile:3: not converted"]


@pytest.mark.parametrize(("image", "older"), [("ubuntu:focal", True), ("debian:bookworm-slim", False), ("ubi9", True)])
def test_an_image_with_an_older_c_library_is_named(tmp_path: Path, image: str, older: bool) -> None:
    _, notes = derived(tmp_path, f"FROM {image}\nCOPY target/release/app /bin/app\n")
    assert any("may have an older C library than rust:1-bookworm" in note for note in notes) == older
