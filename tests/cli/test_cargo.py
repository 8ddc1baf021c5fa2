"""The cargo tasks through the real command line, with a recording docker."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import DOCKERFILE, Bench, service
from tests.support import process

TOOLCHAIN = DOCKERFILE.replace(
    "FROM ${RUST_IMAGE} AS compile\n",
    "FROM ${RUST_IMAGE} AS toolchain\nRUN --mount=type=bind,source=docker/compile.rs,target=/c rustc /c\n"
    "FROM toolchain AS compile\nARG SOURCE=services\n",
)


#: Without it, BuildKit transfers too little of the context if a COPY pattern matches nothing.
WHOLE = "RUN --mount=type=bind,target=/run/context :"


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """The project with a toolchain stage, and containers in which cargo exits with 0."""
    (bench.root / "docker/Dockerfile").write_text(TOOLCHAIN)
    (bench.root / "docker/compile.rs").write_text("fn main() {}\n")
    (bench.root / "services").mkdir()
    bench.reply(
        "image inspect --format [{{json .Id}}", stdout='["sha256:1",["PATH=/bin","CARGO_HOME=/usr/local/cargo"]]'
    )
    bench.reply("image ls", stdout="")
    bench.reply("run --rm --init", stdout="cargo was here\n", task={"started": ""})
    bench.env["BUILDKIT_TASKS_CA_BUNDLE"] = None
    return bench


def runs(bench: Bench) -> list[list[str]]:
    return [c["argv"] for c in bench.calls if c["argv"][:3] == ["run", "--rm", "--init"]]


def words(bench: Bench) -> str:
    """Return cargo's arguments in the last container."""
    argv = runs(bench)[-1]
    return " ".join(argv[argv.index("cargo") + 1 :])


def bakes(bench: Bench) -> int:
    return len([c for c in bench.calls if c["argv"][:2] == ["buildx", "bake"]])


def test_the_image_is_built_up_to_its_toolchain_and_then_remembered(shop: Bench) -> None:
    done = shop.invoke("cargo.test")
    assert (done.code, done.out) == (0, "cargo was here\n")
    assert words(shop) == "test --locked"
    target = json.loads(shop.call("bake")["stdin"].replace("$${", "${"))["target"]["api"]
    assert target["dockerfile-inline"].endswith(f"\nFROM toolchain AS {target['target']}\n{WHOLE}\n")
    assert target["tags"][0].startswith("localhost/buildkit-tasks-cargo/shop:")
    assert "BINS" not in target["args"]
    assert target["tags"][0] in runs(shop)[0]
    assert shop.invoke("cargo.test").code == 0
    assert bakes(shop) == 1


def test_what_the_toolchain_is_made_from_makes_it_again(shop: Bench) -> None:
    shop.invoke("cargo.check")
    (shop.root / "services/main.rs").write_text("fn main() {}\n")
    shop.invoke("cargo.check")
    assert bakes(shop) == 1
    (shop.root / "docker/compile.rs").write_text("fn main() { }\n")
    shop.invoke("cargo.check")
    assert bakes(shop) == 2
    record = next((shop.place / "home/.local/state/buildkit-tasks").glob("*/cargo-toolchain.json"))
    old = json.loads(record.read_text())
    record.write_text(json.dumps({**old, "made": old["made"] - 90_000}))  # its base image may have moved meanwhile
    shop.invoke("cargo.check")
    assert bakes(shop) == 3


def test_the_image_of_another_checkout_stays(shop: Bench) -> None:
    """Two worktrees of a project share an image repository, and each needs its own image."""
    shop.invoke("cargo.check")
    record = next((shop.place / "home/.local/state/buildkit-tasks").glob("*/cargo-toolchain.json"))
    own = json.loads(record.read_text())
    repository = own["image"].rpartition(":")[0]
    for name, age in (("other", 0), ("abandoned", 90_000)):
        place = record.parents[1] / f"{name}-0123456789" / record.name
        place.parent.mkdir()
        place.write_text(json.dumps({**own, "image": f"{repository}:{name}", "made": own["made"] - age}))
    shop.reply("image ls", stdout="".join(f"{repository}:{n}\n" for n in ("other", "abandoned", "unknown")))
    shop.reply("image rm", stdout="")
    (shop.root / "docker/compile.rs").write_text("fn main() { }\n")
    shop.invoke("cargo.check")
    removed = [call["argv"] for call in shop.calls if call["argv"][:2] == ["image", "rm"]]
    assert [name.rpartition(":")[2] for name in removed[-1] if ":" in name] == ["abandoned", "unknown"]


