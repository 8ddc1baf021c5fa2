"""Which stages of which Dockerfile become a service, and their names; multiple workspaces in one repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.adopt import init
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World
from buildkit_tasks.distributions import bookworm
from buildkit_tasks.existing import install
from buildkit_tasks.survey import composed, look, model
from buildkit_tasks.survey.finding import Finding
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.support.repositories import Files, manifest

BUILD = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\n"
RUN = "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/app /bin/app\n"


def crate(name: str, place: str = "") -> Files:
    return {
        f"{place}Cargo.toml": manifest(name),
        f"{place}Cargo.lock": repositories.locked(name),
        f"{place}src/main.rs": "fn main() {}\n",
    }


def found(place: Path, files: Files) -> tuple[tree.Tree, Finding]:
    repositories.write(place, files)
    compose = next((p for p in files if p.startswith("compose.")), "")
    config = repositories.resolved(place, files[compose]) if compose else {}
    read = tree.read(place)
    return read, look.find(read, config, (compose,) if compose else ())


def dockerfile(place: Path, files: Files, path: str = "docker/Dockerfile") -> str:
    read, finding = found(place, files)
    return adopted.write(read, finding).texts[path]


def test_a_manifest_may_use_what_cargo_s_newer_toml_allows(tmp_path: Path) -> None:
    """TOML 1.1, which cargo reads but Python's parser does not: line breaks and trailing commas in a table."""
    more = 'itoa = {\n  version = "1",\n  default-features = false,\n}\n'
    files = {**crate("app"), "Cargo.toml": manifest("app", "\n[dependencies]", more), "Dockerfile": BUILD + RUN}
    _, finding = found(tmp_path, files)
    assert [s.binary for s in finding.services] == ["app"]


WORKER = (
    "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY programs ./\nRUN cargo build --release -p worker\n"
    "FROM debian:bookworm AS filters\nWORKDIR /app\nCOPY filters ./filters\nWORKDIR /app/filters\n"
    "RUN cargo build --release --target bpfel-unknown-none\n"
    "FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/worker /usr/local/bin/\n"
    "COPY --from=filters /app/filters/target/bpfel-unknown-none/release/drop /opt/filters/\n"
    'ENTRYPOINT ["/usr/local/bin/worker"]\n'
)


def test_a_stage_that_compiles_another_workspace_stays(tmp_path: Path) -> None:
    files = {
        **crate("drop", "filters/"),
        **crate("worker", "programs/"),
        "Dockerfile": WORKER,
        "compose.yaml": "name: shop\nservices:\n  worker:\n    build: .\n",
    }
    read, finding = found(tmp_path, files)
    service = finding.services[0]
    assert (service.binary, service.workspace, service.target) == ("worker", "programs", "")
    written = adopted.write(read, finding)
    text = next(t for p, t in written.texts.items() if p.endswith("Dockerfile"))
    assert "FROM debian:bookworm AS filters\nWORKDIR /app\nCOPY filters ./filters\nWORKDIR /app/filters\n" in text
    assert "--target bpfel-unknown-none" in text
    assert "COPY --from=filters /app/filters/target/bpfel-unknown-none/release/drop /opt/filters/" in text
    assert "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /usr/local/bin/worker" in text
    assert [n.text for n in written.notes if n.open] == []


def two(first: str, second: str) -> Files:
    """Two services of one workspace, each with its own Dockerfile."""
    return {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["api", "web"]\n',
        "Cargo.lock": repositories.locked("api", "web"),
        "api/Cargo.toml": manifest("api"),
        "api/src/main.rs": "fn main() {}\n",
        "web/Cargo.toml": manifest("web"),
        "web/src/main.rs": "fn main() {}\n",
        "api/Dockerfile": first,
        "web/Dockerfile": second,
        "compose.yaml": "name: shop\nservices:\n"
        + "".join(
            f"  {name}:\n    build:\n      context: .\n      dockerfile: {name}/Dockerfile\n" for name in ("api", "web")
        ),
    }


def front(name: str, side: str, use: str) -> str:
    program = f"FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/{name} /bin/{name}\n"
    return f"{BUILD}{side}{program}{use}"


def test_stages_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    """Each image still copies from the stage of its own Dockerfile; a shared stage is only written once."""
    first = front("api", "FROM node:20 AS assets\nRUN make api\n", "COPY --from=assets /made /srv\n")
    second = front("web", "FROM node:22 AS assets\nRUN make web\n", "COPY --from=assets /made /srv\n")
    text = dockerfile(tmp_path, two(first, second))
    assert "FROM node:20 AS assets\nRUN make api\n" in text
    assert "FROM node:22 AS web-assets\nRUN make web\n" in text
    api, web = text.split("# ---- web")
    assert "COPY --from=assets /made /srv" in api
    assert "COPY --from=web-assets /made /srv" in web


def test_the_same_stage_is_written_once(tmp_path: Path) -> None:
    side, use = "FROM node:20 AS assets\nRUN make\n", "COPY --from=assets /made /srv\n"
    text = dockerfile(tmp_path, two(front("api", side, use), front("web", side, use)))
    assert text.count("AS assets") == 1
    assert "-assets" not in text


def test_equal_stages_on_different_ones_are_not_the_same(tmp_path: Path) -> None:
    use = "COPY --from=assets /made /srv\n"
    sides = [f"FROM node:{n} AS node\nFROM node AS assets\nRUN make\n" for n in (20, 22)]
    text = dockerfile(tmp_path, two(front("api", sides[0], use), front("web", sides[1], use)))
    assert "FROM node:20 AS node\n" in text
    assert "FROM node AS assets\n" in text
    assert "FROM node:22 AS web-node\n" in text
    assert "FROM web-node AS web-assets\n" in text


@pytest.mark.parametrize("name", ["tools", "compile", "toolchain", "sources", "runtime", "Runtime-base"])
def test_a_stage_with_a_name_of_ours_gets_another(tmp_path: Path, name: str) -> None:
    files = {
        **crate("app"),
        "Dockerfile": f"{BUILD}FROM alpine AS {name}\nRUN make\n{RUN}COPY --from={name} /made /srv\n"
        f"RUN --mount=type=bind,from={name},target=/t cp /t/x /x\n",
        "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
    }
    text = dockerfile(tmp_path, files)
    new = f"app-{name.lower()}"
    assert f"FROM alpine AS {new}\nRUN make\n" in text
    assert f"COPY --from={new} /made /srv\n" in text
    assert f"from={new},target=/t" in text


