"""Services whose Dockerfiles copy their programs from the image of another service."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Finding
from buildkit_tasks.workspaces import tree
from tests.support import repositories
from tests.support.repositories import Files, locked, manifest

BUILD = (
    "FROM rust:1-bookworm AS builder\nRUN mkdir /rust /rust/bins\nCOPY Cargo.toml Cargo.lock /rust/\n"
    "COPY crates /rust/crates\nWORKDIR /rust\nRUN --mount=type=cache,target=/rust/target \\\n"
    "  cargo build --release --bins && cp `find /rust/target/release -maxdepth 1 -type f | grep -v '\\.' ` /rust/bins\n"
)
BUILDER = BUILD + "FROM debian:bookworm-slim AS final\nCOPY --from=builder /rust/bins /das/\nCMD echo compiled\n"
#: The image is the toolchain itself.
TOOLCHAIN = "FROM rust:1-bookworm\nWORKDIR /src\nCOPY . .\nRUN cargo build --release\n"
ONE = "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service "


def program(name: str, image: str = "acme/builder", place: str = "/das") -> str:
    return (
        f"FROM {image} AS files\nFROM debian:bookworm-slim\nARG APP=/usr/src/app\nRUN mkdir -p ${{APP}}\n"
        f"COPY --from=files {place}/{name} ${{APP}}\nWORKDIR ${{APP}}\nCMD /usr/src/app/{name}\n"
    )


def compose(**more: str) -> str:
    """Return a compose file. `more`: keys of a service's `build:` in flow style, or a new service."""
    services = {
        "builder": "context: ., dockerfile: builder.Dockerfile",
        "api": "context: ., dockerfile: api.Dockerfile",
        "ingest": "context: ., dockerfile: ingest.Dockerfile",
        **more,
    }
    image = {"builder": "    image: acme/builder\n"}
    return "name: shop\nservices:\n" + "".join(
        f"  {name}:\n{image.get(name, '')}    build: {{{build}}}\n" for name, build in services.items()
    )


def workspace(*names: str) -> Files:
    files: Files = {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n',
        "Cargo.lock": locked(*names),
    }
    for name in names:
        files[f"crates/{name}/Cargo.toml"] = manifest(name)
        files[f"crates/{name}/src/main.rs"] = "fn main() {}\n"
    return files


FILES: Files = {
    **workspace("api", "ingest"),
    "builder.Dockerfile": BUILDER,
    "api.Dockerfile": program("api"),
    "ingest.Dockerfile": program("ingest"),
    "compose.yaml": compose(),
}


def found(place: Path, files: Files) -> tuple[tree.Tree, Finding]:
    repositories.write(place, files)
    read = tree.read(place)
    return read, look.find(read, repositories.resolved(place, files["compose.yaml"]), ("compose.yaml",))


def written(place: Path, files: Files) -> adopted.Files:
    read, finding = found(place, files)
    assert finding.left == ()
    return adopted.write(read, finding)


def stage(files: adopted.Files, name: str) -> str:
    """Return a runtime stage of our Dockerfile."""
    text = files.texts["docker/Dockerfile"]
    start = text.find(f" AS runtime-{name}\n")
    start = text.index(" AS runtime\n") if start < 0 else start
    return text[start:].split("\n# ----")[0]


def refused(place: Path, files: Files, name: str = "api") -> str:
    _, finding = found(place, files)
    return next(item.why for item in finding.left if item.name == name)


def test_programs_of_another_service_s_image_are_compiled_here(tmp_path: Path) -> None:
    read, finding = found(tmp_path, FILES)
    assert [(s.name, s.binary) for s in finding.services] == [("builder", "api"), ("api", "api"), ("ingest", "ingest")]
    files = adopted.write(read, finding)
    text = files.texts["docker/Dockerfile"]
    assert text.count("cargo build") == 1  # in a comment of ours
    assert "acme/builder" not in text
    assert f"{ONE}/usr/src/app/api\nWORKDIR ${{APP}}\nCMD /usr/src/app/api\n" in stage(files, "api")
    assert f"{ONE}/usr/src/app/ingest\n" in stage(files, "ingest")
    assert f"{ONE}/das/api\nCOPY --from=compile /out/${{CACHE_SCOPE}}/ingest/bin/service /das/ingest\n" in text
    assert [n.text for n in files.notes if n.open] == []


