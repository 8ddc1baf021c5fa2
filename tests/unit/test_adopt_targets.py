"""A Dockerfile with several targets: only what the service's target needs counts, as in BuildKit."""

from __future__ import annotations

import posixpath
from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Finding
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.support.repositories import Files, manifest

CRATES: Files = {
    "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["api", "worker"]\n',
    "Cargo.lock": repositories.locked("api", "worker"),
    **{f"{name}/Cargo.toml": manifest(name, "[features]\ngpu = []") for name in ("api", "worker")},
    **{f"{name}/src/main.rs": "fn main() {}\n" for name in ("api", "worker")},
    "web/index.html": "",
}


def converted(place: Path, dockerfile: str, **targets: str) -> tuple[Finding, adopted.Files, str]:
    services = "".join(
        f"  {name}:\n    build:\n      context: .\n      target: {target}\n" for name, target in targets.items()
    )
    files = {**CRATES, "Dockerfile": dockerfile, "compose.yaml": f"name: shop\nservices:\n{services}"}
    repositories.write(place, files)
    read = tree.read(place)
    finding = look.find(read, repositories.resolved(place, files["compose.yaml"]), ("compose.yaml",))
    written = adopted.write(read, finding)
    return finding, written, written.texts["docker/Dockerfile"]


SEVERAL = """FROM node:22 AS web
COPY web /web
FROM rust:1-bookworm AS builder
WORKDIR /app
COPY . .
RUN cargo build --release -p api -p worker
FROM debian:bookworm-slim AS api
COPY --from=builder /app/target/release/api /bin/api
FROM builder AS embedded
COPY --from=web /web ./web
RUN cargo build --release -p api --features api/embed
FROM nvidia/cuda:12.9.1-devel-ubuntu22.04 AS gpu-builder
RUN curl -sSf https://sh.rustup.rs | sh -s -- -y
ENV CUDA_PATH=/usr/local/cuda SQLX_OFFLINE=true
WORKDIR /app
COPY . .
RUN cargo build --profile gpu -p worker --features worker/gpu
FROM debian:bookworm-slim AS gpu
COPY --from=gpu-builder /app/target/gpu/worker /bin/worker
FROM gpu AS both
COPY --from=embedded /app/target/release/api /bin/api
"""


def test_options_and_tools_of_another_target_do_not_count(tmp_path: Path) -> None:
    finding, written, text = converted(tmp_path, SEVERAL, api="api")
    service = finding.services[0]
    assert (service.binary, service.features, service.profile) == ("api", (), "release")
    for other in ("node:22", "CUDA_PATH", "SQLX_OFFLINE", "rustup.rs", "nvidia", "web"):
        assert other not in text
    assert [n for n in written.notes if n.open] == []


def test_each_target_has_the_options_of_its_own_stage(tmp_path: Path) -> None:
    finding, written, _ = converted(tmp_path, SEVERAL, api="api", worker="gpu")
    assert [(s.binary, s.features, s.profile) for s in finding.services] == [
        ("api", (), "release"),
        ("worker", ("worker/gpu",), "gpu"),
    ]
    assert [n.text for n in written.notes if n.open] == [
        "worker was compiled in nvidia/cuda:12.9.1-devel-ubuntu22.04; all services now share rust:1-bookworm"
    ]


def test_programs_of_one_image_with_different_options_are_named(tmp_path: Path) -> None:
    finding, written, _ = converted(tmp_path, SEVERAL, worker="both")
    assert (finding.services[0].binary, finding.services[0].features) == ("worker", ("worker/gpu",))
    assert "api was compiled with different cargo options than worker; both now use the same values" in [
        n.text for n in written.notes if n.open
    ]


@pytest.mark.parametrize(("more", "named"), [(" --features gpu", True), ("", False)])
def test_programs_of_one_stage_with_different_options_are_named(tmp_path: Path, more: str, named: bool) -> None:
    text = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\n"
    text += f"RUN cargo build --release --bin worker && cargo build --release -p api{more}\n"
    text += "FROM debian:bookworm-slim AS both\n"
    text += "".join(f"COPY --from=build /app/target/release/{name} /bin/{name}\n" for name in ("worker", "api"))
    finding, written, _ = converted(tmp_path, text, worker="both")
    assert (finding.services[0].binary, finding.services[0].features) == ("worker", ())
    assert [n.text for n in written.notes if n.open and "was compiled with" in n.text] == (
        ["api was compiled with different cargo options than worker; both now use the same values"] if named else []
    )