def test_a_stage_without_a_name_gets_one(tmp_path: Path) -> None:
    """`COPY --from=0` uses BuildKit's stage number, which differs in our Dockerfile."""
    files = {
        **crate("app"),
        "Dockerfile": f"FROM alpine\nRUN make\n{BUILD}{RUN}COPY --from=0 /made /srv\n",
        "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
    }
    text = dockerfile(tmp_path, files)
    assert "FROM alpine AS app-0\nRUN make\n" in text
    assert "COPY --from=app-0 /made /srv\n" in text


def test_a_variant_of_a_dockerfile_is_no_service_of_another_workspace(tmp_path: Path) -> None:
    files = {
        **crate("app"),
        **crate("load", "sandbox/load/"),
        "Dockerfile": BUILD + RUN,
        "Dockerfile.arm": BUILD + RUN,
    }
    _, finding = found(tmp_path, files)
    assert [(s.name, s.workspace) for s in finding.services] == [("app", ".")]
    assert [(n.where, n.text) for n in finding.notes if "also ships" in n.text] == [
        ("Dockerfile.arm", "not converted, because Dockerfile also ships app")
    ]


def test_of_two_dockerfiles_the_one_beside_the_crate_is_converted(tmp_path: Path) -> None:
    files = several("fortuna", "argus")
    given = BUILD + RUN.replace("app", "fortuna")
    files |= {"argus/Dockerfile": given, "fortuna/Dockerfile": given}
    _, finding = found(tmp_path, files)
    assert [(s.name, s.recipe and s.recipe.path) for s in finding.services] == [("fortuna", "fortuna/Dockerfile")]
    assert [(n.where, n.text) for n in finding.notes if "also ships" in n.text] == [
        ("argus/Dockerfile", "not converted, because fortuna/Dockerfile also ships fortuna")
    ]


def test_crates_with_a_dockerfile_each_are_a_service_each(tmp_path: Path) -> None:
    files: Files = {}
    for name in ("api", "worker"):
        files |= crate(name, f"{name}/")
        files[f"{name}/Dockerfile"] = BUILD + RUN.replace("app /bin/app", f"{name} /bin/{name}")
    _, finding = found(tmp_path, files)
    assert [(s.name, s.workspace) for s in finding.services] == [("api", "api"), ("worker", "worker")]


def test_each_last_stage_is_an_image(tmp_path: Path) -> None:
    stages = "".join(
        f"FROM base AS {name}\nCOPY --from=build /app/target/release/{name} /bin/{name}\n" for name in ("api", "web")
    )
    files = {k: v for k, v in two("", "").items() if not k.endswith(("Dockerfile", ".yaml"))}
    _, finding = found(tmp_path, {**files, "Dockerfile": f"{BUILD}FROM debian:bookworm-slim AS base\n{stages}"})
    assert [(s.name, s.binary) for s in finding.services] == [("api", "api"), ("web", "web")]


def test_a_dockerfile_whose_program_an_argument_selects_is_named(tmp_path: Path) -> None:
    files = {k: v for k, v in two("", "").items() if not k.endswith(("Dockerfile", ".yaml"))}
    text = (
        "FROM rust:1 AS build\nARG CRATE\nCOPY . /app\nRUN cargo install --path $CRATE --root /app\n"
        "FROM debian:bookworm-slim\nCOPY --from=build /app/bin /app/bin\n"
    )
    _, finding = found(tmp_path, {**files, "Dockerfile": text})
    assert sorted(s.name for s in finding.services) == ["api", "web"]
    assert [n.where for n in finding.notes if "not converted" in n.text] == ["Dockerfile"]


def test_another_compose_file_that_builds_is_proposed(tmp_path: Path) -> None:
    files: Files = {
        **crate("app"),
        "compose.yaml": "name: shop\nservices:\n  db:\n    image: postgres:15\n",
        "compose.dev.yaml": "services:\n  app:\n    build: .\n",
        "compose.other.yaml": "services:\n  db:\n    image: postgres:15\n",
    }
    read, finding = found(tmp_path, files)
    others = ("compose.dev.yaml", "compose.other.yaml")
    with pytest.raises(Problem) as caught:
        init._require_rust(read, finding, model.Model(("compose.yaml",), False, {}, others=others))
    assert "run `COMPOSE_FILE=compose.dev.yaml buildkit-tasks init` to use that file" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        # a background job, which docker also waits for
        ("apk add --no-cache openssl-dev & cargo install cargo-chef", "libssl-dev"),
        ("apk add --no-cache --virtual .build openssl-dev || true", "libssl-dev"),
        ("apk add -X https://dl.example.org/edge openssl-dev > /dev/null", "libssl-dev"),
        ("apk add gnupg dpkg brotli-dev 2>&1", "dpkg gnupg libbrotli-dev"),
    ],
)
def test_packages_of_alpine_end_where_the_command_does(tmp_path: Path, command: str, expected: str) -> None:
    files = {
        **crate("app"),
        "Dockerfile": BUILD.replace("rust:1-bookworm", "rust:1-alpine").replace(
            "WORKDIR /app", f"RUN {command}\nWORKDIR /app"
        )
        + RUN,
        "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
    }
    read, finding = found(tmp_path, files)
    finding = bookworm.apply(finding)
    written = adopted.write(read, finding)
    assert f'ARG BUILD_PACKAGES="{expected}"' in written.texts["docker/Dockerfile"]
    assert [n.text for n in written.notes if n.open] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a && b; c", ["a", "b", "c"]),
        (
            "echo 'fn main() {}; x' > a && echo \"b; c && d\" > e",
            ["echo 'fn main() {}; x' > a", 'echo "b; c && d" > e'],
        ),
        ("a & b 2>&1 &> c >& d", ["a", "b 2>&1 &> c >& d"]),
        ("(a; b) && c $(d && e)", ["(a; b)", "c $(d && e)"]),
        ('echo \\" ; b', ['echo \\"', "b"]),
        ("a \\\n  && b", ["a \\", "b"]),
        ("it's; open", ["it's", "open"]),
        ("", []),
    ],
)
def test_commands_of_a_run(text: str, expected: list[str]) -> None:
    assert install.commands(text) == expected