@pytest.mark.parametrize(
    ("image", "builder"),
    [
        ("shop-builder", "    image: acme/builder\n"),  # compose's default name
        ("docker.io/acme/builder:latest", ""),
        ("ghcr.io/acme/tools:1", "    image: acme/builder\n"),
    ],
)
def test_an_image_is_found_under_every_name_that_it_has(tmp_path: Path, image: str, builder: str) -> None:
    text = compose(builder="context: ., dockerfile: builder.Dockerfile, tags: ['ghcr.io/acme/tools:1']")
    files = {**FILES, "compose.yaml": text.replace(builder, ""), "api.Dockerfile": program("api", image)}
    files["ingest.Dockerfile"] = f"FROM debian:bookworm-slim\nCOPY --from={image} /das/ingest /bin/\n"
    made = written(tmp_path, files)
    assert f"{ONE}/usr/src/app/api\n" in stage(made, "api")
    assert f"{ONE}/bin/ingest\n" in stage(made, "ingest")


def test_an_additional_context_names_the_service(tmp_path: Path) -> None:
    text = compose(
        api="context: ., dockerfile: api.Dockerfile, additional_contexts: {base: 'service:builder'}",
        ingest="context: ., dockerfile: ingest.Dockerfile, additional_contexts: {base: 'service:builder', x: ./crates}",
    ).replace("    image: acme/builder\n", "")
    files = {n: t.replace("acme/builder", "base") for n, t in FILES.items()}
    made = written(tmp_path, {**files, "compose.yaml": text})
    assert f"{ONE}/usr/src/app/api\n" in stage(made, "api")
    # nothing uses the other service's image any more
    assert made.texts["compose.yaml"].count("service:builder") == 1
    assert "./crates" in made.texts["compose.yaml"]


def test_an_image_of_an_image(tmp_path: Path) -> None:
    collect = "FROM debian:bookworm-slim\nRUN echo 1 > /etc/version\nCOPY --from=acme/builder /das /all\n"
    text = compose(collect="context: ., dockerfile: collect.Dockerfile").replace(
        "  collect:\n", "  collect:\n    image: acme/all\n"
    )
    files = {**FILES, "compose.yaml": text, "collect.Dockerfile": collect}
    files["api.Dockerfile"] = program("api", "acme/all", "/all") + "COPY --from=files /etc/version /etc/version\n"
    files["ingest.Dockerfile"] = "FROM debian:bookworm-slim\nCOPY --from=acme/all /all/ingest /bin/\n"
    made = written(tmp_path, files)
    assert f"{ONE}/usr/src/app/api\n" in stage(made, "api")
    assert f"{ONE}/bin/ingest\n" in stage(made, "ingest")
    assert f"{ONE}/all/api\n" in stage(made, "collect")
    # the stage with the other file stays, without the compiled files
    text = made.texts["docker/Dockerfile"]
    assert "COPY --from=files /etc/version /etc/version" in stage(made, "api")
    assert "FROM debian:bookworm-slim AS collect-0\nRUN echo 1 > /etc/version\n\nFROM collect-0 AS files\n" in text


