"""The files and the name of a project are the same as with compose, for every way to specify them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Workspace
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.project.compose import select
from buildkit_tasks.project.discover import files_found, read_workspace
from buildkit_tasks.survey import model
from buildkit_tasks.workspaces import tree
from tests.support import newer_plugins, process

pytestmark = [pytest.mark.engine]


def service(name: str) -> str:
    return f"services: {{{name}: {{build: {{context: ., args: {{FROM: {name}}}}}}}}}\n"


#: Name of the case: files, environment, and the working directory (below the root).
CASES: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "override": ({"compose.yaml": service("a"), "compose.override.yml": service("b")}, {}, "."),
    "override of the other style": (
        {"compose.yaml": service("a"), "docker-compose.override.yml": service("b")},
        {},
        ".",
    ),
    "two of each": (
        {
            "docker-compose.yml": service("a"),
            "docker-compose.yaml": service("b"),
            "docker-compose.override.yml": service("c"),
            "docker-compose.override.yaml": service("d"),
        },
        {},
        ".",
    ),
    "yml beside yaml": ({"compose.yml": service("a"), "compose.yaml": service("b")}, {}, "."),
    "COMPOSE_FILE": ({"x.yaml": service("a"), "y.yaml": service("b")}, {"COMPOSE_FILE": "x.yaml:y.yaml"}, "."),
    "its separator": (
        {"x.yaml": service("a"), "y.yaml": service("b")},
        {"COMPOSE_FILE": "x.yaml;y.yaml", "COMPOSE_PATH_SEPARATOR": ";"},
        ".",
    ),
    "COMPOSE_FILE in .env": (
        {"deploy/x.yaml": service("a"), ".env": "COMPOSE_FILE=deploy/x.yaml\n", "compose.yaml": service("b")},
        {},
        ".",
    ),
    "its separator in .env": (
        {
            "x.yaml": service("a"),
            "y.yaml": service("b"),
            ".env": "COMPOSE_FILE=x.yaml,y.yaml\nCOMPOSE_PATH_SEPARATOR=,\n",
        },
        {},
        ".",
    ),
    "only .env names a file": ({"deploy/x.yaml": service("a"), ".env": "COMPOSE_FILE=deploy/x.yaml\n"}, {}, "."),
    "COMPOSE_FILE below": (
        {"compose.yaml": service("b"), "sub/x.yaml": service("a"), "sub/here": ""},
        {"COMPOSE_FILE": "x.yaml"},
        "sub",
    ),
    "from below": ({"compose.yaml": service("a"), "sub/here": ""}, {}, "sub"),
    "JSON": ({"compose.yaml": json.dumps({"name": "q", "services": {"a": {"build": "."}}})}, {}, "."),
    "a quoted name": ({"compose.yaml": '"name": quoted\n' + service("a")}, {}, "."),
    "a BOM": ({"compose.yaml": "\ufeffname: bom\n" + service("a")}, {}, "."),
    "CRLF": ({"compose.yaml": "name: crlf\r\nservices:\r\n  a:\r\n    build: .\r\n"}, {}, "."),
    "no name": ({"compose.yaml": service("a")}, {}, "."),
    "COMPOSE_PROJECT_NAME": ({"compose.yaml": service("a")}, {"COMPOSE_PROJECT_NAME": "other"}, "."),
    "the name in .env": ({"compose.yaml": service("a"), ".env": "COMPOSE_PROJECT_NAME=dotted\n"}, {}, "."),
    "include": (
        {
            "compose.yaml": "include: [{path: part/compose.yaml, env_file: part/own.env}]\n" + service("a"),
            "part/compose.yaml": "services: {b: {build: {context: ., args: {X: '${X}'}}}}\n",
            "part/own.env": "X=from-its-own\n",
        },
        {},
        ".",
    ),
    "extends": (
        {
            "compose.yaml": "services: {a: {extends: {file: base.yaml, service: base}}}\n",
            "base.yaml": "services: {base: {build: {context: ., target: t}}}\n",
        },
        {},
        ".",
    ),
    "a profile by variable": (
        {"compose.yaml": "services: {a: {build: .}, b: {build: ., profiles: [p]}, c: {build: ., profiles: [q]}}\n"},
        {"COMPOSE_PROFILES": "p"},
        ".",
    ),
    "a profile in .env": (
        {
            "compose.yaml": "services: {a: {build: .}, b: {build: ., profiles: [p]}}\n",
            ".env": "COMPOSE_PROFILES=p\n",
        },
        {},
        ".",
    ),
    "dollars": (
        {"compose.yaml": "services: {a: {build: {context: 'x $$y', args: {A: '$$$$x $${Z} ${V}', B: '%{q}'}}}}\n"},
        {"V": "a$b"},
        ".",
    ),
    "keys for ssh": ({"compose.yaml": "services: {a: {build: {context: ., ssh: [k=/tmp/key]}}}\n"}, {}, "."),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return the working directory and its environment."""
    files, env, folder = CASES[request.param]
    root = tmp_path / "My.App"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8", newline="")
    return root / folder, env