def test_a_stand_in_for_the_sources_is_not_a_command_of_ours(tmp_path: Path) -> None:
    """Dummy sources that fill a layer with dependencies: our step needs none, and `;` in them is not a separator."""
    dummy = 'RUN mkdir src && echo "fn main() {}" > src/main.rs && echo "pub mod a; pub mod b;" > src/lib.rs\n'
    build = BUILD.replace("COPY . .\n", f"COPY Cargo.toml .\n{dummy}RUN cargo build --release\nCOPY . .\n")
    read, finding = found(
        tmp_path,
        {**crate("app"), "Dockerfile": build + RUN, "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n"},
    )
    assert [n.text for n in adopted.write(read, finding).notes if n.open] == []


@pytest.mark.parametrize(
    ("command", "copied", "program"),
    [
        # several files and a directory: every program keeps its name
        ("cp target/release/api target/release/web /usr/local/bin", "/usr/local/bin/web", "web"),
        ("cp target/release/web target/release/api /usr/local/bin", "/usr/local/bin/web", "web"),
        ("mv -v target/release/api target/release/web /out/", "/out/web", "web"),
        # one file: it gets the new name
        ("cp target/release/web /usr/local/bin/server", "/usr/local/bin/server", "web"),
        ("install -m 755 target/release/web /usr/local/bin/server", "/usr/local/bin/server", "web"),
        ("install -Dm755 target/release/web /srv/server", "/srv/server", "web"),
        ("strip -s -o /srv/server target/release/web", "/srv/server", "web"),
        ("objcopy --compress-debug-sections target/release/web ./main", "/app/main", "web"),
        ("if true; then cp target/release/web /srv/server; fi", "/srv/server", "web"),
        ("mkdir -p /srv && cp target/release/api /srv/one && cp target/release/web /srv/server", "/srv/server", "web"),
    ],
)
def test_a_program_is_known_by_the_name_that_it_was_copied_to(
    tmp_path: Path, command: str, copied: str, program: str
) -> None:
    """Never another program of the workspace under this program's name."""
    files = {k: v for k, v in two("", "").items() if not k.endswith(("Dockerfile", ".yaml"))}
    text = (
        f"FROM rust:1 AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release --workspace && {command}\n"
        f'FROM debian:bookworm-slim\nCOPY --from=build {copied} /usr/bin/\nENTRYPOINT ["/entrypoint.sh"]\n'
    )
    compose = "name: shop\nservices:\n  front:\n    build: .\n"
    _, finding = found(tmp_path, {**files, "Dockerfile": text, "compose.yaml": compose})
    assert [s.binary for s in finding.services] == [program]


def test_stages_put_on_debian_are_kept_apart(tmp_path: Path) -> None:
    """Stages of an image that was moved to Debian differ from those of its Dockerfile, but are renamed as well."""
    build = "FROM rust:1-alpine AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\n"
    last = "FROM alpine:3.20\nCOPY --from=build /app/target/release/{0} /bin/{0}\n"
    sides = {name: f"FROM node:20 AS assets\nRUN make {name}\n" for name in ("api", "web")}
    first, second = (build + sides[n] + last.format(n) + "COPY --from=assets /made /srv\n" for n in ("api", "web"))
    linked = {"Cargo.lock": repositories.locked("api: openssl-sys", "openssl-sys", "web")}
    read, finding = found(tmp_path, {**two(first, second), **linked})
    text = adopted.write(read, bookworm.apply(finding)).texts["docker/Dockerfile"]
    assert "libssl3" in text
    api, web = text.split("# ---- web")
    assert "COPY --from=assets /made /srv" in api
    assert "COPY --from=web-assets /made /srv" in web
    assert "FROM node:20 AS web-assets\nRUN make web\n" in text


@pytest.mark.parametrize("base", ["${BASE}", "debian:${VERSION}-slim"])
def test_an_image_without_a_name_is_said_and_not_written(tmp_path: Path, base: str) -> None:
    """BuildKit refuses such a FROM: "base name should not be blank"."""
    image = f"FROM {base}\nCOPY --from=build /app/target/release/app /bin/app\n"
    text = f"ARG BASE\nARG VERSION\n{BUILD}{image}"
    _, finding = found(tmp_path, {**crate("app"), "Dockerfile": text})
    assert next(n.text for n in finding.notes).startswith(
        "not converted, because line 7 uses an argument without a value in FROM"
    )
    assert not any(s.recipe for s in finding.services)


def test_an_argument_of_the_compose_file_names_the_image(tmp_path: Path) -> None:
    text = f"ARG BASE\n{BUILD}FROM ${{BASE}}\nCOPY --from=build /app/target/release/app /bin/app\n"
    build = "    build:\n      context: .\n      args:\n        BASE: ghcr.io:443/shop/base:2@sha256:abc\n"
    files = {**crate("app"), "Dockerfile": text, "compose.yaml": f"name: shop\nservices:\n  app:\n{build}"}
    _, finding = found(tmp_path, files)
    assert [s.binary for s in finding.services] == ["app"]


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("--bin ${SERVICE}", "does not show which program it ships"),
        ("--bin shop-api", "builds --bin shop-api, which is not in this repository"),
    ],
)
def test_a_program_that_does_not_exist_is_not_guessed(tmp_path: Path, option: str, why: str) -> None:
    """Use neither the only program of another workspace, nor the program of the package with this name."""
    two_programs = '[[bin]]\nname = "api"\npath = "src/main.rs"\n[[bin]]\nname = "job"\npath = "src/job.rs"\n'
    text = (
        "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nARG SERVICE\n"
        f"RUN cargo build --release {option}\n"
        "FROM debian:bookworm-slim\nARG SERVICE\nCOPY --from=build /app/target/release/${SERVICE} /app\n"
        'ENTRYPOINT ["/app"]\n'
    )
    files = {
        "Cargo.toml": manifest("shop", two_programs),
        "Cargo.lock": repositories.locked("shop"),
        "src/main.rs": "fn main() {}\n",
        "src/job.rs": "fn main() {}\n",
        **crate("shop-api", "crates/one/"),
        **crate("codegen", "hack/codegen/"),
        "Dockerfile": text,
        "compose.yaml": "name: shop\nservices:\n  app:\n    build: .\n",
    }
    files["crates/one/Cargo.toml"] = manifest("shop-api", '[[bin]]\nname = "one"\npath = "src/main.rs"\n')
    _, finding = found(tmp_path, files)
    assert [s.name for s in finding.services] == []
    assert why in finding.left[0].why