@pytest.mark.parametrize(
    ("builder", "source", "end", "expected"),
    [
        (TOOLCHAIN, "/src/target/release/api", "/x/", "/x/api"),
        (BUILD + "FROM scratch\nCOPY --from=builder /rust/bins/* /\n", "/api", "/bin/api", "/bin/api"),
        (BUILD + "FROM scratch\nCOPY --from=builder /rust/bins/ /a/b/\n", "/a/b/api", "/bin/", "/bin/api"),
        # another name in the builder's image, and in the service's
        (BUILD + "FROM scratch\nCOPY --from=builder /rust/target/release/api /srv\n", "/srv", "/bin/", "/bin/srv"),
        (BUILD + "FROM scratch\nCOPY --from=builder /rust/target/release/api /srv\n", "/srv", "/bin/web", "/bin/web"),
        (BUILD + "FROM scratch\nWORKDIR /p\nCOPY --from=builder /rust/bins/api ./\n", "p/api", "/app", "/app"),
        (BUILD + "FROM scratch AS one\nCOPY --from=builder /rust/bins /x\nFROM one\n", "/x/api", "/app", "/app"),
    ],
)  # fmt: skip
def test_where_the_program_is_in_both_images(
    tmp_path: Path, builder: str, source: str, end: str, expected: str
) -> None:
    api = f"FROM acme/builder AS files\nFROM debian:bookworm-slim\nCOPY --from=files {source} {end}\n"
    read, finding = found(tmp_path, {**FILES, "builder.Dockerfile": builder, "api.Dockerfile": api})
    assert "api" in {s.name for s in finding.services}, finding.left
    assert f"{ONE}{expected}\n" in stage(adopted.write(read, finding), "api")


@pytest.mark.parametrize(
    "copies",
    [
        "cp target/release/* bins/",
        "cp $(ls -d target/release/*) /rust/bins/",
        "find target/release -maxdepth 1 -type f -executable -exec cp {} /rust/bins \\;",
        "cp target/release/api target/release/ingest /rust/bins",
    ],
)
def test_commands_that_copy_every_program(tmp_path: Path, copies: str) -> None:
    text = BUILDER.replace(BUILDER[BUILDER.index("cp `") : BUILDER.index("FROM debian")], f"{copies}\n")
    _, finding = found(tmp_path, {**FILES, "builder.Dockerfile": text})
    assert [[p.name for p in s.programs] for s in finding.services if s.name == "builder"] == [["api", "ingest"]]
    assert finding.left == ()


def test_only_what_cargo_builds_is_every_program(tmp_path: Path) -> None:
    """Without default members, the image of the builder would contain a program that was never compiled for it."""
    more = '\n[[bin]]\nname = "admin"\npath = "src/admin.rs"\nrequired-features = ["admin"]\n[features]\nadmin = []'
    files = {
        **FILES,
        **workspace("api", "ingest", "tool"),
        "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\ndefault-members = ["crates/api", "crates/ingest"]\n',
        "crates/api/Cargo.toml": manifest("api", more),
        "crates/api/src/admin.rs": "fn main() {}\n",
    }
    _, finding = found(tmp_path, files)
    assert [p.name for p in finding.services[0].programs] == ["api", "ingest"]


def test_contexts_may_differ(tmp_path: Path) -> None:
    """Each service's paths stay relative to its own context, and the workspace is where the builder's context is."""
    api = program("api") + "COPY entry.sh /entry.sh\n"
    files = {
        **{f"code/{name}": text for name, text in FILES.items() if name != "compose.yaml"},
        "run/api.Dockerfile": api,
        "run/entry.sh": "#!/bin/sh\n",
        "compose.yaml": compose(
            builder="context: code, dockerfile: builder.Dockerfile",
            api="context: run, dockerfile: api.Dockerfile",
            ingest="context: code, dockerfile: ingest.Dockerfile",
        ),
    }
    made = written(tmp_path, files)
    assert "ARG SOURCE=code\n" in made.texts["docker/Dockerfile"]
    assert "COPY run/entry.sh /entry.sh\n" in stage(made, "api")
    assert [n.text for n in made.notes if n.open] == []


def test_the_builder_s_arguments_are_the_service_s_too(tmp_path: Path) -> None:
    files = {
        **FILES,
        "builder.Dockerfile": BUILDER.replace("WORKDIR /rust\n", "WORKDIR /rust\nARG STAMP\nARG PROFILE\n").replace(
            "--release", "--profile $PROFILE"
        ),
        "Cargo.toml": FILES["Cargo.toml"] + '[profile.dist]\ninherits = "release"\n',
        "crates/api/src/main.rs": 'const STAMP: &str = env!("STAMP");\nfn main() {}\n',
        "compose.yaml": compose(
            builder="context: ., dockerfile: builder.Dockerfile, args: {STAMP: a1, PROFILE: dist}",
            ingest="context: ., dockerfile: ingest.Dockerfile, args: {STAMP: a1}",
        ),
    }
    read, finding = found(tmp_path, files)
    config = adopted.write(read, finding).texts["compose.yaml"]
    after = repositories.resolved(tmp_path, config)["services"]
    assert {name: entry["build"]["args"]["STAMP"] for name, entry in after.items()} == dict.fromkeys(after, "a1")
    assert {s.profile for s in finding.services} == {"dist"}


