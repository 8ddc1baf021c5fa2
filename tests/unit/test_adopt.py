"""From a repository's files to the files that `init` writes: pure, tested with a table of shapes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.adopt.files import Files
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.recipes import ignorefile
from buildkit_tasks.survey import look
from buildkit_tasks.survey.finding import Finding
from buildkit_tasks.workspaces import tree
from tests.support import repositories

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def understand(place: Path, files: dict[str, str]) -> tuple[tree.Tree, Finding]:
    repositories.write(place, files)
    found = tree.read(place)
    names = tuple(n for n in COMPOSE if n in files)
    config = repositories.resolved(place, files[names[0]]) if names else {}
    return found, look.find(found, config, names)


def adopt(place: Path, files: dict[str, str], mode: str = "edit") -> tuple[Finding, Files]:
    found, finding = understand(place, files)
    return finding, adopted.write(found, finding, compose=mode)


def instructions(text: str) -> list[str]:
    return [line for line in text.split("\n") if line and not line.startswith("#")]


def test_single_crate_is_taken_over_line_by_line(tmp_path: Path) -> None:
    finding, written = adopt(tmp_path / "pantry", repositories.single())
    assert [(s.name, s.binary, s.workspace) for s in finding.services] == [("web", "pantry", ".")]
    text = written.texts["docker/Dockerfile"]
    runtime = instructions(text[text.index("AS runtime") :])
    for line in (
        "RUN useradd --uid 1000 app && mkdir -p /srv/pantry/data && chown app /srv/pantry/data",
        "WORKDIR /srv/pantry",
        "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /usr/local/bin/pantry",
        "COPY config ./config",
        "USER app",
        "ENV RUST_LOG=info",
        "EXPOSE 8080",
        'CMD ["pantry"]',
    ):
        assert line in runtime or line in "\n".join(runtime).replace(" \\\n    ", " "), line
    assert "ARG RUST_IMAGE=rust:1.80-slim-bookworm" in text
    assert "ARG SOURCE=." in text
    assert 'ENV SQLX_OFFLINE="true"' in text
    assert [n for n in written.notes if n.open] == []


def test_compose_file_keeps_every_other_byte(tmp_path: Path) -> None:
    files = repositories.single()
    _, written = adopt(tmp_path / "pantry", files)
    assert written.texts["docker-compose.yml"] == files["docker-compose.yml"].replace(
        "    build: .   # in the root\n",
        "    build:   # in the root\n      context: .\n      dockerfile: docker/Dockerfile\n      target: runtime\n"
        "      args:\n        BIN: pantry\n        CACHE_SCOPE: pantry\n"
        "        CARGO_INCREMENTAL: ${CARGO_INCREMENTAL:-}\n",
    )


def test_the_context_holds_what_is_read_and_copied_and_nothing_else(tmp_path: Path) -> None:
    _, written = adopt(tmp_path / "pantry", repositories.single())
    text = written.texts["docker/Dockerfile.dockerignore"]
    read = ["Cargo.toml", "Cargo.lock", "src/main.rs", "templates/page.html", ".sqlx/query-1.json", "config/app.toml"]
    assert ignorefile.missing(text, [*read, "docker/compile.rs", "docker/cross.sh"]) == []
    kept_out = ["README.md", "docker-compose.yml", "Dockerfile", "target/x", "src/target/x", "config/.env"]
    assert ignorefile.missing(text, kept_out) == kept_out


def test_services_that_are_alike_share_a_stage(tmp_path: Path) -> None:
    finding, written = adopt(tmp_path / "fleet", repositories.fleet())
    assert [(s.name, s.binary) for s in finding.services] == [
        ("orders", "orders"),
        ("billing", "billing"),
        ("mailer", "mailer"),
    ]
    text = written.texts["docker/Dockerfile"]
    assert re.findall(r"(?m)^FROM .*$", text)[2:] == ["FROM ${RUNTIME_IMAGE} AS runtime"]
    assert 'ARG PROGRAMS="orders billing mailer"' in text
    assert "ARG RUST_IMAGE=rust:1.81-bookworm" in text
    assert "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /usr/local/bin/app" in text
    assert "COPY deploy/entrypoint.sh /entrypoint.sh" in text
    compose = written.texts["compose.yaml"]
    assert compose.count("BIN: ") == 3
    assert "SERVICE: orders   # its crate" in compose  # a stage still reads it
    assert "environment: {ROLE: orders}" in compose
    ignored = written.texts["docker/Dockerfile.dockerignore"]
    wanted = ["assets/word.txt", "deploy/entrypoint.sh", "libs/shared/src/lib.rs", "services/orders/src/main.rs"]
    assert ignorefile.missing(ignored, wanted) == []
    assert ignorefile.missing(ignored, ["assets/unused.bin"]) == ["assets/unused.bin"]


def test_a_workspace_in_a_subfolder_leaves_the_front_end_alone(tmp_path: Path) -> None:
    finding, written = adopt(tmp_path / "shop", repositories.shopfront())
    assert [(s.name, s.binary, s.workspace) for s in finding.services] == [("api", "server", "backend")]
    assert [i.name for i in finding.left] == ["front"]
    text = written.texts["docker/Dockerfile"]
    assert "ARG SOURCE=backend" in text
    assert "cargo-chef" not in text
    # /app is the working directory: a directory, not the program's name
    assert "COPY --from=compile /out/${CACHE_SCOPE}/${BIN}/bin/service /app/server" in text
    assert "COPY backend/migrations ./migrations" in text
    compose = written.texts["compose.yml"]
    assert "            labels:\n                - team=shop\n" in compose
    assert "            context: .\n            dockerfile: docker/Dockerfile\n" in compose
    assert "    front:\n        build: ./frontend\n" in compose


def test_packages_of_both_stages_are_arguments(tmp_path: Path) -> None:
    _, written = adopt(tmp_path / "native", repositories.native())
    text = written.texts["docker/Dockerfile"]
    assert 'ARG BUILD_PACKAGES="zlib1g-dev"' in text
    assert 'ARG RUNTIME_PACKAGES="zlib1g"' in text
    assert "/bin/service /opt/gauge/bin/gauge" in text
    assert ignorefile.missing(written.texts["docker/Dockerfile.dockerignore"], ["schema/gauge.txt"]) == []


def test_without_a_compose_file_one_is_proposed(tmp_path: Path) -> None:
    finding, written = adopt(tmp_path / "ping", repositories.bare())
    assert [s.binary for s in finding.services] == ["ping"]
    assert "name: ping" in written.texts["compose.yaml"]
    assert 'ENTRYPOINT ["/usr/local/bin/service"]' in written.texts["docker/Dockerfile"]


def test_without_a_compose_file_a_dockerfile_says_what_ships(tmp_path: Path) -> None:
    files = {n: t for n, t in repositories.shopfront().items() if n != "compose.yml"}
    finding, written = adopt(tmp_path / "shop", files)
    assert [(s.name, s.binary, s.context) for s in finding.services] == [("server", "server", "backend")]
    assert "COPY backend/migrations ./migrations" in written.texts["docker/Dockerfile"]


def test_a_dockerfile_that_compiles_with_a_script_is_named(tmp_path: Path) -> None:
    scripted = "FROM rust:1 AS build\nCOPY . .\nRUN ./build.sh\nFROM debian\nCOPY --from=build /x /x\n"
    other = "FROM node:20\nCOPY . .\nRUN npm ci\n"
    files = {**repositories.bare(), "Dockerfile": scripted, "web/Dockerfile": other, "compose.yaml": DATABASE}
    _, finding = understand(tmp_path / "ping", files)
    assert [(n.where, n.text) for n in finding.notes if "cargo" in n.text] == [
        (
            "Dockerfile",
            "not converted, because the Dockerfile does not run cargo; if a script does, run cargo directly in "
            "the Dockerfile instead",
        )
    ]


def test_a_service_is_added_for_a_program_that_has_none(tmp_path: Path) -> None:
    files = {**repositories.bare(), "compose.yaml": "# data\nservices:\n  db:\n    image: postgres:15\n"}
    found, finding = understand(tmp_path / "ping", files)
    assert [(s.name, s.added, s.idle) for s in finding.services] == [("ping", True, False)]
    config = repositories.resolved(tmp_path / "ping", files["compose.yaml"])
    finding = look.find(found, config, ("compose.yaml",), add=("web=ping",))
    text = adopted.write(found, finding).texts["compose.yaml"]
    assert text.startswith(files["compose.yaml"])
    assert repositories.resolved(tmp_path, text)["services"]["web"]["build"]["args"]["BIN"] == "ping"
    with pytest.raises(Problem, match="The program 'pong'"):
        look.find(found, config, ("compose.yaml",), add=("pong",))


DATABASE = "# data\nservices:\n  db:\n    image: postgres:15\n"


@pytest.mark.parametrize(
    ("compose", "service", "kept"),
    [
        (DATABASE, "pantry", DATABASE),
        (f"---\n{DATABASE}volumes:\n  data:\n", "pantry", f"---\n{DATABASE}"),
        # from then on, the published image of this program is built under its name
        ("services:\n  web:\n    image: shop/pantry:latest\n", "web", "    image: shop/pantry:latest\n"),
        # another program has this name
        ("services:\n  pantry:\n    image: postgres:15\n", "pantry-app", "    image: postgres:15\n"),
        # two services start it, so it is unclear which one to use
        (
            "services:\n  a:\n    image: shop/pantry\n  b:\n    image: shop/pantry:2\n",
            "pantry",
            "  b:\n    image: shop/pantry:2\n",
        ),
    ],
)
def test_a_compose_file_that_builds_nothing_gets_what_the_dockerfile_ships(
    tmp_path: Path, compose: str, service: str, kept: str
) -> None:
    files = {n: t for n, t in repositories.single().items() if n != "docker-compose.yml"}
    finding, written = adopt(tmp_path / "pantry", {**files, "compose.yaml": compose})
    assert [(s.name, s.binary) for s in finding.services] == [(service, "pantry")]
    text = written.texts["compose.yaml"]
    assert kept in text
    assert repositories.resolved(tmp_path, text)["services"][service]["build"]["args"]["BIN"] == "pantry"
    assert any(n.where == f"service {service}" for n in written.notes)


def test_an_image_of_the_repository_s_name_is_the_program_s_only_where_it_ships_one(tmp_path: Path) -> None:
    files = {n: t for n, t in repositories.fleet().items() if n not in ("compose.yaml", "Dockerfile")}
    for name in ("billing", "orders"):
        files[f"docker/{name}/Dockerfile"] = (
            f"FROM rust:1 AS b\nCOPY . .\nRUN cargo build --release --bin {name}\nFROM debian:bookworm-slim\n"
            f"COPY --from=b /target/release/{name} /bin/{name}\n"
        )
    files["compose.yaml"] = "services:\n  main:\n    image: shop/orders:1\n  other:\n    image: shop/fleet:1\n"
    finding, _ = adopt(tmp_path / "fleet", files)
    assert [(s.name, s.binary) for s in finding.services] == [("billing", "billing"), ("main", "orders")]


def test_a_single_stage_gets_a_slim_image_and_says_so(tmp_path: Path) -> None:
    _, written = adopt(tmp_path / "blog", repositories.onestage())
    text = written.texts["docker/Dockerfile"]
    assert "ARG RUNTIME_IMAGE=debian:bookworm-slim" in text
    assert 'CMD ["/usr/local/bin/service", "--port", "8000"]' in text
    assert "COPY templates /usr/src/blog/templates" in text
    assert any("contained the toolchain and all sources" in n.text for n in written.notes if n.open)


def test_what_services_share_by_anchors_is_not_changed_for_the_others(tmp_path: Path) -> None:
    files = repositories.anchored()
    _, written = adopt(tmp_path / "fleet", files)
    before = repositories.resolved(tmp_path, files["compose.yaml"])["services"]
    after = repositories.resolved(tmp_path, written.texts["compose.yaml"])["services"]
    assert {n: s["build"]["target"] for n, s in after.items() if "build" in s} == {
        "orders-a": "runtime-orders-a",
        "orders-b": "runtime-orders-a",
        "billing": "runtime-billing",
    }
    assert {n: s["build"]["args"]["BIN"] for n, s in after.items() if "build" in s} == {
        "orders-a": "orders",
        "orders-b": "orders",
        "billing": "billing",
    }
    assert all(s["build"]["labels"] == {"team": "fleet"} for s in after.values() if "build" in s)
    for services in (before, after):
        for entry in services.values():
            entry.pop("build", None)
    assert before == after
    assert "  db:\n    image: postgres:15\n" in written.texts["compose.yaml"]


@pytest.mark.parametrize("name", sorted(set(repositories.SHAPES) - {"bare"}))
def test_a_compose_file_says_the_same_but_for_builds(tmp_path: Path, name: str) -> None:
    files = repositories.SHAPES[name]()
    finding, written = adopt(tmp_path / name, files)
    path = next(p for p in COMPOSE if p in files)
    before, after = (repositories.resolved(tmp_path, t) for t in (files[path], written.texts[path]))
    ours = {s.name for s in finding.services}
    for model in (before, after):
        for service, entry in model["services"].items():
            if service in ours:
                del entry["build"]
    assert before == after


@pytest.mark.parametrize("name", sorted(repositories.SHAPES))
@pytest.mark.parametrize("mode", ["edit", "override"])
def test_what_was_written_needs_nothing_more(tmp_path: Path, name: str, mode: str) -> None:
    place = tmp_path / name
    files = repositories.SHAPES[name]()
    _, written = adopt(place, files, mode)
    if mode == "override" and name != "bare":
        return  # two files: only compose can merge them
    finding, again = adopt(place, {**files, **written.texts})
    assert again.texts == {}
    assert all(s.adopted for s in finding.services)


@pytest.mark.parametrize("name", sorted(repositories.SHAPES))
def test_an_override_leaves_the_compose_file_alone(tmp_path: Path, name: str) -> None:
    files = repositories.SHAPES[name]()
    _, written = adopt(tmp_path / name, files, "override")
    assert not set(written.texts) & set(files)
    if name != "bare":
        own = next(p for p in written.texts if ".override." in p)
        assert "dockerfile: docker/Dockerfile" in written.texts[own]


def test_a_dockerfile_in_lower_case_is_read_as_buildx_does(tmp_path: Path) -> None:
    files = repositories.single()
    files["dockerfile"] = files.pop("Dockerfile")
    finding, written = adopt(tmp_path / "pantry", files)
    assert [s.recipe.path if s.recipe else "" for s in finding.services] == ["dockerfile"]
    _, same = adopt(tmp_path / "other" / "pantry", repositories.single())
    assert instructions(written.texts["docker/Dockerfile"]) == instructions(same.texts["docker/Dockerfile"])


@pytest.mark.parametrize("built", [True, False])
def test_an_unused_dockerfile_s_service_is_only_started_if_no_other_is_built(tmp_path: Path, *, built: bool) -> None:
    files = {n: t for n, t in repositories.single().items() if n != "docker-compose.yml"}
    compose = DATABASE + ("  web:\n    build: web\n" if built else "")
    files |= {"compose.yaml": compose, "web/Dockerfile": "FROM node:22\nCOPY . .\n"}
    for mode, path in (("edit", "compose.yaml"), ("override", "compose.override.yaml")):
        _, written = adopt(tmp_path / mode / "pantry", files, mode)
        service = repositories.resolved(tmp_path, written.texts[path])["services"]["pantry"]
        assert service.get("scale", 1) == (0 if built else 1)
        assert service["build"]["args"]["BIN"] == "pantry"