@pytest.mark.parametrize(
    ("here", "chosen"),
    [
        (".", "crates/fetcher/compose.yaml"),
        ("crates/server", "crates/server/compose.yaml"),
        ("crates/server/src", "crates/server/compose.yaml"),
        ("crates/server/db", "crates/fetcher/compose.yaml"),  # builds nothing
    ],
)
def test_the_compose_file_of_the_working_directory_is_the_one_to_edit(tmp_path: Path, here: str, chosen: str) -> None:
    """This applies without one in the root; compose itself looks in the working directory and its parents."""
    text = "services:\n  one:\n    build: .\n"
    files = {f"crates/{name}/compose.yaml": text for name in ("fetcher", "server")}
    files |= {f"crates/{name}/Cargo.toml": manifest(name) for name in ("fetcher", "server")}
    files |= {"crates/server/src/main.rs": "", "crates/server/db/compose.yaml": "services:\n  db:\n    image: db\n"}
    repositories.write(tmp_path, files)
    names, listed, others = model.compose_files(World({}, tmp_path / here, tmp_path), tree.read(tmp_path))
    assert (names, listed) == ((chosen,), True)
    assert chosen not in others


def stripping(name: str, command: str) -> str:
    build = BUILD.replace("cargo build --release", f"cargo build --release{command}")
    return f"{build}FROM debian:bookworm-slim\nCOPY --from=build /app/target/release/{name} /bin/{name}\n"


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (" && strip target/release/api", "\nRUN strip --strip-all -o /out/web target/release/web || true", "symbols"),
        (" && strip -g target/release/api", " && strip --strip-debug target/release/web", "debuginfo"),
        (" && strip target/release/api", "", None),
        (" && strip target/release/api", " && strip -g target/release/web", None),
        (" && strip -K main target/release/api", " && strip -K main target/release/web", None),
        ("", "", ""),
    ],
)
def test_programs_are_stripped_as_before(tmp_path: Path, first: str, second: str, kind: str | None) -> None:
    """cargo strips them, with one profile for all programs; if it cannot, this is reported to the user."""
    read, finding = found(tmp_path, two(stripping("api", first), stripping("web", second)))
    written = adopted.write(read, finding)
    text = written.texts["docker/Dockerfile"]
    reported = [n.where for n in written.notes if "stripped" in n.text]
    assert ('\nENV CARGO_PROFILE_RELEASE_STRIP="' in text) is bool(kind)
    assert not kind or f'RELEASE_STRIP="{kind}"\nRUN --mount' in text
    assert reported == ([f"{n}/Dockerfile" for n, c in (("api", first), ("web", second)) if c] if kind is None else [])


def test_a_dockerfile_that_is_not_clear_is_named_if_there_is_no_service(tmp_path: Path) -> None:
    files: Files = {
        **crate("one", "one/"),
        **crate("two", "two/"),
        "Cargo.toml": '[workspace]\nmembers = ["one", "two"]\n',
        "Dockerfile": BUILD.replace("--release", "--release --bin ${SERVICE}")
        + RUN.replace("app /bin", "${SERVICE} /bin"),
        "compose.yaml": "name: shop\nservices:\n  db:\n    image: postgres:15\n",
    }
    read, finding = found(tmp_path, files)
    with pytest.raises(Problem) as caught:
        init._require_rust(read, finding, model.Model(("compose.yaml",), False, {}))
    assert [c.split(" (")[0] for c in caught.value.causes] == [
        "Dockerfile: not converted, because it does not show which program it ships"
    ]


@pytest.mark.parametrize(
    ("first", "second", "reported"),
    [
        (
            'ENV RUSTFLAGS="-C target-cpu=native"\n',
            "",
            ['web was compiled without RUSTFLAGS; all services now share RUSTFLAGS="-C target-cpu=native"'],
        ),
        ("ENV MODE=a\n", "ENV MODE=b\n", ['api was compiled with MODE="a"; all services now share MODE="b"']),
        ("ENV SQLX_OFFLINE=true\n", "", []),  # only for build scripts and macros that ask for it
        ("ENV MODE=a\n", "ENV MODE=a\n", []),
        (
            "ARG RUSTFLAGS=-g\n",
            "ENV RUSTFLAGS=-O\n",
            ['web was compiled with RUSTFLAGS="-O"; all services now share RUSTFLAGS="-g"'],
        ),
        ("ARG RUSTFLAGS=-g\nENV RUSTFLAGS=$RUSTFLAGS\n", "ARG RUSTFLAGS=-g\nENV RUSTFLAGS=$RUSTFLAGS\n", []),
        ("ARG RUSTFLAGS=-g\nENV RUSTFLAGS=$RUSTFLAGS\n", "ENV RUSTFLAGS=-g\n", []),
        (
            # the last value of the argument counts for both
            "ARG flags=-g\nENV RUSTFLAGS=$flags\n",
            "ARG flags=-O\nENV RUSTFLAGS=$flags\n",
            [
                'api was compiled with flags="-g"; all services now share flags="-O"',
                'api was compiled with RUSTFLAGS="-g"; all services now share RUSTFLAGS="-O"',
            ],
        ),
        (
            "ARG RUSTFLAGS=-g\nENV RUSTFLAGS=$RUSTFLAGS\n",
            "ARG RUSTFLAGS=-O\nENV RUSTFLAGS=${RUSTFLAGS}\n",
            ['web was compiled with RUSTFLAGS="-O"; all services now share RUSTFLAGS="-g"'],
        ),
    ],
)
def test_a_program_that_is_compiled_with_other_variables_is_named(
    tmp_path: Path, first: str, second: str, reported: list[str]
) -> None:
    def text(name: str, more: str) -> str:
        return (BUILD.replace("WORKDIR", f"{more}WORKDIR") + RUN).replace(
            "release/app /bin/app", f"release/{name} /bin/"
        )

    read, finding = found(tmp_path, two(text("api", first), text("web", second)))
    assert [n.text for n in adopted.write(read, finding).notes if n.open] == reported