def test_a_service_may_extend_the_image(tmp_path: Path) -> None:
    made = written(tmp_path, {**FILES, "api.Dockerfile": "FROM acme/builder\nENV A=1\nCMD /das/api\n"})
    assert f"{ONE}/das/api\n" in stage(made, "api")
    assert "CMD echo compiled\nENV A=1\nCMD /das/api\n" in stage(made, "api")


def test_notes_name_the_file_that_they_are_about(tmp_path: Path) -> None:
    text = BUILDER.replace("FROM debian", "RUN upload-symbols /rust/target\nFROM debian")
    made = written(tmp_path, {**FILES, "builder.Dockerfile": text})
    assert {n.where for n in made.notes if n.open} == {"builder.Dockerfile:8"}


OTHER = compose(other="context: ., dockerfile: other.Dockerfile").replace(
    "  other:\n", "  other:\n    image: acme/builder\n"
)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            {"api.Dockerfile": program("api", "acme/elsewhere")},
            "api.Dockerfile copies api from the image acme/elsewhere, which no service builds: "
            "add a service with this `image:` to the compose file",
        ),
        (
            {"compose.yaml": OTHER, "other.Dockerfile": BUILDER},
            "api.Dockerfile uses the image acme/builder of the service builder, but the service other "
            "builds this image differently: give each service its own `image:`",
        ),
        (
            {"builder.Dockerfile": BUILDER + "RUN strip /das/*\n"},
            "api.Dockerfile:5 copies /das/api, which builder.Dockerfile:11 may change after it was compiled: "
            "run that command in the stage that compiles the program",
        ),
        (
            {"api.Dockerfile": program("${PROGRAM}")},
            "api.Dockerfile:5 copies /rust/bins/${PROGRAM}, but PROGRAM has no value: "
            "set it in `build.args` or give it a default",
        ),
        (
            {"api.Dockerfile": "ARG IMAGE\n" + program("api", "${IMAGE}:1")},
            "api.Dockerfile uses an argument without a value in FROM (line 2)",
        ),
        (
            {"builder.Dockerfile": BUILDER.replace("WORKDIR", "ARG APP=/rust\nRUN mkdir -p $APP\nWORKDIR")},
            "api.Dockerfile uses the image acme/builder of the service builder, but the argument APP is /rust in "
            "builder.Dockerfile and /usr/src/app in api.Dockerfile: rename one of the arguments",
        ),
        (
            {
                "builder.Dockerfile": BUILDER.replace("--mount=", "--mount=type=secret,id=key --mount="),
                "compose.yaml": compose(builder="context: ., dockerfile: builder.Dockerfile, secrets: [key]"),
            },
            "api.Dockerfile uses the image acme/builder of the service builder, but the `build:` section of "
            "api lacks the `secrets:` entries of builder, which the compile stage mounts: add the same entries",
        ),
        (
            {
                "builder.Dockerfile": BUILDER.replace("FROM rust:1-bookworm", "FROM tools"),
                "compose.yaml": compose(
                    builder="context: ., dockerfile: builder.Dockerfile, additional_contexts: {tools: 'docker-image://rust:1'}"
                ),
            },
            "api.Dockerfile uses the image acme/builder of the service builder, but the `build:` section of "
            "api lacks the additional context tools of builder: add `tools: docker-image://rust:1`",
        ),
        (
            {
                "builder.Dockerfile": BUILDER.replace("WORKDIR", "ARG APP=/rust\nRUN mkdir -p $APP\nWORKDIR"),
                "collect.Dockerfile": "FROM debian\nARG APP=/a\nCOPY --from=acme/builder /das /das\n",
                "api.Dockerfile": program("api", "shop-collect"),
                "compose.yaml": compose(collect="context: ., dockerfile: collect.Dockerfile"),
            },
            "api.Dockerfile uses the image shop-collect of the service collect: collect.Dockerfile uses the image "
            "acme/builder of the service builder, but the argument APP is /rust in builder.Dockerfile and /a in "
            "collect.Dockerfile: rename one of the arguments",
        ),
        (
            {"compose.yaml": compose(builder="context: 'https://example.org/a.git'")},
            "api.Dockerfile copies api from the image acme/builder of the service builder, but the build context "
            "is remote: https://example.org/a.git",
        ),
        (
            {"builder.Dockerfile": "FROM debian:bookworm-slim\nCOPY das /das\n"},
            "api.Dockerfile copies api from the image acme/builder of the service builder, but builder.Dockerfile does "
            "not compile Rust code from this repository",
        ),
        (
            {"api.Dockerfile": "FROM acme/builder AS files\nFROM nginx\nCOPY --from=files /etc/hosts /etc/hosts\n"},
            "api.Dockerfile does not compile Rust code from this repository",
        ),
    ],
)
def test_what_would_be_a_guess_is_refused_with_the_reason(tmp_path: Path, files: Files, why: str) -> None:
    assert refused(tmp_path, {**FILES, **files}) == why