def session_in(cwd: Path, env: dict[str, str]) -> Session:
    whole = {**os.environ, "XDG_STATE_HOME": str(cwd.parents[1] / "state"), **env}
    world = replace(World.real(), cwd=cwd, env=whole)
    return Session(world, Report(world, json_only=True))


def ours(cwd: Path, env: dict[str, str]) -> Workspace:
    return read_workspace(session_in(cwd, env))


def theirs(cwd: Path, env: dict[str, str]) -> dict[str, Any]:
    """Return compose's JSON model, or the parts that can be read from its YAML if compose cannot write JSON."""
    done = process.run(["docker", "compose", "config", "--format", "json"], cwd, dict(env))
    if done.code != 0:
        assert "SSHKey" in done.err, done.err
        services = process.ok(["docker", "compose", "config", "--services"], cwd, dict(env)).out.split()
        return {"name": "myapp", "services": {name: {"build": {"context": str(cwd)}} for name in services}}
    return dict(json.loads(done.out.replace("$$", "$")))


def test_services_arguments_and_contexts_are_those_of_compose(case: tuple[Path, dict[str, str]]) -> None:
    cwd, env = case
    found, expected = ours(cwd, env), theirs(cwd, env)
    assert found.project == expected["name"]
    assert sorted(found.names) == sorted(expected["services"])
    for service_ in found.services:
        build = expected["services"][service_.name]["build"]
        assert str(service_.context) == build["context"]
        assert service_.args == build.get("args", {})
        assert service_.target == build.get("target", "")


def test_the_files_that_we_name_to_compose_make_the_same_model(case: tuple[Path, dict[str, str]]) -> None:
    cwd, env = case
    session = session_in(cwd, env)
    expected = theirs(cwd, env)
    named = [part for file in files_found(session) for part in ("-f", str(file))]
    clean: dict[str, str | None] = {**env, "COMPOSE_FILE": None}
    done = process.run(["docker", "compose", *named, "config", "--services"], session.root, clean)
    assert sorted(done.out.split()) == sorted(expected["services"]), done.err


@pytest.mark.parametrize(
    ("text", "env", "shared"),
    [
        ("name: myapp\n" + service("a"), {}, True),
        ('"name": "myapp"\n' + service("a"), {}, True),
        (service("a"), {}, False),
        (service("a"), {"COMPOSE_PROJECT_NAME": "myapp"}, True),
        ("name: myapp\nservices: {a: {env_file: gone.env, build: .}}\n", {}, True),
        ("services: {a: {env_file: gone.env, build: .}}\n", {}, False),
        ("services: {a: {build: {context: ., args: {CACHE_SCOPE: mine}}}}\n", {}, True),
    ],
)
def test_two_folders_share_their_caches_where_the_project_has_a_name(
    tmp_path: Path, text: str, env: dict[str, str], shared: bool
) -> None:
    scopes = []
    for place in ("one", "two"):
        root = tmp_path / place / "My.App"
        root.mkdir(parents=True)
        (root / "compose.yaml").write_text(text)
        scopes += [ours(root, env).scope, ours(root, env).scope]
    assert scopes[0] == scopes[1]
    assert (scopes[0] == scopes[2]) is shared


def test_a_profile_s_service_is_there_when_it_is_named(tmp_path: Path) -> None:
    root = tmp_path / "x" / "app"
    root.mkdir(parents=True)
    (root / "compose.yaml").write_text("services: {a: {build: .}, b: {build: ., profiles: [p]}}\n")
    session = session_in(root, {})
    assert read_workspace(session).names == ("a",)
    assert read_workspace(session, named=("a,b",)).names == ("a", "b")


def test_warnings_and_errors_of_compose_have_no_values_of_dotenv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "x" / "app"
    root.mkdir(parents=True)
    (root / ".env").write_text("TOKEN=hunter2-token\n")
    (root / "compose.yaml").write_text(service("a") + "x-y: ${NOT_SET_ANYWHERE}\n")
    ours(root, {})
    assert 'compose: The "NOT_SET_ANYWHERE" variable is not set' in capsys.readouterr().err
    (root / "compose.yaml").write_text("services: {a: {build: ., image: '${TOKEN:?${TOKEN}}', ports: ['${TOKEN}']}}\n")
    with pytest.raises(Problem) as caught:
        ours(root, {})
    assert caught.value.code == "compose-invalid"
    assert "hunter2" not in caught.value.text()
    assert "***" in caught.value.details
    (root / ".env").rename(root / "own.env")
    with pytest.raises(Problem) as caught:
        ours(root, {"COMPOSE_ENV_FILES": "own.env"})
    assert "hunter2" not in caught.value.text()
    assert "***" in caught.value.details