def test_a_program_that_is_now_static_is_named(tmp_path: Path) -> None:
    musl = "x86_64-unknown-linux-musl"
    first = BUILD.replace("--release", f"--release --target {musl}")
    first += f"FROM scratch\nCOPY --from=build /app/target/{musl}/release/api /api\n"
    read, finding = found(
        tmp_path, two(first, (BUILD + RUN).replace("/app/target/release/app", "/app/target/release/web"))
    )
    assert [n.text for n in adopted.write(read, finding).notes if n.open] == [
        "web is now linked statically (musl) like api, because all services share one compile step"
    ]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (("rust:1-alpine", "rust:1-alpine", "rust:1-slim"), "build-base musl-dev openssl-dev pkgconf unheard-of"),
        (
            ("rust:1-slim", "rust:1-slim", "rust:1-alpine"),
            "build-essential libssl-dev pkg-config unheard-of zlib1g-dev",
        ),
    ],
)
def test_packages_of_another_distribution_have_its_names(
    tmp_path: Path, images: tuple[str, str, str], expected: str
) -> None:
    """The services share one image; each list was written for the service's own image."""
    apk = "RUN apk add --no-cache musl-dev openssl-dev unheard-of\n"
    apt = "RUN apt-get update && apt-get install -y build-essential pkg-config libssl-dev unheard-of\n"
    names = ("api", "web", "job")
    files: Files = {
        "Cargo.toml": '[workspace]\nmembers = ["api", "web", "job"]\n',
        "Cargo.lock": repositories.locked(*names),
        "compose.yaml": "name: shop\nservices:\n",
    }
    for name, image in zip(names, images, strict=True):
        install = apk if "alpine" in image else apt
        more = "RUN apk add zlib-dev\n" if "alpine" in image and name == "job" else ""
        files |= {
            f"{name}/Cargo.toml": manifest(name),
            f"{name}/src/main.rs": "fn main() {}\n",
            f"{name}/Dockerfile": BUILD.replace("rust:1-bookworm", image).replace("WORKDIR", f"{install}{more}WORKDIR")
            + RUN.replace("app /bin/app", f"{name} /bin/"),
        }
        files["compose.yaml"] += f"  {name}:\n    build: {{context: ., dockerfile: {name}/Dockerfile}}\n"
    read, finding = found(tmp_path, files)
    written = adopted.write(read, finding)
    assert f'BUILD_PACKAGES="{expected}"' in written.texts["docker/Dockerfile"]
    assert [n.text for n in written.notes if "name" in n.text] == [
        f"unheard-of may have a different name in {images[0]}: check the name"
    ]


def test_a_compose_file_under_another_name_is_named_before_a_new_one_is_added(tmp_path: Path) -> None:
    build = "services:\n  app:\n    build: .\n"
    files: Files = {
        "deploy/docker-compose.prod.yml": build,
        "deploy/docker-compose.db.yml": "services:\n  db:\n    image: db\n",
        "tests/compose.e2e.yaml": build,
        "compose.local.yaml": build,
    }
    repositories.write(tmp_path, files)
    read = tree.read(tmp_path)
    names, _, others = model.compose_files(World({}, tmp_path, tmp_path), read)
    assert (names, others) == ((), ("compose.local.yaml", "deploy/docker-compose.prod.yml"))
    ours = composed.starting_ours(read)
    note = init._not_edited(read, model.Model((), False, {}), "deploy/docker-compose.prod.yml", ours)
    assert "`COMPOSE_FILE=deploy/docker-compose.prod.yml buildkit-tasks init`" in note.text


def test_a_dockerfile_that_copies_what_is_not_there_is_named(tmp_path: Path) -> None:
    """For example, a submodule that is not checked out. Dockerfiles with files in another context are converted."""
    files: Files = {
        **crate("app"),
        **crate("job", "jobs/"),
        "Dockerfile": BUILD.replace("COPY . .", "COPY vendor/lib vendor/lib\nCOPY . .") + RUN,
        "jobs/Dockerfile": (BUILD.replace("COPY . .", "COPY src src") + RUN).replace("app /bin/app", "job /bin/job"),
        "compose.yaml": "name: shop\nservices:\n  db:\n    image: postgres:15\n",
    }
    _, finding = found(tmp_path, files)
    assert [s.binary for s in finding.services] == ["job"]
    assert [(n.where, n.text) for n in finding.notes if "not converted" in n.text] == [
        ("Dockerfile", "not converted, because the Dockerfile copies vendor/lib, which is not in the repository")
    ]


def test_a_program_that_only_helps_to_build_an_image_is_no_service(tmp_path: Path) -> None:
    site = "FROM nginx\nCOPY --from=build /app/site /usr/share/nginx/html\n"
    files: Files = {
        **crate("app"),
        **crate("render", "render/"),
        "Dockerfile": BUILD + RUN,
        "ui.Dockerfile": BUILD.replace("--release", "-p render && target/debug/render site") + site,
    }
    _, finding = found(tmp_path, files)
    assert [s.binary for s in finding.services] == ["app"]
    assert [n.text for n in finding.notes if n.where == "ui.Dockerfile"] == [
        "not converted, because it compiles render, but the image does not contain the program; add a service to "
        "the compose file with the build arguments that select the program"
    ]


def test_a_containerfile_is_a_dockerfile_and_another_build_tool_is_named(tmp_path: Path) -> None:
    files: Files = {**crate("app"), "Containerfile": BUILD + RUN}
    _, finding = found(tmp_path / "one", files)
    assert [s.recipe.path for s in finding.services if s.recipe] == ["Containerfile"]
    nextest = BUILD.replace("build --release", "nextest archive --archive-file /a.tar.zst")
    build = "    build:\n      context: .\n      dockerfile: Containerfile\n"
    files |= {
        "Containerfile": nextest + "FROM debian\nCOPY --from=build /a.tar.zst /\n",
        "compose.yaml": f"services:\n  app:\n{build}  db:\n    image: db\n",
    }
    _, finding = found(tmp_path / "two", files)
    assert [item.why for item in finding.left] == [
        "Containerfile builds with cargo nextest, which does more than compile"
    ]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("", "ARG RUSTFLAGS\n"),
        ('[target.x86_64-pc-windows-msvc]\nrustflags = ["-Clink-arg=/STACK:1"]\n', "ARG RUSTFLAGS\n"),
        ('[build]\nrustflags = ["-Ctarget-cpu=x86-64-v3"]\n', 'ARG RUSTFLAGS=""\n'),
    ],
)
def test_an_empty_rustflags_is_kept_only_where_it_overrides_something(tmp_path: Path, config: str, line: str) -> None:
    given = BUILD.replace("RUN cargo", 'ARG RUSTFLAGS=""\nENV RUSTFLAGS="$RUSTFLAGS"\nRUN cargo')
    files = {**crate("app"), "Dockerfile": given + RUN}
    if config:
        files[".cargo/config.toml"] = config
    assert line in dockerfile(tmp_path, files)