def test_a_target_that_compiles_in_its_own_image_is_not_the_last_stage(tmp_path: Path) -> None:
    """Includes everything from its base stage."""
    text = (
        "FROM rust:1-bookworm AS base\nWORKDIR /srv/app\nENV ROLE=dev\nCOPY . .\n"
        'FROM base AS dev\nRUN cargo build -p api\nEXPOSE 7000\nCMD ["target/debug/api"]\n'
        "FROM base AS build\nRUN cargo build --release -p worker\n"
        "FROM debian:bookworm-slim AS prod\nCOPY --from=build /srv/app/target/release/worker /bin/\nEXPOSE 9000\n"
    )
    finding, _, text = converted(tmp_path, text, one="dev")
    assert [(s.binary, s.profile) for s in finding.services] == [("api", "dev")]
    assert "EXPOSE 7000" in text
    assert "EXPOSE 9000" not in text
    assert "WORKDIR /srv/app\n" in text
    assert "ENV ROLE=dev\n" in text
    assert 'CMD ["/usr/local/bin/service"]' in text


AGENT = """FROM rust:1-bookworm AS base
WORKDIR /app
ENV SQLX_OFFLINE=true
COPY . .
FROM base AS build
ENV MODE=server
RUN xx-cargo install sqlx-cli --locked && cargo build --release -p api && cp target/release/api /out/shop-api
FROM base AS agent
ENV RUSTFLAGS="-C target-feature=+crt-static" MODE=agent
RUN LEVEL=9 cargo build --release -p worker && cp target/release/worker /out/worker-x86 && strip /out/worker-x86
FROM debian:bookworm-slim AS image
COPY --from=build /out/shop-api /bin/shop-api
COPY --from=build /usr/local/cargo/bin/sqlx /bin/sqlx
COPY --from=agent /out/worker-x86 /srv/worker
CMD ["shop-api"]
"""


def test_variables_of_another_program_s_stage_do_not_count(tmp_path: Path) -> None:
    finding, written, text = converted(tmp_path, AGENT, one="image")
    assert finding.services[0].binary == "api"
    _, _, compiling = text.partition("FROM toolchain AS compile")
    assert 'ENV SQLX_OFFLINE="true"\n' in compiling
    assert 'ENV MODE="server"\n' in compiling
    for other in ("crt-static", "agent", "LEVEL", "STRIP"):
        assert other not in text
    assert [n.text for n in written.notes if n.open] == [
        "worker was stripped by its Dockerfile but is no longer stripped: set `strip` in a profile in Cargo.toml",
        "worker was compiled with different RUSTFLAGS and MODE than api; both now use the same values",
    ]
    assert "    cargo install sqlx-cli --locked\n" in text  # our image does not contain xx


def test_options_of_a_tool_are_not_those_of_the_program(tmp_path: Path) -> None:
    install = "cargo install sqlx-cli --no-default-features --features postgres,rustls"
    text = AGENT.replace("cp target/release/api", f"{install} && cp target/release/api")
    finding, _, _ = converted(tmp_path, text, one="image")
    service = finding.services[0]
    assert (service.features, service.default_features, service.profile) == ((), True, "release")


@pytest.mark.parametrize("name", ["SOURCE", "BINS", "PROGRAMS", "STATIC", "REBUILD", "CROSS_PACKAGES"])
@pytest.mark.parametrize("where", ["stage", "global", "compose"])
def test_a_dockerfile_whose_arguments_have_our_names_is_built_as_it_is(tmp_path: Path, name: str, where: str) -> None:
    argument = f"ARG {name}=x\n"
    dockerfile = (
        f"{argument if where == 'global' else ''}FROM rust:1-bookworm AS build\n{argument if where == 'stage' else ''}"
        "WORKDIR /app\nCOPY . .\nRUN cargo build --release -p api\n"
        "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/api /bin/api\n"
    )
    given = f"      args:\n        {name}: y\n" if where == "compose" else ""
    compose = f"name: shop\nservices:\n  api:\n    build:\n      context: .\n{given}"
    files = {**CRATES, "Dockerfile": dockerfile, "compose.yaml": compose}
    repositories.write(tmp_path, files)
    finding = look.find(tree.read(tmp_path), repositories.resolved(tmp_path, compose), ("compose.yaml",))
    assert [s.name for s in finding.services if not s.added] == []
    assert [(one.name, f"an argument named {name}," in one.why) for one in finding.left] == [("api", True)]