def test_words_after_two_dashes_reach_cargo_as_they_are(shop: Bench) -> None:
    shop.invoke("cargo.test", "--crate", "api,worker", "--", "one two", "--", "--nocapture")
    assert runs(shop)[-1][-9:] == [
        *("test", "--locked", "--package", "api", "--package", "worker"),
        *("one two", "--", "--nocapture"),
    ]


#: Tasks as typed by the user, and the command in the container.
TASKS = (
    (("cargo.check",), "check --locked --workspace --all-targets"),
    (("cargo.doc", "--dependencies"), "doc --locked"),
    (("cargo.bench",), "bench --locked"),
    (("cargo.tree", "--", "-d"), "tree --locked -d"),
    (("cargo.update", "--crate", "serde"), "update --package serde"),
    (("cargo.clippy",), "clippy --locked --workspace --all-targets -- -D warnings"),
    (("cargo.fmt", "--check"), "fmt --all --check"),
    (("cargo.audit",), "audit"),
    (("cargo.deny",), "deny check"),
    (("cargo.licenses",), "license"),
    (("cargo.coverage",), "llvm-cov --locked"),
    (("cargo.clean", "--crate", "api"), "clean --locked --package api"),
    (("cargo.run", "--service", "worker", "--", "-v"), "run --locked --bin worker -- -v"),
)


def test_what_each_task_runs(shop: Bench) -> None:
    shop.reply("network inspect", code=1)
    for args, expected in TASKS:
        done = shop.invoke(*args)
        assert done.code == 0, done.all
        assert words(shop) == expected
    assert bakes(shop) == 1


def test_the_exit_code_is_cargos(shop: Bench) -> None:
    (shop.root / "services/Cargo.lock").write_text("")
    shop.reply("run --rm --init", code=101, stderr="error[E0425]: cannot find\n", task={"started": ""})
    done = shop.invoke("cargo.check")
    assert (done.code, done.err.splitlines()[-1]) == (101, "error[E0425]: cannot find")
    shop.reply("run --rm --init", code=33, task={"started": ""})
    assert shop.invoke("cargo.run", "--bin", "x").code == 33


def test_a_container_that_does_not_start_is_tried_once_with_a_new_image(shop: Bench) -> None:
    shop.invoke("cargo.check")
    shop.reply("run --rm --init", code=125, stderr="docker: Error response from daemon: No such image\n")
    done = shop.invoke("cargo.check")
    assert bakes(shop) == 2
    assert done.code == 76
    assert "error[cargo-not-started]" in done.err


def test_volumes_that_are_roots_are_given_to_the_user(shop: Bench) -> None:
    shop.reply("run --rm --init", code=125, task={"started": "", "reason": "owner"})
    shop.reply("chown -R", task={"started": ""})
    done = shop.invoke("cargo.check")
    assert ["chown" in " ".join(argv) for argv in runs(shop)] == [False, True, False]
    assert done.code == 76  # and it does not retry forever


@pytest.mark.parametrize(
    ("reason", "code", "hint"),
    [
        ("tool", 73, "invoke cargo.clippy --install"),
        ("sync", 74, "invoke cargo.clippy --in-place"),
        ("compile", 72, "buildkit-tasks init --upgrade"),
    ],
)
def test_why_cargo_was_not_run(shop: Bench, reason: str, code: int, hint: str) -> None:
    shop.reply("run --rm --init", code=125, task={"started": "", "reason": reason})
    done = shop.invoke("cargo.clippy")
    assert done.code == code
    assert hint in done.err


def test_a_project_without_a_toolchain_stage(shop: Bench) -> None:
    (shop.root / "docker/Dockerfile").write_text(DOCKERFILE)
    done = shop.invoke("cargo.test")
    assert done.code == 72
    assert "has no stage named toolchain" in done.err
    assert runs(shop) == []