def several(*names: str) -> Files:
    """A workspace with a program in each member."""
    files: Files = {"Cargo.toml": f"[workspace]\nmembers = [{', '.join(repr(n) for n in names)}]\nresolver = '2'\n"}
    for name in names:
        files |= {f"{name}/Cargo.toml": manifest(name), f"{name}/src/main.rs": "fn main() {}\n"}
    return {**files, "Cargo.lock": repositories.locked(*names)}


GATHERED = "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release{made}\n"
FROM_BUILD = 'FROM debian:bookworm-slim\nWORKDIR /srv\nCOPY --from=build {copy}\nCMD ["./worker"]\n'


@pytest.mark.parametrize(
    "made",
    [
        " && mkdir -p /release && cp target/release/api /release && cp target/release/worker /release",
        "\nRUN mkdir /release && mv target/release/api target/release/worker /release/ && strip /release/*",
        "\nRUN install -D -m 755 -t x target/release/none /x || true\nRUN mkdir /release\n"
        "RUN for p in api worker; do cp target/release/$p /release/; done; ls -l /release",
        "\nRUN cp target/release/api target/release/worker /release/",
    ],
    ids=["one-by-one", "moved", "a-loop", "together"],
)
@pytest.mark.parametrize("copy", ["/release/* ./", "/release /srv", "/release/ .", "release/* /srv/"])
def test_programs_that_are_copied_as_a_directory_are_all_in_the_image(tmp_path: Path, made: str, copy: str) -> None:
    files = {**several("api", "worker"), "Dockerfile": GATHERED.format(made=made) + FROM_BUILD.format(copy=copy)}
    read, finding = found(tmp_path, files)
    (service,) = finding.services
    assert (service.binary, [p.name for p in service.programs]) == ("worker", ["api", "worker"])
    lines = adopted.write(read, finding).texts["docker/Dockerfile"].splitlines()
    assert "COPY --from=compile /out/${CACHE_SCOPE}/api/bin/service /srv/api" in lines
    assert "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /srv/worker" in lines


@pytest.mark.parametrize("more", ["cp config.toml /release/", "echo 1 > /release/version", "./stage.sh /release"])
def test_a_directory_with_more_than_programs_is_reported(tmp_path: Path, more: str) -> None:
    made = f" && mkdir /release && cp target/release/api target/release/worker /release/ && {more}"
    files = {
        **several("api", "worker"),
        "Dockerfile": GATHERED.format(made=made) + FROM_BUILD.format(copy="/release/* ./"),
    }
    read, finding = found(tmp_path, files)
    notes = [note.text for note in adopted.write(read, finding).notes]
    assert any("created by a stage that the compile step replaces" in text for text in notes), notes


@pytest.mark.parametrize(
    "copy", ["packages/app/package.json ./packages/app/", "packages/app ./packages/app", "packages/app/ /opt/app"]
)
def test_a_directory_with_a_program_s_name_is_not_a_prebuilt_program(tmp_path: Path, copy: str) -> None:
    image = f"FROM node:22\nCOPY {copy}\nRUN npm ci\n"
    files = {**crate("app"), "packages/app/package.json": "{}\n", "Dockerfile": image}
    _, finding = found(tmp_path, files)
    assert [(s.name, s.recipe) for s in finding.services] == [("app", None)]
    more = {**crate("app"), "Dockerfile": "FROM debian:bookworm\nCOPY dist/app /usr/bin/app\n"}
    _, finding = found(tmp_path / "more", more)
    assert [s.recipe is not None for s in finding.services] == [True]


def test_a_tool_s_command_keeps_the_arguments_that_it_uses(tmp_path: Path) -> None:
    tools = (
        "ARG TARGETARCH\nARG SANITIZER\nARG VERSION=1.2\n"
        "RUN curl -fsSL https://example.com/t-$VERSION-${TARGETARCH}.tgz | tar xz -C /usr/local/bin\n"
        'RUN if [ "$SANITIZER" = 1 ]; then rustup default nightly; fi\n'
    )
    flags = "ARG SANITIZER\nENV RUSTFLAGS=${SANITIZER:+'-Z sanitizer=address'}\n"
    given = BUILD.replace("WORKDIR", f"{tools}WORKDIR").replace("RUN cargo", f"{flags}RUN cargo") + RUN
    text = dockerfile(tmp_path / "a", {**crate("app"), "Dockerfile": given})
    toolchain, _, compiling = text.partition("FROM toolchain AS compile")
    before, _, after = toolchain.partition("https://example.com/t-$VERSION-${BUILDARCH}.tgz")
    assert "ARG BUILDARCH\n" in before
    assert 'ARG VERSION="1.2"\n' in before
    assert "ARG SANITIZER\n" in after.partition('"$SANITIZER" = 1')[0]
    assert compiling.index("ARG SANITIZER\n") < compiling.index('ARG RUSTFLAGS="${SANITIZER:+-Z sanitizer=address}"\n')
    crossed = given.replace("FROM rust", "FROM --platform=$BUILDPLATFORM rust", 1)
    text = dockerfile(tmp_path / "b", {**crate("app"), "Dockerfile": crossed})
    before, _, _ = text.partition("https://example.com/t-$VERSION-${TARGETARCH}.tgz")
    assert "ARG TARGETARCH\n" in before
    below = given.replace("FROM rust:1-bookworm AS", "FROM --platform=$BUILDPLATFORM rust:1 AS base\nFROM base AS", 1)
    assert "t-$VERSION-${TARGETARCH}.tgz" in dockerfile(tmp_path / "c", {**crate("app"), "Dockerfile": below})