def test_of_several_programs_without_a_command_the_one_with_the_services_name_is_meant(tmp_path: Path) -> None:
    dockerfile = (
        "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\n"
        "RUN cargo build --release --bin worker && cargo build --release -p api\nFROM debian:bookworm-slim AS both\n"
        "COPY --from=build /app/target/release/api /bin/api\nCOPY --from=build /app/target/release/worker /bin/worker\n"
        'COPY web/index.html /start.sh\nENTRYPOINT ["/start.sh"]\n'
    )
    finding, _, _ = converted(tmp_path, dockerfile, worker="both")
    assert finding.services[0].binary == "worker"


@pytest.mark.parametrize("there", [True, False])
def test_a_dockerfile_that_copies_git_lacks_nothing_where_it_is_there(tmp_path: Path, there: bool) -> None:
    dockerfile = (
        "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nCOPY .git .git\nRUN cargo build --release -p api\n"
        "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/api /bin/api\n"
    )
    compose = "name: shop\nservices:\n  db:\n    image: postgres:15\n"
    repositories.write(tmp_path, {**CRATES, "Dockerfile": dockerfile, "compose.yaml": compose})
    if there:
        (tmp_path / ".git").mkdir()
    finding = look.find(tree.read(tmp_path), repositories.resolved(tmp_path, compose), ("compose.yaml",))
    assert [s.binary for s in finding.services] == (["api"] if there else [])
    assert (
        any("the Dockerfile copies .git, which is not in the repository" in note.text for note in finding.notes)
        is not there
    )


@pytest.mark.parametrize(
    ("command", "copied"),
    [
        ("cargo build -p api --example demo", "target/debug/examples/demo"),
        ("cargo build --release --examples", "target/release/examples/api"),
        ("cargo build --release --example=demo && cp target/release/examples/demo /out", "/out"),
    ],
)
def test_an_example_is_not_mistaken_for_a_program(tmp_path: Path, command: str, copied: str) -> None:
    text = f"FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN {command}\n"
    text += f"FROM debian:bookworm-slim AS end\nCOPY --from=build {posixpath.join('/app', copied)} /bin/api\n"
    compose = "name: shop\nservices:\n  api:\n    build: .\n"
    repositories.write(tmp_path, {**CRATES, "Dockerfile": text, "compose.yaml": compose})
    finding = look.find(tree.read(tmp_path), repositories.resolved(tmp_path, compose), ("compose.yaml",))
    assert finding.services == ()
    name = "api" if "--examples" in command else "demo"
    assert [s.why for s in finding.left] == [
        f"Dockerfile ships the example {name}, but the compile step does not build examples"
    ]


def test_an_image_may_have_an_example_besides_its_program(tmp_path: Path) -> None:
    text = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\n"
    text += "RUN cargo build --release --bin api && cargo build --release --example api\n"
    text += "FROM debian:bookworm-slim AS end\nCOPY --from=build /app/target/release/api /bin/\n"
    text += "COPY --from=build /app/target/release/examples/api /bin/demo\n"
    finding, written, _ = converted(tmp_path, text, api="end")
    assert [(s.binary, [p.path for p in s.programs]) for s in finding.services] == [("api", ["/bin/"])]
    assert [n.where for n in written.notes if n.open] == ["Dockerfile:7"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("cargo build --example demo", "it ships the example demo, but the compile step does not build examples"),
        ("cargo leptos build --release", "it builds with cargo leptos, which does more than compile"),
    ],
)
def test_a_dockerfile_that_cannot_be_converted_is_named_without_a_compose_file(
    tmp_path: Path, command: str, why: str
) -> None:
    text = (
        f"FROM rust:1-bookworm AS build\nCOPY . .\nRUN {command}\nFROM debian:bookworm-slim\nCOPY --from=build /out /\n"
    )
    repositories.write(tmp_path, {**CRATES, "Dockerfile": text})
    notes = look.find(tree.read(tmp_path), {}, ()).notes
    assert [(n.where, n.text) for n in notes] == [("Dockerfile", f"not converted, because {why}")]