MISSING = {"code": 125, "task": {"started": "", "reason": "tool"}}


def test_a_missing_tool_is_installed_with_consent(shop: Bench) -> None:
    shop.reply("cargo deny check", **MISSING)
    shop.reply("cargo deny check", after="--root /tools", task={"started": ""})
    done = shop.invoke("cargo.deny", "--install")
    assert done.code == 18
    assert shop.invoke("cargo.deny", "--install", "--yes").code == 0
    assert [" ".join(argv[argv.index("cargo") + 1 :]) for argv in runs(shop)] == [
        "deny check",
        "deny check",
        "install --locked --root /tools cargo-deny",
        "deny check",
    ]
    shop.reply("cargo fmt", once=True, **MISSING)
    assert shop.invoke("cargo.fmt", "--install", "--yes").code == 0
    last = [c["stdin"] for c in shop.calls if c["argv"][:2] == ["buildx", "bake"]][-1]
    assert "rustup component add" in last


def test_a_tool_that_is_there_is_not_installed_again(shop: Bench) -> None:
    done = shop.invoke("cargo.clippy", "--install")
    assert done.code == 0, done.all
    assert [words(shop)] == ["clippy --locked --workspace --all-targets -- -D warnings"]
    assert bakes(shop) == 1


def test_new_volumes_ask_for_a_pack_once_and_go_on_without_it(shop: Bench) -> None:
    shop.reply("BT_SHARED=1", code=125, once=True, task={"started": "", "reason": "empty"})
    shop.invoke("cargo.test")
    assert "BT_SHARED=1" not in " ".join(runs(shop)[-1])
    shop.env["BUILDKIT_TASKS_PACKS_REPOSITORY"] = "127.0.0.1:1/team/cache"
    shop.reply("transfer probe", code=2, stderr="no such thing\n")
    done = shop.invoke("cargo.test")
    assert done.code == 0, done.all
    assert "warning: continuing without the shared cache: " in done.err
    assert words(shop) == "test --locked"
    shop.env["BUILDKIT_TASKS_PACKS_PULL"] = "never"
    shop.invoke("cargo.test")
    assert "BT_SHARED=1" not in " ".join(runs(shop)[-1])


def test_packs_of_volumes_are_those_of_this_engine(shop: Bench) -> None:
    shop.env["BUILDKIT_TASKS_PACKS_REPOSITORY"] = "127.0.0.1:1/team/cache"
    for more in (("--platform", "arm64"), ("--scope", "all"), ("--mount", "npm")):
        assert shop.invoke("cache.pull", "--cargo", *more).code == 33
    assert shop.invoke("cache.push", "--cargo", "--platform", "arm64").code == 33
    assert shop.invoke("cache.warm", "--cargo", "--profile", "dev").code == 33
    assert runs(shop) == []


def test_the_hosts_cargo_runs_in_the_workspace_and_needs_no_engine(shop: Bench) -> None:
    cargo = shop.place / "bin/cargo"
    cargo.write_text('#!/bin/sh\npwd; echo "$@"; echo "$EXTRA"; exit 7\n')
    cargo.chmod(0o755)
    done = shop.invoke("cargo.check", "--host", "--env", "EXTRA=1")
    assert done.code == 7
    assert done.out == f"{shop.root}/services\ncheck --locked --workspace --all-targets\n1\n"
    assert all(c["argv"][0] == "compose" for c in shop.calls)


def test_variables_are_checked_and_their_values_are_in_no_argument(shop: Bench) -> None:
    assert shop.invoke("cargo.test", "--env", "A-B=1").code == 33
    assert shop.invoke("cargo.test", "--env", "TOKEN=hush").code == 0
    assert "BT_V_TOKEN" in runs(shop)[-1]
    assert "hush" not in json.dumps(shop.calls)


def database(bench: Bench) -> None:
    """Add a service with a prebuilt image to the compose file."""
    services = {
        "api": service(bench.root, "api", environment={"DB": "postgres://u:hush@postgres/x"}),
        "postgres": {"image": "postgres:15", "ports": [{"target": 5432, "published": "5432"}]},
    }
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": services}))