def test_a_new_service_that_uses_a_converted_one_is_refused(tmp_path: Path) -> None:
    made = written(tmp_path, FILES)
    repositories.write(tmp_path, made.texts)
    later = made.texts["compose.yaml"] + "  late:\n    build: {context: ., dockerfile: api.Dockerfile}\n"
    assert refused(tmp_path, {"compose.yaml": later}, "late") == (
        "api.Dockerfile copies api from the image acme/builder of the service builder, which has already "
        "been converted: "
        "run `init --undo`, then `init`"
    )


def test_an_image_stays_whole_while_another_service_copies_from_it(tmp_path: Path) -> None:
    """A single-stage image becomes a slim one, without the files that a service that is not converted needs."""
    files = {
        **workspace("api"),
        "builder.Dockerfile": TOOLCHAIN,
        "api.Dockerfile": program("api", place="/src/target/release"),
        "ingest.Dockerfile": "FROM acme/builder AS files\nFROM nginx\nCOPY --from=files /src/Cargo.toml /\n",
        "compose.yaml": compose(),
    }
    why = refused(tmp_path, files, "builder")
    assert why == "the converted image would lose files that ingest copies from it, and ingest is not converted"


def test_a_builder_that_is_no_longer_needed_is_named(tmp_path: Path) -> None:
    files = {n: t.replace("/das/", "/src/target/release/") for n, t in FILES.items()}
    _, finding = found(tmp_path, {**files, "builder.Dockerfile": TOOLCHAIN})
    assert [(n.where, n.text) for n in finding.notes] == [
        ("service builder", "no longer used by api, ingest: remove the service if nothing else needs its image")
    ]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("FROM debian AS files\nRUN touch /a\nCOPY --from=builder /rust/bins/api /das/api\n", "RUN touch /a\n\n"),
        ("FROM debian AS files\nCOPY --from=builder --chmod=755 /rust/bins /das\n", "--chmod=755"),
        ("FROM builder AS files\nRUN touch /etc/b\n", ""),
    ],
)  # fmt: skip
def test_a_stage_that_only_collects_files_does_not_compile_again(tmp_path: Path, files: str, expected: str) -> None:
    place = "/rust/target/release" if files.startswith("FROM builder") else "/das"
    text = f"{BUILD}{files}FROM debian:bookworm-slim\nCOPY --from=files {place}/api /bin/api\n"
    text += "COPY --from=files /a /a\n" if "/a\n" in files else ""
    made = written(
        tmp_path,
        {
            **workspace("api", "ingest"),
            "Dockerfile": text,
            "compose.yaml": "name: shop\nservices:\n  api:\n    build: .\n",
        },
    )
    ours = made.texts["docker/Dockerfile"]
    assert "find /rust/target/release" not in ours
    assert f" {ONE.split(' ', 2)[2]}/bin/api\n" in ours
    assert expected in ours
    assert [n.text for n in made.notes if n.open] == []