@pytest.mark.parametrize(("declared", "profile"), [("ARG KIND", "release"), ("ARG KIND=dist", "dist")])
def test_a_profile_that_only_the_builder_knows_is_said(tmp_path: Path, declared: str, profile: str) -> None:
    given = BUILD.replace("RUN cargo build --release", f"{declared}\nRUN cargo build --profile ${{KIND}}")
    copied = RUN.replace("target/release/app", "target/${KIND}/app")
    more = manifest("app", "\n[profile.dist]\ninherits = 'release'\n")
    read, finding = found(tmp_path, {**crate("app"), "Cargo.toml": more, "Dockerfile": given + copied})
    assert [s.profile for s in finding.services] == [profile]
    said = [note.text for note in adopted.write(read, finding).notes if note.open]
    assert [text for text in said if "profile" in text] == (
        ["cannot determine the profile ${KIND}, so release is used: set the build argument PROFILE of app"]
        if profile == "release"
        else []
    )


def test_a_command_runs_in_its_directory_and_later_ones_in_theirs(tmp_path: Path) -> None:
    before = (
        "WORKDIR /usr/src\nRUN echo 'int f() {return 1;}' > f.c && gcc -shared -o libf.so f.c\n"
        "RUN gcc -shared -o libg.so f.c\nWORKDIR lib\nRUN touch here\n"
    )
    given = BUILD.replace("WORKDIR", f"{before}WORKDIR")
    files = {**crate("app"), "Dockerfile": given + RUN + "COPY --from=build /usr/src/libf.so /usr/lib/libf.so\n"}
    text = dockerfile(tmp_path, files)
    assert (
        "WORKDIR /usr/src\nRUN echo 'int f() {return 1;}' > f.c && gcc -shared -o libf.so f.c\n"
        "RUN gcc -shared -o libg.so f.c\nWORKDIR /usr/src/lib\nRUN touch here\nWORKDIR /\n"
    ) in text
    assert "COPY --from=toolchain /usr/src/libf.so /usr/lib/libf.so\n" in text


def test_a_stage_starts_in_the_directory_of_the_one_below(tmp_path: Path) -> None:
    given = (
        "FROM rust:1-bookworm AS base\nWORKDIR /opt/t\nFROM base AS build\nRUN touch here\n"
        "WORKDIR /app\nCOPY . .\nRUN cargo build --release\n"
    )
    assert "WORKDIR /opt/t\nRUN touch here\nWORKDIR /\n" in dockerfile(
        tmp_path, {**crate("app"), "Dockerfile": given + RUN}
    )


def test_packages_from_another_source_are_installed_after_it_was_added(tmp_path: Path) -> None:
    before = (
        "RUN wget -qO- https://example.com/key | tee /usr/share/keyrings/x.gpg && echo 'deb "
        "[signed-by=/usr/share/keyrings/x.gpg] https://example.com all main' > /etc/apt/sources.list.d/x.list\n"
        "RUN apt-get update && apt-get install -y x-devel=2024.0\n"
    )
    first = "RUN apt-get update && apt-get install -y cmake\n"
    given = BUILD.replace("WORKDIR", f"{first}{before}WORKDIR")
    text = dockerfile(tmp_path, {**crate("app"), "Dockerfile": given + RUN})
    assert 'ARG BUILD_PACKAGES="cmake' in text
    assert "x-devel" not in text.partition("BUILD_PACKAGES=")[2].partition("\n")[0]
    assert text.index("/etc/apt/sources.list.d/x.list") < text.index("apt-get install -y x-devel=2024.0")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/usr/local/go/bin:$PATH", "/usr/local/go/bin:$PATH"),
        ("/opt/protoc/bin:${PATH}", "/opt/protoc/bin:${PATH}"),
        ("/usr/local/cargo/bin:/usr/bin:/bin", "/usr/local/cargo/bin:/usr/bin:/bin:$PATH"),
    ],
)
def test_the_path_of_a_compile_stage_is_kept(tmp_path: Path, given: str, kept: str) -> None:
    text = BUILD.replace("WORKDIR", f'ENV PATH="{given}"\nWORKDIR')
    toolchain = dockerfile(tmp_path, {**crate("app"), "Dockerfile": text + RUN}).partition("FROM toolchain")[0]
    assert f'ENV PATH="{kept}"\n' in toolchain


OVER = BUILD.replace("RUN cargo", "COPY docker/cargo-config.toml .cargo/config.toml\nRUN cargo")


@pytest.mark.parametrize(
    "chef",
    ["", "FROM rust:1-bookworm AS planner\nWORKDIR /app\nCOPY . .\nRUN cargo chef prepare\n"],
    ids=["plain", "chef"],
)
def test_a_file_that_is_copied_over_the_sources_is_there_when_cargo_runs(tmp_path: Path, chef: str) -> None:
    files = {**crate("app"), "docker/cargo-config.toml": "[build]\nrustflags = []\n", "Dockerfile": chef + OVER + RUN}
    read, finding = found(tmp_path, files)
    made = adopted.write(read, finding)
    _, _, stage = made.texts["docker/Dockerfile"].partition("FROM toolchain AS sources\n")
    stage = stage.partition("\n\n")[0]
    assert stage.index("COPY . .") < stage.index("COPY docker/cargo-config.toml .cargo/config.toml")
    assert not [note for note in made.notes if "at their paths in the repository" in note.text]


def test_a_file_that_the_sources_are_copied_over_is_not(tmp_path: Path) -> None:
    given = BUILD.replace("COPY . .", "COPY docker/dummy.rs src/main.rs\nRUN cargo build --release\nCOPY . .")
    files = {**crate("app"), "docker/dummy.rs": "fn main() {}\n", "Dockerfile": given + RUN}
    assert "AS sources" not in dockerfile(tmp_path, files)


def test_a_file_over_the_sources_of_one_service_of_several_is_reported(tmp_path: Path) -> None:
    compose = "name: s\nservices:\n  api:\n    build: {context: ., dockerfile: api.Dockerfile}\n"
    compose += "  worker:\n    build: {context: ., dockerfile: worker.Dockerfile}\n"
    files = {
        **several("api", "worker"),
        "docker/cargo-config.toml": "[build]\n",
        "compose.yaml": compose,
        "api.Dockerfile": OVER + RUN.replace("app", "api"),
        "worker.Dockerfile": BUILD + RUN.replace("app", "worker"),
    }
    read, finding = found(tmp_path, files)
    said = [f"{note.where}: {note.text}" for note in adopted.write(read, finding).notes if note.open]
    assert [text for text in said if "at their paths in the repository" in text] == [
        "api.Dockerfile:4: not converted, because the compile step reads files at their paths in the repository: "
        "COPY docker/cargo-config.toml .cargo/config.toml"
    ]