def test_services_for_integration_tests(shop: Bench) -> None:
    database(shop)
    shop.reply("compose --project-name", stdout="")
    done = shop.invoke("cargo.test", "--integration")
    assert done.code == 0, done.all
    up, down = (c for c in shop.calls if "--project-name" in c["argv"])
    name = up["argv"][2]
    assert name.startswith("shop-cargo-test-")
    assert up["argv"][-6:] == ["up", "--detach", "--wait", "--wait-timeout", "180", "--quiet-pull"]
    assert down["argv"][2] == name
    assert "--volumes" in down["argv"]
    assert json.loads(up["stdin"])["services"] == {"postgres": {"image": "postgres:15"}}
    argv = runs(shop)[-1]
    assert argv[argv.index("--network") + 1] == f"{name}_default"
    assert "BT_V_DB" in argv
    assert "hush" not in json.dumps([c["argv"] for c in shop.calls])
    assert words(shop) == "test --locked -- --include-ignored"


def test_services_that_do_not_start_are_removed(shop: Bench) -> None:
    database(shop)
    shop.reply("compose --project-name", code=1, stderr="container x is unhealthy")
    shop.reply("down --volumes", stdout="")
    done = shop.invoke("cargo.test", "--integration")
    assert done.code == 25
    assert "container x is unhealthy" in done.err
    assert "down" in shop.calls[-1]["argv"]
    assert runs(shop) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_container(shop: Bench, number: signal.Signals, code: int) -> None:
    shop.reply("run --rm --init", wait=True, task={"started": ""})
    running = process.start([process.BIN / "invoke", "cargo.test"], shop.root, shop.environment())
    limit = time.monotonic() + 30
    while not (shop.place / "waiting").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    os.kill(running.pid, number)
    running.communicate(timeout=30)
    assert running.returncode == code
    assert (shop.place / "interrupted").exists()
    removed = shop.calls[-1]["argv"]
    argv = runs(shop)[-1]
    assert removed == ["container", "rm", "--force", "--volumes", argv[argv.index("--name") + 1]]


def test_clean_removes_the_volumes_of_this_project(shop: Bench) -> None:
    shop.reply("volume ls", stdout="shop-cargo-target\nshop-cargo-tools\n")
    shop.reply("volume rm", stdout="")
    assert shop.invoke("cargo.clean").code == 0
    assert shop.calls[-2]["argv"] == ["volume", "ls", "--quiet", "--filter", "label=buildkit-tasks.cargo=shop"]
    assert shop.calls[-1]["argv"] == ["volume", "rm", "shop-cargo-target"]
    shop.reply("ps --all --filter name=", stdout="shop-cargo-test-1-postgres-1\n")
    shop.reply("network ls", stdout='["shop-cargo-test-1_default"]\n')
    shop.reply("network rm", stdout="")
    shop.invoke("cargo.clean", "--all")
    assert ["container", "rm", "--force", "--volumes", "shop-cargo-test-1-postgres-1"] in [
        c["argv"] for c in shop.calls
    ]
    assert ["network", "rm", "shop-cargo-test-1_default"] in [c["argv"] for c in shop.calls]
    assert shop.calls[-1]["argv"] == ["volume", "rm", "shop-cargo-target", "shop-cargo-tools"]
    shop.reply("volume rm", code=1, stderr="volume is in use")
    assert shop.invoke("cargo.clean").code == 31


def test_a_report_for_ci(shop: Bench, tmp_path: Path) -> None:
    assert shop.invoke("cargo.test", "--junit", str(tmp_path / "out/junit.xml")).code == 0
    assert words(shop).startswith("nextest run --locked")
    assert "BT_COPY=nextest/default/junit.xml" in runs(shop)[-1]
    done = shop.invoke("cargo.test", "--junit", "x.xml", "--host")
    assert done.code == 33


@pytest.mark.parametrize(("args", "words"), [((), "cargo.run needs"), (("--service", "apo"), "Did you mean api")])
def test_a_program_has_to_be_named(shop: Bench, args: tuple[str, ...], words: str) -> None:
    done = shop.invoke("cargo.run", *args)
    assert done.code in (7, 33)
    assert words in done.err