@pytest.mark.parametrize(
    ("folder", "files", "words"),
    [
        ("app", {".env": "COMPOSE_PROJECT_NAME=My.App\n"}, 'invalid project name "My.App"'),
        ("é", {}, "project name must not be empty"),
    ],
)
def test_a_project_s_name_that_compose_does_not_take(
    tmp_path: Path, folder: str, files: dict[str, str], words: str
) -> None:
    root = tmp_path / "x" / folder
    root.mkdir(parents=True)
    (root / "compose.yaml").write_text(service("a"))
    for name, text in files.items():
        (root / name).write_text(text)
    with pytest.raises(Problem) as caught:
        ours(root, {})
    assert (caught.value.code, caught.value.message) == ("compose-invalid", "The project's name is not valid.")
    assert words in caught.value.details


@pytest.mark.parametrize(
    ("text", "env", "message", "hint"),
    [
        ("", {"COMPOSE_FILE": "gone.yaml"}, "The compose file {}/gone.yaml does not exist", "correct COMPOSE_FILE"),
        (
            "",
            {"BUILDKIT_TASKS_PROJECT_COMPOSE_FILE": "gone.yaml"},
            "The compose file {}/gone.yaml does not exist",
            "the setting project.compose_file",
        ),
        ("include: [gone.yaml]\n", {}, "The compose file {}/gone.yaml does not exist", "`include` or `extends`"),
        (
            "services: {a: {extends: {file: gone.yaml, service: b}}}\n",
            {},
            "The compose file {}/gone.yaml does not exist",
            "`include` or `extends`",
        ),
        (
            "",
            {"COMPOSE_PARALLEL_LIMIT": "x"},
            "Compose does not accept the value of COMPOSE_PARALLEL_LIMIT",
            "unset it",
        ),
    ],
)
@pytest.mark.parametrize("newest", [False, True], ids=["installed", "newest"])
def test_what_is_wrong_around_the_compose_file_is_not_blamed_on_its_text(
    tmp_path: Path, text: str, env: dict[str, str], message: str, hint: str, newest: bool
) -> None:
    root = tmp_path / "x" / "app"
    root.mkdir(parents=True)
    (root / "compose.yaml").write_text(text or service("a"))
    more = {"DOCKER_CONFIG": str(newer_plugins.config())} if newest else {}
    with pytest.raises(Problem) as caught:
        ours(root, {**env, **more})
    assert caught.value.code == "compose-invalid"
    assert caught.value.message == f"{message.format(root)}."
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("setting", "env", "folder"),
    [
        ("", {}, "."),
        ("", {}, "deploy"),
        ("deploy/x.yaml", {}, "."),
        ("deploy/x.yaml", {}, "deploy"),
        ("", {"COMPOSE_FILE": "x.yaml"}, "deploy"),
        ("deploy/../x.yaml:deploy/x.yaml", {}, "."),
    ],
)
def test_our_dotenv_is_the_one_that_compose_reads(
    tmp_path: Path, setting: str, env: dict[str, str], folder: str
) -> None:
    root = tmp_path / "x" / "app"
    (root / "deploy").mkdir(parents=True)
    table = f'[tool.buildkit-tasks.project]\ncompose_file = "{setting}"\n' if setting else ""
    (root / "pyproject.toml").write_text(table)
    for name in ("compose.yaml", "x.yaml", "deploy/x.yaml"):
        (root / name).write_text("services: {a: {build: {context: ., args: {X: '${X?}'}}}}\n")
        (root / name).with_name(".env").write_text(f"X={name}\n")
    session = session_in(root / folder, env)
    assert session.dotenv["X"] == read_workspace(session).services[0].args["X"]
    session.dotenv_file.write_text("")
    with pytest.raises(Problem) as problem:
        read_workspace(session_in(root / folder, env))
    assert str(session.dotenv_file) in problem.value.hint


def test_the_services_of_inactive_profiles_are_named_where_no_other_is_built(tmp_path: Path) -> None:
    root = tmp_path / "x" / "app"
    root.mkdir(parents=True)
    (root / "compose.yaml").write_text("services: {a: {image: x}, b: {build: ., profiles: [p, q]}, c: {image: y}}\n")
    workspace = ours(root, {})
    assert (workspace.names, workspace.inactive) == ((), {"b": ("p", "q")})
    with pytest.raises(Problem) as problem:
        select(workspace, ())
    assert problem.value.causes == ("b has a `build:` section, but is in an inactive profile: p, q",)
    assert "invoke build --service b" in problem.value.hint


def test_init_reads_a_project_without_its_env_files(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "compose.yaml").write_text(
        "include: [part/b.yaml]\nservices: {a: {build: ., env_file: .env, environment: {X: '${X:?}'}}}\n"
    )
    (tmp_path / "part/b.yaml").write_text("services: {b: {build: ., env_file: [one.env, ../two.env]}}\n")
    found = model.resolve(session_in(tmp_path, {}).world, tree.read(tmp_path), ("compose.yaml",))
    assert sorted(found.config["services"]) == ["a", "b"]
    assert found.wanted == ("X",)
    assert set(found.env_files) <= {".env", "part/one.env", "two.env"}
    assert ".env" in found.env_files
