"""The pure parts of the cargo tasks: cargo's arguments, the container, the visible part of the tree, the services."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.caches import cargo_tasks
from buildkit_tasks.cargo import commands, container, integration, toolchain, view
from buildkit_tasks.cargo.commands import Request, Work
from buildkit_tasks.cargo.container import Around, Site
from buildkit_tasks.cargo.view import Shown
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import docker_run
from buildkit_tasks.dockercli.docker_run import Mount
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.project import compose

API = Request(crates=("api",))

ARGUMENTS = (
    (commands.run_tests(Request()), "test --locked"),
    (commands.run_tests(Request(("api", "worker"), release=True)), "test --locked -p api -p worker --release"),
    (commands.run_tests(Request(extra=("name", "--", "--nocapture"))), "test --locked name -- --nocapture"),
    (commands.run_tests(Request(), ignored=True), "test --locked -- --include-ignored"),
    (
        commands.run_tests(Request(extra=("name", "--", "--nocapture")), ignored=True),
        "test --locked name -- --include-ignored --nocapture",
    ),
    (
        commands.run_tests(API, ignored=True, junit=True),
        "nextest run --locked -p api --no-fail-fast --run-ignored all"
        " --tool-config-file buildkit-tasks:/task/nextest.toml",
    ),
    (commands.check(Request()), "check --locked --workspace --all-targets"),
    (commands.check(API), "check --locked -p api --all-targets"),
    (commands.clippy(Request()), "clippy --locked --workspace --all-targets -- -D warnings"),
    (
        commands.clippy(Request(extra=("--no-deps", "--", "-W", "clippy::pedantic")), fix=True),
        "clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged --no-deps"
        " -- -D warnings -W clippy::pedantic",
    ),
    (commands.fmt(Request(), check_only=True), "fmt --all --check"),
    (commands.fmt(API), "fmt -p api"),
    (commands.doc(Request()), "doc --locked --no-deps"),
    (commands.doc(API, dependencies=True), "doc --locked -p api"),
    (commands.bench(API), "bench --locked -p api"),
    (commands.run(Request(extra=("--port", "1")), "api"), "run --locked --bin api -- --port 1"),
    (commands.run(Request(release=True), "api"), "run --locked --release --bin api"),
    (commands.tree(Request(extra=("--duplicates",))), "tree --locked --duplicates"),
    (commands.update(Request(("serde",))), "update -p serde"),
    (commands.lock(Request()), "update --workspace"),
    (commands.tool("audit", Request()), "audit"),
    (commands.tool("deny", Request()), "deny check"),
    (commands.tool("deny", Request(extra=("list",))), "deny list"),
    (commands.tool("coverage", Request(extra=("--html",))), "llvm-cov --locked --html"),
    (commands.tool("licenses", Request()), "license"),
    (commands.install(commands.NEXTEST), "install --locked --root /tools cargo-nextest"),
)


@pytest.mark.parametrize(("work", "line"), ARGUMENTS, ids=[line for _, line in ARGUMENTS])
def test_arguments_of_cargo(work: Work, line: str) -> None:
    assert " ".join(work.argv).replace("--package", "-p") == line


def test_what_writes_into_the_tree_works_in_place_and_what_compiles_on_the_copy() -> None:
    in_place = [commands.fmt(API), commands.update(API), commands.clippy(API, fix=True), commands.tree(API)]
    copied = [commands.run_tests(API), commands.check(API), commands.clippy(API), commands.doc(API)]
    assert all(work.in_place for work in in_place)
    assert not any(work.in_place for work in copied)
    assert all(work.locked for work in copied)


SITE = Site(scope="shop", context=Path("/home/me/a, b"), source="services", image="i", cargo_home="/c", user="7:8")


def _line(work: Work, around: Around, site: Site = SITE) -> str:
    command = docker_run.run_container(Path("/p"), container.make(site, around, work, "SCRIPT"))
    return " ".join(command.argv)


def _volume(kind: str, target: str) -> str:
    labelled = f"type=volume,source=shop-cargo-{kind},target={target},volume-label=buildkit-tasks.cargo=shop"
    return f" --mount {labelled},volume-nocopy"


def test_the_whole_command_line() -> None:
    sources = (Mount("/home/me/a, b", "/context", readonly=True),)
    around = Around("n", Path("/t"), sources, quiet={"TOKEN": "hush", "bad-name;": "x"}, tty=True, stdin=True)
    assert _line(commands.check(API), around) == (
        "docker run --rm --init --pull never --name n --user 7:8 --label buildkit-tasks.cargo=shop --interactive --tty"
        " --mount type=bind,source=/t,target=/task"
        f"{_volume('target', '/build')}{_volume('registry', '/c/registry')}{_volume('git', '/c/git')}"
        f"{_volume('tools', '/tools')}"
        ' --mount type=bind,"source=/home/me/a, b",target=/context,readonly'
        " --env SOURCE=services --env CACHE_SCOPE=shop --env CARGO_INCREMENTAL=1 --env STRICT_TOOLCHAIN=0"
        " --env HOME=/tmp --env BT_GIVEN= --env BT_QUIET=TOKEN --env BT_TOOL= --env BT_COPY= --env BT_PLACE="
        " --env BT_FREE= --env BT_SHARED= --env BT_V_TOKEN"
        " --entrypoint sh i -c SCRIPT cargo check --locked --package api --all-targets"
    )


def test_values_of_variables_are_in_no_argument() -> None:
    made = container.make(SITE, Around("n", Path("/t"), given={"A": "hush"}), commands.check(API), "S")
    command = docker_run.run_container(Path("/p"), made)
    assert "hush" not in " ".join(command.argv)
    assert ("BT_V_A", "hush") in command.env


def test_in_place_the_tree_is_where_it_is_outside() -> None:
    line = _line(commands.fmt(API), Around("n", Path("/t"), (Mount("/x", "/context"),)))
    assert '"source=/home/me/a, b","target=/home/me/a, b"' in line
    assert "/context" not in line
    assert "BT_PLACE=/home/me/a, b/services" in line


def test_names_of_volumes_are_such_that_docker_takes_them_and_differ() -> None:
    assert cargo_tasks.volume("shop", "target") == "shop-cargo-target"
    found = [cargo_tasks.volume(scope, "git") for scope in ("a/b", "a-b", "a b", "-x", "x", "Ü")]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name) for name in found)


def test_colors_where_only_messages_go_to_a_terminal() -> None:
    def quiet(tty: bool, **env: str) -> dict[str, str]:
        return container.quiet_variables(World(env, Path("/"), Path("/"), tty=True), tty=tty)

    assert quiet(False) == {"CARGO_TERM_COLOR": "always"}
    assert quiet(False, NO_COLOR="1") == {"NO_COLOR": "1"}
    assert quiet(False, CI="1", RUST_LOG="debug", OTHER="x") == {"RUST_LOG": "debug"}
    assert quiet(True, TERM="xterm-256color", https_proxy="http://p") == {
        "TERM": "xterm-256color",
        "https_proxy": "http://p",
    }


# ---- which part of the tree is visible

TREE = (
    *("README.md", ".env", "docs/a.md", "docker/compile.rs", ".git/HEAD", "node_modules/x/y.js"),
    *("services/Cargo.toml", "services/api/src/main.rs", "services/api/tests/t.rs", "services/api/README.md"),
    *("services/api/.env", "services/api/node_modules/m.js", "services/target/debug/api", "services/notes.txt"),
)


def _tree(root: Path, names: tuple[str, ...] = TREE) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    if "services/api/src/main.rs" in names:
        (root / "services/api/Cargo.toml").write_text("[package]\nname = 'api'\n")
    return root


def _seen(root: Path, found: tuple[Shown | str, ...]) -> set[str]:
    """Return the files that a container would see, from a simple evaluation of the mounts."""
    seen: set[str] = set()
    for one in found:
        path, hidden = (one, ()) if isinstance(one, str) else (one.path, one.hidden)
        place = root / path
        files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
        names = {str(p.relative_to(root)) for p in files}
        seen |= {n for n in names if not any(n == h or n.startswith(f"{h}/") for h, _ in hidden)}
    return {n for n in seen if not n.startswith("services/target/")}


ALLOW = "*\n!docker/compile.rs\n!services\nservices/*/tests\n**/*.md\n**/.env\n**/node_modules\nservices/notes.txt\n"
PACKAGE_FILES = {
    *("services/Cargo.toml", "services/api/Cargo.toml", "services/api/src/main.rs"),
    *("services/api/tests/t.rs", "services/api/README.md"),
}


def test_packages_are_shown_whole_and_the_rest_as_images_see_it(tmp_path: Path) -> None:
    by_git = {"services/api/.env", "services/api/node_modules", "services/target", ".env", "node_modules"}
    found = view.shown(_tree(tmp_path), Ignore.parse(ALLOW), "services", by_git)
    assert _seen(tmp_path, found) == {"docker/compile.rs", *PACKAGE_FILES}


def test_without_git_the_usual_names_are_left_out(tmp_path: Path) -> None:
    found = view.shown(_tree(tmp_path), Ignore.parse(ALLOW), "services", None)
    assert _seen(tmp_path, found) == {"docker/compile.rs", *PACKAGE_FILES}


def test_without_a_dockerignore_one_mount_shows_all(tmp_path: Path) -> None:
    found = view.shown(_tree(tmp_path), Ignore.parse(""), "services", set())
    assert found == (Shown(""),)
    assert view.mounts(tmp_path, found, Path("/n")) == (Mount(str(tmp_path), "/context", readonly=True),)


def test_a_root_package_hides_what_both_ignore_files_name(tmp_path: Path) -> None:
    _tree(tmp_path, ("src/main.rs", "tests/t.rs", ".env", ".git/HEAD", "node_modules/x.js", "README.md"))
    (tmp_path / "Cargo.toml").write_text("[package]\n")
    ignore = Ignore.parse(".git\n.env\nnode_modules\ntests\nREADME.md\n")
    found = view.shown(tmp_path, ignore, "", {".env", "node_modules"})
    assert _seen(tmp_path, found) == {"Cargo.toml", "src/main.rs", "tests/t.rs", "README.md"}
    assert found == (Shown("", ((".env", False), (".git", True), ("node_modules", True))),)
    covers = [m.text for m in view.mounts(tmp_path, found, Path("/n"))[1:]]
    assert covers[0] == "type=bind,source=/n/file,target=/context/.env,readonly"
    assert covers[1] == "type=bind,source=/n/directory,target=/context/.git,readonly"


def test_neither_pipes_nor_links_are_mounted_by_name(tmp_path: Path) -> None:
    _tree(tmp_path, ("a", "b", "c", "keep/x"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("keep")
    found = view.shown(tmp_path, Ignore.parse("*\n!keep\n!link\n!pipe\n"), "", set())
    assert all(isinstance(one, Shown) for one in found)
    assert ("pipe", False) in found[0].hidden  # type: ignore[union-attr]


# ---- the toolchain's sources

OURS = Path(__file__).parents[2] / "docker" / "Dockerfile"


def test_the_files_that_our_toolchain_stage_is_made_from() -> None:
    found = toolchain.used_paths(Dockerfile.read(OURS.read_bytes()), {"SOURCE": "rust"})
    assert set(found) == {"docker/cross.sh", "docker/compile.rs", "rust-toolchain*", "rust/rust-toolchain*"}


def test_services_of_one_dockerfile_share_a_toolchain() -> None:
    args = {"BIN": "api", "BINS": "x", "SOURCE": "rust", "CACHE_SCOPE": "s", "RUST_IMAGE": "r", "CROSS_PACKAGES": "p"}
    found = toolchain.used_arguments(Dockerfile.read(OURS.read_bytes()), args)
    assert found == {"SOURCE": "rust", "RUST_IMAGE": "r", "CROSS_PACKAGES": "p"}


def test_a_toolchain_stage_that_takes_the_whole_context_is_never_taken_for_current() -> None:
    file = Dockerfile.read(
        "FROM rust AS toolchain\nRUN --mount=type=bind,target=/c cp /c/x /\nFROM toolchain\nCOPY y /"
    )
    assert toolchain.used_paths(file, {}) == (".",)


def test_the_compile_stages_own_variables() -> None:
    text = (
        "FROM rust AS toolchain\nENV CARGO_HOME=/c\n"
        "FROM toolchain AS compile\nARG SQLX_OFFLINE\nARG BINS\nARG RUSTFLAGS\n"
        'ENV A="x y" B=$SQLX_OFFLINE\nENV PATH=/p\nRUN --mount=type=cache,target=/b cargo build\n'
        "FROM scratch\nENV LATE=1\nCOPY --from=compile /a /a\n"
    )
    args = {"SQLX_OFFLINE": "true", "BINS": "api"}
    assert toolchain.environment(Dockerfile.read(text), args) == {"SQLX_OFFLINE": "true", "A": "x y", "B": "true"}
    assert toolchain.environment(Dockerfile.read(OURS.read_bytes()), {"CACHE_SCOPE": "s", "BIN": "api"}) == {}


# ---- services of integration tests


def _space(services: dict[str, Any], **more: Any) -> Any:
    config = {"name": "shop", "services": services, **more}
    return compose.from_compose(config, Settings(Path("/p")), ())


DB: dict[str, Any] = {
    "image": "postgres:15",
    "container_name": "shop-db",
    "restart": "always",
    "ports": [{"target": 5432, "published": "5433"}],
    "networks": {"default": None},
    "environment": {"POSTGRES_PASSWORD": "p$w"},
    "healthcheck": {"test": ["CMD", "true"]},
    "volumes": [
        {"type": "volume", "source": "data", "target": "/var/lib/postgresql/data"},
        {"type": "bind", "source": "/p/data", "target": "/srv"},
        {"type": "bind", "source": "/p/init", "target": "/docker-entrypoint-initdb.d"},
        {"type": "tmpfs", "target": "/tmp"},
    ],
    "depends_on": {"vault": {"condition": "service_started"}},
    "secrets": [{"source": "key", "target": "/run/secrets/key"}],
}


def _built(environment: dict[str, Any]) -> dict[str, Any]:
    return {"build": {"context": "/p"}, "environment": environment}


def test_the_copy_has_nothing_of_the_stack_and_of_its_data() -> None:
    workspace = _space(
        {"db": DB, "api": _built({})}, secrets={"key": {"name": "shop_key", "file": "/p/key"}, "other": {}}
    )
    made = integration.model(workspace, ("db",), {"postgres:15": "localhost/postgres"}, "t")
    assert made == {
        "name": "t",
        "services": {
            "db": {
                "image": "localhost/postgres",
                "environment": {"POSTGRES_PASSWORD": "p$w"},
                "healthcheck": {"test": ["CMD", "true"]},
                "volumes": [
                    {"type": "volume", "target": "/var/lib/postgresql/data"},
                    {"type": "volume", "target": "/srv"},
                    {
                        "type": "bind",
                        "source": "/p/init",
                        "target": "/docker-entrypoint-initdb.d",
                        "read_only": True,
                    },
                    {"type": "tmpfs", "target": "/tmp"},
                ],
                "secrets": [{"source": "key", "target": "/run/secrets/key"}],
            }
        },
        "secrets": {"key": {"file": "/p/key"}},
    }


def test_the_services_to_start() -> None:
    workspace = _space({"db": DB, "api": _built({})})
    assert integration.chosen(workspace, ()) == ("db",)
    with pytest.raises(Problem, match="Did you mean db"):
        integration.chosen(workspace, ("dbb",))
    with pytest.raises(Problem) as raised:
        integration.chosen(_space({"api": _built({})}), ())
    assert raised.value.code == "cargo-no-services"


@pytest.mark.parametrize(
    ("dotenv", "programs", "expected"),
    [
        # .env is written for programs on the host: published ports, localhost
        (
            {"DATABASE_URL": "postgres://u:p%40@localhost:5432/app?x=1"},
            [],
            {"DATABASE_URL": "postgres://u:p%40@db:5432/app?x=1"},
        ),
        # the copy publishes no ports: 5433 is the host port of 5432
        (
            {
                "DATABASE_URL": "postgres://localhost:5433/app",
                "DB_HOST": "localhost",
                "DB_PORT": "5433",
                "PORT": "5433",
            },
            [],
            {"DATABASE_URL": "postgres://db:5432/app", "DB_HOST": "db", "DB_PORT": "5432", "PORT": "5433"},
        ),
        ({"DB_HOST": "127.0.0.1", "OTHER_HOST": "localhost"}, [], {"DB_HOST": "db", "OTHER_HOST": "localhost"}),
        ({"U": "postgresql://u@127.0.0.1/app"}, [], {"U": "postgresql://u@db:5432/app"}),
        ({"API": "http://localhost:9/x", "N": "1"}, [], {"API": "http://localhost:9/x", "N": "1"}),
        # variables of the stack's programs take precedence if they agree
        (
            {"DATABASE_URL": "x"},
            [{"DATABASE_URL": "postgres://u@db:5432/a", "PORT": "1"}, {"DATABASE_URL": "postgres://u@db:5432/a"}],
            {"DATABASE_URL": "postgres://u@db:5432/a"},
        ),
        ({}, [{"URL": "postgres://u@db/a"}, {"URL": "postgres://u@db/b"}], {}),
        # in separate variables
        (
            {},
            [{"POSTGRES_HOST": "db", "POSTGRES_USER": "u", "PORT": "1"}],
            {"POSTGRES_HOST": "db", "POSTGRES_USER": "u"},
        ),
        ({"BROKEN": "http://[::1"}, [{"E": None}], {"BROKEN": "http://[::1"}),
    ],
)
def test_the_environment_of_tests(
    dotenv: dict[str, str], programs: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    workspace = _space({"db": DB, **{f"api{n}": _built(env) for n, env in enumerate(programs)}})
    assert integration.environment(workspace, ("db",), dotenv) == expected


def test_a_published_port_wins_over_the_same_port_inside_another_service() -> None:
    def database(published: str) -> dict[str, Any]:
        return {**DB, "ports": [{"target": 5432, "published": published}]}

    workspace = _space({"users": database("5432"), "orders": database("5433")})
    found = integration.environment(
        workspace, ("users", "orders"), {"U": "pg://localhost:5432/u", "O": "pg://localhost:5433/o"}
    )
    assert found == {"U": "pg://users:5432/u", "O": "pg://orders:5432/o"}


def test_the_container_that_packs_has_the_volumes_and_no_network() -> None:
    given = {"RUSTFLAGS": "-C x", "bad;name": "x"}
    made = container.transfer(SITE, "n", ("SCRIPT", "probe", "/compile"), (Mount("/s", "/out"),), given, "dev")
    command = docker_run.run_container(Path("/p"), made)
    line = " ".join(command.argv)
    assert line.endswith("--env BT_V_RUSTFLAGS --entrypoint sh i -c SCRIPT transfer probe /compile")
    assert " --user 0:0 --network none " in line
    assert " --env PROFILE=dev --env BT_GIVEN=RUSTFLAGS " in line
    assert f"{_volume('target', '/build')}{_volume('registry', '/c/registry')}" in line
    assert command.env[-1] == ("BT_V_RUSTFLAGS", "-C x")
