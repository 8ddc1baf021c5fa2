"""`invoke build` from the user's perspective, with a recording docker."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Bench, log, service, solve
from tests.support import process


def test_an_ignore_file_with_an_invalid_pattern_is_one_error(bench: Bench) -> None:
    (bench.root / ".dockerignore").write_text("[z-a]\n")
    done = bench.invoke("build")
    assert "error[context-unreadable]: The ignore file of a build context is invalid." in done.err, done.all
    assert "[z-a]" in done.err


def test_build_is_one_solve_for_all_services_with_buildkit_on(bench: Bench) -> None:
    done = bench.invoke("build")
    assert done.code == 0, done.err
    call = bench.call("bake")
    assert call["argv"][:6] == ["buildx", "bake", "--file", "-", "--progress", "rawjson"]
    assert call["env"]["DOCKER_BUILDKIT"] == call["env"]["COMPOSE_DOCKER_CLI_BUILD"] == "1"
    definition = json.loads(call["stdin"])
    assert definition["group"]["default"]["targets"] == ["api", "worker"]
    api = definition["target"]["api"]
    assert api["tags"] == ["shop/api:dev"]
    assert api["args"] == {
        "BIN": "api",
        "CACHE_SCOPE": "shop",
        "PROFILE": "release",
        "PROGRAMS": "api worker",
        "CARGO_INCREMENTAL": "1",
    }
    assert "2 crates compiled (common, api), 390 reused" in done.err


def test_context_is_read_through_a_link_with_a_name_of_its_own(bench: Bench) -> None:
    bench.invoke("build")
    target = json.loads(bench.call("bake")["stdin"])["target"]["api"]
    link = Path(target["context"])
    assert link.is_symlink()
    assert link.resolve() == bench.root
    assert link.name != bench.root.name
    assert target["dockerfile"] == str(link / "docker/Dockerfile")


def test_chosen_services_become_the_binaries_to_compile(bench: Bench) -> None:
    bench.invoke("build", "--service", "worker")
    definition = json.loads(bench.call("bake")["stdin"])
    assert list(definition["target"]) == ["worker"]
    assert definition["target"]["worker"]["args"]["BINS"] == "worker"
    # the selection of packages, and therefore the features of dependencies, does not depend on the selected services
    assert definition["target"]["worker"]["args"]["PROGRAMS"] == "api worker"


def test_ci_and_the_flag_switch_incremental_off(bench: Bench) -> None:
    bench.env["CI"] = "true"
    done = bench.invoke("build")
    assert json.loads(bench.call("bake")["stdin"])["target"]["api"]["args"]["CARGO_INCREMENTAL"] == "0"
    assert "not incremental: CI is set" in done.err


def test_json_is_one_versioned_document_on_stdout_and_nothing_else(bench: Bench) -> None:
    done = bench.invoke("build", "--json")
    content = json.loads(done.out)
    assert content["schema"] == 1
    assert content["incremental"] is True
    assert content["cargo"]["compiled"] == ["common", "api"]
    assert content["cargo"]["fresh"] == 390
    assert [t["service"] for t in content["targets"]] == ["api", "worker"]
    assert content["targets"][0] == {
        "service": "api",
        "image": "shop/api:dev",
        "digest": "sha256:api",
        "changed": True,
    }
    assert content["steps"] == [{"name": "[api compile 2/2] RUN cargo build", "cached": False, "seconds": 2.5}]
    assert done.err == ""


def test_plan_prints_the_mounts_and_builds_nothing(bench: Bench) -> None:
    done = bench.invoke("build", "--plan", "--json")
    plan = json.loads(done.out)["plan"]
    assert plan["mounts"] == ["shop-target-amd64"]
    assert plan["reasons"]["incremental"] == "a local build"
    assert not [c for c in bench.calls if "bake" in c["argv"]]


def test_no_cache_never_reaches_docker_as_no_cache(bench: Bench) -> None:
    done = bench.invoke("build", "--no-cache")
    assert done.code == 0, done.err
    call = bench.call("bake")
    assert not [a for a in call["argv"] if "no-cache" in a]
    assert json.loads(call["stdin"])["target"]["api"]["args"]["REBUILD"]


def test_unknown_service_lists_near_matches(bench: Bench) -> None:
    done = bench.invoke("build", "--service", "wroker")
    assert done.code == 7
    assert "error[unknown-service]: The service 'wroker' does not exist. Did you mean worker?" in done.err
    assert "services: api, worker" in done.err


def test_a_service_that_is_not_built_says_so(bench: Bench) -> None:
    done = bench.invoke("build", "--service", "postgres")
    assert done.code == 7
    assert "is not built by this project" in done.err


def test_service_named_twice(bench: Bench) -> None:
    done = bench.invoke("build", "--service", "api,worker", "--service", "api")
    assert done.code == 7
    assert "error[duplicate-service]: The service 'api' was specified twice." in done.err


def test_compile_error_is_shown_verbatim_with_its_own_exit_code(bench: Bench) -> None:
    words = "error[E0425]: cannot find value `x` in this scope\n --> crates/api/src/main.rs:3:5\n"
    failed = {
        "digest": "sha256:run",
        "name": "[api compile 2/2] RUN cargo build",
        "started": "2026-01-01T00:00:00Z",
        "completed": "2026-01-01T00:00:01Z",
        "error": 'process "/bin/sh" did not complete successfully: exit code: 101',
    }
    bench.reply(
        "buildx bake",
        stderr=solve(log("sha256:run", "   Compiling api v0.1.0 (/x)\n" + words), {"vertexes": [failed]})
        + "ERROR: failed to solve\n",
        code=1,
    )
    done = bench.invoke("build")
    assert done.code == 20
    assert words in done.err
    assert done.err.rstrip().split("\n")[-2:] == [
        "error[compile-failed]: The code does not compile.",
        "  hint: fix the errors above, then run `invoke build`",
    ]


def test_broken_compose_file_gives_composes_words_file_and_line(bench: Bench) -> None:
    bench.reply(
        "config --format json", code=15, stderr="yaml: line 7: mapping values are not allowed in this context\n"
    )
    done = bench.invoke("build")
    assert done.code == 6
    assert "yaml: line 7: mapping values are not allowed" in done.err
    assert f"Compose cannot read {bench.root / 'compose.yaml'}, line 7." in done.err


def test_broken_dotenv_names_the_line_and_hides_the_value(bench: Bench) -> None:
    (bench.root / ".env").write_text("A=1\nPASSWORD='hunter2\n")
    done = bench.invoke("build")
    assert done.code == 5
    assert "line 2" in done.err
    assert "hunter2" not in done.all


def test_unreadable_dotenv(bench: Bench) -> None:
    (bench.root / ".env").mkdir()  # root can read every file, so use a directory
    done = bench.invoke("build")
    assert done.code == 5
    assert "error[dotenv-unreadable]" in done.err


def test_missing_secret_says_how_to_make_one(bench: Bench) -> None:
    (bench.root / ".env.example").write_text("PG_PASS=\n")
    bench.reply(
        "config --format json",
        code=1,
        stderr="error while interpolating services.pg: required variable PG_PASS is missing a value: x\n",
    )
    done = bench.invoke("build")
    assert done.code == 5
    assert "The variable PG_PASS has no value." in done.err
    assert "invoke dotenv" in done.err


def test_caches_are_never_named_after_the_folder_alone(bench: Bench) -> None:
    entry = service(bench.root, "api")
    del entry["build"]["args"]["CACHE_SCOPE"]
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {"api": entry}}))
    # through a link with another name, compose names the project after the link
    bench.reply("config --format json", stdout=json.dumps({"name": "link", "services": {}}), after="config --format")
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {"api": entry}}), once=True)
    assert bench.invoke("build").code == 0
    scope = json.loads(bench.call("bake")["stdin"])["target"]["api"]["args"]["CACHE_SCOPE"]
    assert scope.startswith("shop-")
    (bench.place / "calls.jsonl").unlink()
    bench.env["BUILDKIT_TASKS_CACHES_SCOPE"] = "mine"
    assert bench.invoke("build").code == 0
    assert json.loads(bench.call("bake")["stdin"])["target"]["api"]["args"]["CACHE_SCOPE"] == "mine"


def test_outside_any_project(bench: Bench, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    done = process.run([process.BIN / "invoke", "build"], empty, bench.environment())
    assert done.code == 3
    assert "error[no-project]" in done.err


def test_no_docker_at_all(bench: Bench) -> None:
    (bench.place / "bin" / "docker").unlink()
    bench.env["PATH"] = str(process.BIN)
    done = bench.invoke("build")
    assert done.code == 10
    assert "error[engine-missing]" in done.err
    assert "invoke engine.install" in done.err


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "hung-up")],
)
def test_a_signal_that_ends_us_reaches_buildx(bench: Bench, number: int, code: int, name: str) -> None:
    bench.reply("buildx bake", wait=True)
    running = process.start([process.BIN / "invoke", "build"], bench.root, bench.environment())
    deadline = time.monotonic() + 20
    while not (bench.place / "waiting").exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(running.pid, number)
    _, err = running.communicate(timeout=20)
    assert running.returncode == code
    assert (bench.place / "interrupted").exists()
    assert f"error[{name}]" in err


def test_secrets_of_dotenv_reach_no_screen_and_no_argv(bench: Bench) -> None:
    (bench.root / ".env").write_text("POSTGRES_PASSWORD=correct-horse\n")
    for args in (["build"], ["build", "--plan", "--json"], ["settings"], ["build", "--service", "nope"]):
        assert "correct-horse" not in bench.invoke(*args).all
    assert "correct-horse" not in json.dumps(bench.calls)


def test_a_build_argument_from_dotenv_is_not_printed_by_the_plan_but_reaches_the_build(bench: Bench) -> None:
    (bench.root / ".env").write_text("TOKEN=correct-horse\nPROFILE=release\n")
    (bench.root / ".env.example").write_text("TOKEN=\nPROFILE=release\n")
    api = service(bench.root, "api")
    api["build"]["args"] |= {"NPM": "//npm.example/:_authToken=correct-horse", "GIT": "https://me:pw1@git.example/x"}
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {"api": api}}))
    done = bench.invoke("build", "--plan", "--json")
    args = json.loads(done.out)["plan"]["bake"]["target"]["api"]["args"]
    assert (args["NPM"], args["GIT"]) == ("//npm.example/:_authToken=***", "https://***@git.example/x")
    assert args["PROFILE"] == "release"  # even though it is in .env.example
    assert bench.invoke("build").code == 0
    assert json.loads(bench.call("bake")["stdin"])["target"]["api"]["args"]["NPM"].endswith("correct-horse")


CROSS = "FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS compile"


def test_other_platforms_are_in_one_target_with_mounts_for_each_and_nothing_incremental(bench: Bench) -> None:
    dockerfile = bench.root / "docker/Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("FROM ${RUST_IMAGE} AS compile", CROSS))
    bench.reply("buildx inspect", stdout="Name: default\nDriver: docker\n")
    done = bench.invoke("build", "--service", "api", "--platform", "arm64,amd64")
    assert done.code == 0, done.all
    target = json.loads(bench.call("bake")["stdin"])["target"]["api"]
    assert target["platforms"] == ["linux/arm64", "linux/amd64"]
    assert target["args"]["CARGO_INCREMENTAL"] == "0"
    assert "linux/arm64  cross: compiled here for linux/arm64; no emulation needed" in done.err
    plan = json.loads(bench.invoke("build", "--platform", "arm64,amd64", "--plan", "--json").out)["plan"]
    assert plan["mounts"] == ["shop-target-arm64", "shop-target-amd64"]


def test_cargo_is_not_emulated_unless_asked_for(bench: Bench) -> None:
    done = bench.invoke("build", "--platform", "linux/arm64")
    assert done.code == 47
    assert "the stage compile compiles in a linux/arm64 image" in done.err
    assert "nine times as long" in done.err
    assert not [c for c in bench.calls if "bake" in c["argv"]]
    assert bench.invoke("build", "--platform", "linux/arm64", "--allow-emulation").code == 0


LOST = "Error response from daemon: parent snapshot sha256:fc7b does not exist: not found\n"


@pytest.mark.parametrize(
    ("stderr", "once", "code", "words"),
    [
        (LOST, True, 0, ""),
        (LOST, False, 31, "cannot create a container from shop/api:dev for linux/arm64"),
        ("Error response from daemon: Conflict.\n", True, 31, "cannot create a container from shop/api:dev"),
        (
            "Error: image was found but does not provide the specified platform\n",
            True,
            48,
            "does not start on that platform",
        ),
    ],
)
def test_only_a_wrong_platform_is_reported_as_one(bench: Bench, stderr: str, once: bool, code: int, words: str) -> None:
    """A layer that the engine deletes as a container is created from it is unpacked again by the next try."""
    bench.reply("container create", code=1, stderr=stderr, once=once)
    done = bench.invoke("build", "--service", "api", "--platform", "linux/arm64", "--allow-emulation")
    assert done.code == code, done.all
    assert words in done.err
    if words:
        assert stderr.strip() in done.err


def test_pushed_images_get_the_registrys_name_and_archives_a_file_each(bench: Bench) -> None:
    bench.invoke("build", "--service", "api", "--push", "registry.example/team/")
    target = json.loads(bench.call("bake")["stdin"])["target"]["api"]
    assert target["tags"] == ["registry.example/team/api:dev"]
    assert target["output"] == ["type=image,push=true"]
    bench.reply("buildx inspect", stdout="Name: default\nDriver: docker\n")
    bench.invoke("build", "--service", "worker", "--oci", "out/new", "--plan")
    assert not (bench.root / "out").exists()
    bench.invoke("build", "--service", "worker", "--oci", "out/new")
    worker = json.loads([c for c in bench.calls if "bake" in c["argv"]][-1]["stdin"])["target"]["worker"]
    assert worker["output"] == [f"type=oci,dest={bench.root / 'out/new'}/worker.tar"]
    assert (bench.root / "out/new").is_dir()
    both = bench.invoke("build", "--oci", "out", "--push", "registry.example/team")
    assert both.code == 33


def test_the_progress_asked_for_is_kept_with_platforms(bench: Bench) -> None:
    done = bench.invoke("build", "--platform", "amd64", "--progress", "quiet")
    assert done.code == 0
    assert "RUN cargo build: " not in done.err


def test_static_is_refused_where_it_would_do_nothing(bench: Bench) -> None:
    bench.env["BUILDKIT_TASKS_BUILD_STATIC"] = "gnu"
    done = bench.invoke("build")
    assert done.code == 4
    assert "has no `ARG STATIC`" in done.err


@pytest.mark.parametrize("flag", ["--service=", "--service=,", "--service=api,,worker", "--platform=", "--platform= "])
def test_a_flag_with_an_empty_name_is_not_taken_for_the_default(bench: Bench, flag: str) -> None:
    done = bench.invoke("build", flag)
    assert done.code == 33, done.all
    assert "contains an empty name" in done.err
    assert not [call for call in bench.calls if "bake" in call["argv"]]