def test_a_build_argument_that_no_line_declares_is_the_user_s(tmp_path: Path) -> None:
    compose = "name: s\nservices:\n  app:\n    build:\n      context: .\n      args: {UNUSED: 'true', MODE: release}\n"
    given = BUILD.replace("RUN cargo build --release", "ARG MODE\nRUN cargo build --profile $MODE")
    read, finding = found(tmp_path, {**crate("app"), "compose.yaml": compose, "Dockerfile": given + RUN})
    made = adopted.write(read, finding)
    assert "UNUSED" in made.texts["compose.yaml"]
    assert "MODE" not in made.texts["compose.yaml"]
    assert [n.text for n in made.notes if "removed build arguments" in n.text] == [
        "removed build arguments whose values are now in the new files: MODE"
    ]


@pytest.mark.parametrize("mode", ["edit", "override"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("build: {context: ., dockerfile: '${FILE:-Dockerfile}'}", ["`dockerfile: ${FILE:-Dockerfile}` becomes "]),
        ("build: {context: ., dockerfile: Dockerfile, args: {A: '$B'}}", []),
        ("build: .", []),
    ],
)
def test_a_variable_that_no_longer_selects_what_is_built_is_reported(
    tmp_path: Path, mode: str, given: str, said: list[str]
) -> None:
    compose = f"name: s\nservices:\n  app:\n    {given}\n"
    read, finding = found(tmp_path, {**crate("app"), "compose.yaml": compose, "Dockerfile": BUILD + RUN})
    notes = [n for n in adopted.write(read, finding, compose=mode).notes if "no longer has an effect" in n.text]
    assert [n.where for n in notes] == ["app"] * len(said)
    assert all(n.text.startswith(start) for n, start in zip(notes, said, strict=True)), notes


SELECTED = (
    "FROM rust:1-bookworm AS build\nWORKDIR /app\nCOPY . .\nARG SERVICE\nRUN cargo build --release --bin ${SERVICE}\n"
    "FROM debian:bookworm-slim\nARG SERVICE\nWORKDIR /srv/${SERVICE}\n"
    'COPY --from=build /app/target/release/${SERVICE} ./server\nENTRYPOINT ["./server"]\n'
)


@pytest.mark.parametrize("compose", ["", "name: shop\nservices:\n  db:\n    image: postgres:15\n"], ids=["none", "db"])
def test_a_dockerfile_that_an_argument_serves_becomes_a_service_for_each_program(tmp_path: Path, compose: str) -> None:
    files = {
        **several("api", "worker"),
        "deploy/Dockerfile": SELECTED,
        **({"compose.yaml": compose} if compose else {}),
    }
    read, finding = found(tmp_path, files)
    assert [(s.name, s.binary, s.args) for s in finding.services] == [
        (name, name, {"SERVICE": name}) for name in ("api", "worker")
    ]
    made = adopted.write(read, finding)
    model_ = repositories.resolved(tmp_path, made.texts["compose.yaml"])
    assert [model_["services"][n]["build"]["args"]["SERVICE"] for n in ("api", "worker")] == ["api", "worker"]
    assert "WORKDIR /srv/${SERVICE}\n" in made.texts["docker/Dockerfile"]


def test_a_database_alone_gets_the_programs_of_the_workspace(tmp_path: Path) -> None:
    compose = "name: shop\nservices:\n  db:\n    image: postgres:15\n"
    read, finding = found(tmp_path, {**several("api", "worker"), "compose.yaml": compose})
    assert [(s.name, s.added, s.idle) for s in finding.services] == [("api", True, False), ("worker", True, False)]
    assert adopted.write(read, finding).texts["compose.yaml"].startswith(compose)


@pytest.mark.parametrize(
    ("dockerfile", "rust"),
    [
        ("FROM node:22\nCOPY . .\nRUN npm ci\n", False),
        (None, False),
        ("FROM rust:1\nCOPY . .\nRUN cargo build\n", True),
        ("FROM debian\nCOPY dist/app /bin/app\n", True),
    ],
)
def test_a_compose_file_of_another_part_of_the_repository_stays(
    tmp_path: Path, dockerfile: str | None, rust: bool
) -> None:
    files = {**crate("app"), "web/compose.yaml": "services:\n  web:\n    build: .\n"}
    files |= {"web/Dockerfile": dockerfile} if dockerfile else {}
    files |= {"web/package.json": "{}\n"}
    repositories.write(tmp_path, files)
    names, _, others = model.compose_files(World({}, tmp_path, tmp_path), tree.read(tmp_path))
    assert (names, others) == ((("web/compose.yaml",), ()) if rust else ((), ("web/compose.yaml",)))


def test_of_several_compose_files_the_one_that_builds_rust_is_edited(tmp_path: Path) -> None:
    files = {**crate("app", "services/"), "services/compose.yaml": "services:\n  app:\n    build: .\n"}
    files |= {"app/compose.yaml": "services:\n  web:\n    build: .\n", "app/Dockerfile": "FROM node:22\n"}
    files |= {"services/Dockerfile": BUILD + RUN}
    repositories.write(tmp_path, files)
    names, listed, _ = model.compose_files(World({}, tmp_path, tmp_path), tree.read(tmp_path))
    assert (names, listed) == (("services/compose.yaml",), True)


@pytest.mark.parametrize(
    "guard",
    [
        'test -n "$SERVICE" || (echo "no SERVICE" && false)',
        '[ -n "${SERVICE}" ] || exit 1',
        '[ -z "$SERVICE" ] && { echo missing; exit 1; } || true',
        'if [ -z "$SERVICE" ]; then echo "missing" >&2; exit 1; fi',
        ': "${SERVICE:?}"',
    ],
)
def test_a_check_of_the_argument_that_selects_the_program_does_not_split_the_toolchain(
    tmp_path: Path, guard: str
) -> None:
    given = SELECTED.replace("RUN cargo", f"RUN {guard}\nRUN cargo").replace("COPY . .\nARG SERVICE\n", "ARG SERVICE\n")
    given = given.replace("RUN cargo", "COPY . .\nRUN cargo")
    text = dockerfile(tmp_path, {**several("api", "worker"), "Dockerfile": given})
    assert "SERVICE" not in text.partition("FROM ${RUNTIME_IMAGE}")[0].replace("CACHE_SCOPE", "")