FEATURED = {
    **CRATES,
    "api/Cargo.toml": manifest(
        "api", '[features]\ndefault = ["a"]\na = []\nb = []\n\n[dependencies]\nlib = { path = "../lib" }'
    ),
    "lib/Cargo.toml": manifest("lib", "[features]\nfast = []"),
    "lib/src/lib.rs": "",
}


@pytest.mark.parametrize(
    ("command", "features"),
    [
        ("cargo build -p api --all-features", ("a", "b")),
        ("cargo build --bin api --all-features --release", ("a", "b", "lib/fast")),
        ("cargo install --path api --all-features", ("a", "b")),
        ("cargo build -p api", ()),
    ],
)
def test_all_features_of_a_crate_are_named(tmp_path: Path, command: str, features: tuple[str, ...]) -> None:
    text = f"FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN {command}\n"
    text += "FROM debian:bookworm-slim AS end\nCOPY --from=build /app/target/release/api /bin/\n"
    compose = "name: shop\nservices:\n  api:\n    build: .\n"
    repositories.write(tmp_path, {**FEATURED, "Dockerfile": text, "compose.yaml": compose})
    finding = look.find(tree.read(tmp_path), repositories.resolved(tmp_path, compose), ("compose.yaml",))
    assert finding.services[0].features == features


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("cargo build --release --config profile.release.lto=true -p api", "--config profile.release.lto=true"),
        ("cargo build --release --config=a.toml", "--config=a.toml"),
        ("cargo build -Zbuild-std --release", "-Zbuild-std"),
        ("cargo build -Z build-std --release --bin api", "-Z build-std"),
        ("cargo rustc --release --bin api -- -C link-arg=-s", "-- -C link-arg=-s"),
        ("cargo auditable build --release", "cargo auditable"),
        ("cargo build --release --locked -j 4 --bin api", ""),
        ("cargo build --release && cargo run --bin worker -- --config x", ""),
    ],
)
def test_what_changes_a_program_and_is_not_converted_is_named(tmp_path: Path, command: str, words: str) -> None:
    text = f"FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN {command}\n"
    text += "FROM debian:bookworm-slim AS end\nCOPY --from=build /app/target/release/api /bin/\n"
    finding, written, _ = converted(tmp_path, text, api="end")
    assert finding.services[0].profile == "release"
    assert [n.text for n in written.notes if n.open and "was compiled with" in n.text] == (
        [f"api was compiled with `{words}`, which was not converted"] if words else []
    )


def test_the_toolchain_that_cargo_is_called_with_compiles(tmp_path: Path) -> None:
    start = (
        "FROM rust:1-bookworm AS build\nRUN rustup toolchain install nightly-2026-01-01\nENV RUSTUP_TOOLCHAIN=1.80\n"
    )
    text = start + "WORKDIR /app\nCOPY . .\nRUN cargo +nightly-2026-01-01 build --release\n"
    image = "FROM debian:bookworm-slim AS end\nCOPY --from=build /app/target/release/api /bin/\n"
    _, written, ours = converted(tmp_path / "a", text + image, api="end")
    assert ours.count("RUSTUP_TOOLCHAIN") == 1
    assert ours.index("rustup toolchain install") < ours.index("ENV RUSTUP_TOOLCHAIN=nightly-2026-01-01")
    assert ours.index("ENV RUSTUP_TOOLCHAIN") < ours.index("/compile key")
    assert [n for n in written.notes if n.open] == []
    text += "FROM rust:1-bookworm AS other\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\n"
    image += "FROM debian:bookworm-slim AS two\nCOPY --from=other /app/target/release/worker /bin/\n"
    _, written, ours = converted(tmp_path / "b", text + image, api="end", worker="two")
    assert "api was compiled with `cargo +nightly-2026-01-01`; all services now share one toolchain" in str(
        [n.text for n in written.notes if n.open]
    )


def test_a_dockerfile_that_copies_the_whole_directory_of_programs_ships_the_program(tmp_path: Path) -> None:
    text = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release --bin api\n"
    text += "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/ /tmp/built/\n"
    text += 'RUN find /tmp/built -executable | xargs -I{} cp {} /server\nCMD ["/server"]\n'
    repositories.write(tmp_path, {**CRATES, "Dockerfile": text})
    read = tree.read(tmp_path)
    finding = look.find(read, {}, ())
    assert [s.binary for s in finding.services] == ["api"]
    assert "/bin/service /tmp/built/api\n" in adopted.write(read, finding).texts["docker/Dockerfile"]
