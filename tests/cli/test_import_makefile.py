"""import-makefile through the real command line: a Makefile of more than 60 targets, and its shim run by make."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.tasks import namespace, typed
from tests.cli.conftest import Bench, service
from tests.support import process
from tests.support.shells import program

FIXTURE = Path(__file__).parents[1] / "fixtures" / "make"

#: Every target of the fixture: its task, or the reason to keep it.
CERTAIN = {
    "test": "cargo.test --env SQLX_OFFLINE -- --workspace $(ARGS)",
    "test-crate": "cargo.test --env SQLX_OFFLINE --crate $(CRATE) -- -- --nocapture",
    "test-all-features": "cargo.test --env SQLX_OFFLINE -- --all-features -- --test-threads=1",
    "test-%": "cargo.test --env SQLX_OFFLINE --crate $*",
    "check": "cargo.check --env SQLX_OFFLINE",
    "fmt": "cargo.fmt",
    "fmt-check": "cargo.fmt --check",
    "clippy": "cargo.clippy --env SQLX_OFFLINE -- --all-features -- -A clippy::too_many_arguments",
    "lint-fix": "cargo.fmt; cargo.clippy --env SQLX_OFFLINE --fix",
    "doc": "cargo.doc --env SQLX_OFFLINE",
    "bench": "cargo.bench --env SQLX_OFFLINE",
    "coverage": "cargo.coverage",
    "audit": "cargo.audit",
    "deny": "cargo.deny",
    "tree": "cargo.tree -- --duplicates",
    "update": "cargo.update",
    "db-create": "db.create",
    "db-migrate": "db.migrate",
    "db-status": "db.migrate --status",
    "db-drop": "db.drop",
    "db-test-create": "db.create --test",
    "db-seed": "db.seed --from seeds/demo.sql",
    "db-shell": "db.shell",
    "ci": "cargo.deny",
    "docker-build": "build",
    "docker-build-%": "build --service $*",
    "docker-up": "up --remove-orphans",
    "docker-up-dev": "up --overlay compose.dev.yaml",
    "docker-up-tools": "COMPOSE_PROFILES=tools up",
    "docker-down": "down",
    "docker-down-volumes": "down --volumes",
    "docker-restart": "restart --service api --service worker",
    "docker-ps": "ps",
    "docker-logs": "logs $(addprefix --service ,$(SERVICE)) --follow --tail 100",
    "docker-shell-api": "shell --service api",
    "docker-shell-db": "db.shell --service postgres",
    "docker-run-migrations": "run --service api -- migrate --all",
    "docker-image-api": "build --service api",
    "docker-image-multiarch": "build --service api --platform linux/amd64,linux/arm64",
}
PERHAPS = {
    "build": "build",
    "build-release": "build",
    "test-integration": "cargo.test --integration",
    "test-nextest": "cargo.test",
    "lint": "cargo.clippy",
    "doc-open": "cargo.doc",
    "coverage-xml": "cargo.coverage",
    "run-api": "cargo.run --bin api",
    "clean": "cargo.clean",
    "distclean": "cargo.clean",
    "db-other": "db.create",
    "install-hooks": "hooks.install",
    "setup": "quickstart",
    "docker-clean": "clean --volumes",
    "docker-push": "build --push REGISTRY/PATH",
    "docker-image-sha": "build --service api",
    "report": "cargo.test --env SQLX_OFFLINE",
}
NONE = {
    *("fmt-nightly", "watch", "install-tools", "db-revert", "web-install", "web-build", "deploy-staging"),
    *("test-log", "deploy-production", "target/release/shop.tar.gz", "logs/today"),
}
STAYS = {"help", "all", "db-reset", "version"}


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """The fixture in a project with a database."""
    for name in ("Makefile", "docker.mk"):
        shutil.copy(FIXTURE / name, bench.root)
    (bench.root / "compose.dev.yaml").write_text("services: {}\n")
    services = {name: service(bench.root, name) for name in ("api", "worker")}
    postgres = {"image": "postgres:15", "environment": {"POSTGRES_USER": "shop", "POSTGRES_DB": "shop"}}
    config = {"name": "shop", "services": {**services, "postgres": postgres}}
    bench.reply("config --format json", stdout=json.dumps(config))
    return bench


def document(bench: Bench, *words: str) -> dict[str, Any]:
    done = bench.invoke("import-makefile", "--json", *words)
    assert done.code == 0, done.all
    found: dict[str, Any] = json.loads(done.out)
    return found


def make(bench: Bench, *words: str) -> process.Done:
    env = {**bench.environment(), "MAKEFLAGS": None, "MAKELEVEL": None}
    env["PATH"] = f"{env['PATH']}:{Path(program('make')).parent}"
    return process.run([program("make"), "--no-print-directory", *words], bench.root, env, timeout=60)


def files(bench: Bench) -> dict[str, bytes]:
    return {n: (bench.root / n).read_bytes() for n in ("Makefile", "docker.mk")}


def test_each_of_more_than_sixty_targets_is_mapped_or_listed(shop: Bench) -> None:
    before = files(shop)
    found = document(shop, "--dry-run")
    assert files(shop) == before
    assert not (shop.root / "docker" / ".buildkit-tasks.json").exists()
    rows = {" ".join(row["names"]): row for row in found["targets"]}
    assert len(found["targets"]) >= 70
    tasks = {name: "; ".join(row["tasks"]) for name, row in rows.items()}
    results = {kind: {n for n, row in rows.items() if row["result"] == kind} for kind in ("certain", "perhaps", "none")}
    assert {name: tasks[name] for name in results["certain"]} == CERTAIN
    assert {n: tasks[n] for n in results["perhaps"]} | {"report": PERHAPS["report"]} == PERHAPS
    assert results["none"] - {"report"} == NONE
    assert {n for n, row in rows.items() if row["result"] == "stays"} - {"report"} == STAYS
    for name, row in rows.items():
        if row["result"] in ("perhaps", "none"):
            assert row["why"], name
            assert row["left"] or "condition" in row["why"] or name == "logs/today", name
    printed = shop.invoke("import-makefile", "--dry-run")
    assert printed.code == 0
    assert "make was not run to list" not in printed.all
    assert "\n    yarn lint\n" in printed.out
    assert "nothing was written (dry run)" in printed.err


def test_the_shim_runs_and_everything_else_stays(shop: Bench) -> None:
    before = files(shop)
    done = shop.invoke("import-makefile", "--yes")
    assert done.code == 0, done.all
    after = files(shop)
    for name in before:
        old, new = before[name].decode().split("\n"), after[name].decode().split("\n")
        gone = [line for line in old if line not in new]
        assert gone
        assert all(re.match(r"\t+\S", line) for line in gone)  # only recipe lines
    old_targets, targets = (make(shop, "-pRrq", ".none").out for _ in range(2))
    assert old_targets == targets
    assert make(shop, "help").out.count("\n") > 15
    known = typed.Known(namespace)
    for target in sorted(CERTAIN):
        name = target.replace("%", "x")
        ran = make(shop, "-n", "-B", name, "SERVICE=api worker", "ARGS=--lib")
        assert ran.code == 0, ran.err
        calls = re.findall(r"\binvoke ([^\n&;|]+)", ran.out)
        assert calls, ran.out
        for call in calls:
            typed.rewrite(shlex.split(call), known)  # every task and flag exists


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("docker-ps", "ps --all --format json"),
        ("docker-logs", "compose logs --tail 100 --follow api worker"),
        ("docker-down", "down"),
        ("docker-run-migrations", "run --rm"),
    ],
)
def test_a_target_reaches_docker_through_its_task(shop: Bench, target: str, words: str) -> None:
    running = [{"Service": name, "State": "running", "Name": f"shop-{name}-1"} for name in ("api", "worker")]
    shop.reply("ps --all", stdout="\n".join(json.dumps(row) for row in running))
    for word in (" down", " logs ", " run --rm", "ps --filter", "image ls", "volume ls"):
        shop.reply(word, stdout="")
    assert shop.invoke("import-makefile", "--yes").code == 0
    done = make(shop, target, "SERVICE=api worker")
    calls = [" ".join(call["argv"]) for call in shop.calls]
    assert any(words in call for call in calls), (done.all, calls)


def test_a_second_run_changes_nothing_and_undo_restores_every_byte(shop: Bench) -> None:
    before = files(shop)
    assert shop.invoke("import-makefile", "--yes").code == 0
    first = files(shop)
    again = shop.invoke("import-makefile", "--yes")
    assert "nothing to change" in again.err
    assert files(shop) == first
    undone = shop.invoke("import-makefile", "--undo", "--yes")
    assert undone.code == 0, undone.all
    assert files(shop) == before
    assert not (shop.root / "docker" / ".buildkit-tasks.json").exists()
    more = shop.invoke("import-makefile", "--undo", "--yes")
    assert more.code == 63
    assert "error[adopt-missing]" in more.err


def test_what_is_added_later_is_imported_and_survives_undo(shop: Bench) -> None:
    before = files(shop)
    assert shop.invoke("import-makefile", "--yes").code == 0
    path = shop.root / "Makefile"
    path.write_text("# mine\n" + path.read_text() + "\nnew:\n\t./x\n\nmore: ; cargo license\n")
    assert shop.invoke("import-makefile", "--yes").code == 0
    assert "more:\n\tinvoke cargo.licenses" in path.read_text()
    assert shop.invoke("import-makefile", "--undo", "--yes").code == 0
    restored = path.read_text()
    assert restored.startswith("# mine\n")
    assert restored.endswith("\nnew:\n\t./x\n\nmore: ; cargo license\n")
    assert before["Makefile"].decode() in restored


def test_init_undo_restores_the_makefile_too(shop: Bench) -> None:
    before = files(shop)
    assert shop.invoke("import-makefile", "--yes").code == 0
    done = shop.invoke("init", "--undo", "--yes")
    assert done.code == 0, done.all
    assert files(shop) == before


def test_nothing_is_written_without_consent(shop: Bench) -> None:
    before = files(shop)
    done = shop.invoke("import-makefile")
    assert done.code == 18
    assert "+\tinvoke cargo.fmt\n" in done.out  # the diff comes first
    assert files(shop) == before


def test_output_leaves_the_original_and_what_it_includes(shop: Bench) -> None:
    before = files(shop)
    done = shop.invoke("import-makefile", "--output", "Makefile.tasks", "--yes")
    assert done.code == 0, done.all
    assert files(shop) == before
    assert "\tinvoke cargo.fmt --check\n" in (shop.root / "Makefile.tasks").read_text()
    assert "--output does not change docker.mk" in done.out
    assert make(shop, "-n", "-f", "Makefile.tasks", "fmt").out == "invoke cargo.fmt\n"
    assert shop.invoke("import-makefile", "--undo", "--yes").code == 0
    assert not (shop.root / "Makefile.tasks").exists()
    outside = shop.invoke("import-makefile", "--output", "../x", "--yes")
    assert (outside.code, "not a file in the repository" in outside.err) == (33, True)


def test_a_target_that_stays_can_be_accepted(shop: Bench) -> None:
    wrong = shop.invoke("import-makefile", "--accept", "watch", "--yes")
    assert (wrong.code, "--accept watch: no task reruns a cargo command" in wrong.err) == (33, True)
    assert shop.invoke("import-makefile", "--accept", "nothing", "--yes").code == 33
    done = shop.invoke("import-makefile", "--accept", "docker-clean", "--accept", "build", "--yes")
    assert done.code == 0, done.all
    assert make(shop, "-n", "docker-clean").out == "invoke clean --volumes\n"
    assert make(shop, "-n", "build").out == "invoke build\n"


def test_without_a_tasks_file_the_targets_call_the_program(shop: Bench) -> None:
    (shop.root / "tasks.py").unlink()
    done = process.run(
        [process.BIN / "buildkit-tasks", "import-makefile", "--yes"], shop.root, shop.environment(), timeout=60
    )
    assert done.code == 0, done.all
    assert make(shop, "-n", "fmt").out == "buildkit-tasks cargo.fmt\n"


def test_a_makefile_that_runs_something_is_read_without_make(shop: Bench) -> None:
    (shop.root / "Makefile").write_text("V := $(shell touch ran)\n.PHONY: test\ntest:\n\tcargo test\n")
    done = shop.invoke("import-makefile", "--yes")
    assert done.code == 0, done.all
    assert "make was not run to list the targets: Makefile:1 runs a command" in done.err
    assert not (shop.root / "ran").exists()
    assert (shop.root / "Makefile").read_text().endswith("test:\n\tinvoke cargo.test\n")


def test_makefile_and_justfile_are_both_imported(shop: Bench) -> None:
    (shop.root / "justfile").write_text("import 'more.just'\n\n[private]\nt *ARGS:\n  cargo test {{ARGS}}\n")
    (shop.root / "more.just").write_text("# Up\nup *services:\n    docker compose up -d {{services}}\n")
    assert shop.invoke("import-makefile", "--yes").code == 0
    assert "  invoke cargo.test -- {{ARGS}}\n" in (shop.root / "justfile").read_text()
    assert "    invoke up {{services}}\n" in (shop.root / "more.just").read_text()
    assert "invoke cargo.fmt" in (shop.root / "Makefile").read_text()
    two = shop.invoke("import-makefile", "--output", "x", "--yes")
    assert (two.code, "--output supports only one file" in two.err) == (33, True)
    ran = process.run([process.BIN / "just", "--dry-run", "up", "api", "worker"], shop.root, shop.environment())
    assert ran.err.strip() == "invoke up api worker"


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 97, "There is no Makefile or justfile"),
        (b"a: b\n  cargo test\n", 98, "Makefile:2: the line is neither a rule nor a definition"),
        (b"ifdef X\n", 98, "has no endif"),
        (b"\xff\xfea\x00:\x00\n\x00", 98, "not a text file"),
        (b"# x\n" * 1_300_000, 98, "the limit is 1,000,000"),
        ("fifo", 62, "is not a file"),
        ("directory", 62, "is not a file"),
    ],
)
def test_what_cannot_be_read_is_refused(shop: Bench, content: bytes | str | None, code: int, words: str) -> None:
    path = shop.root / "Makefile"
    path.unlink()
    if content == "fifo":
        os.mkfifo(path)
    elif content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    done = shop.invoke("import-makefile", "--yes")
    assert (done.code, words in done.err) == (code, True), done.all
    assert "hint:" in done.err


def test_bytes_that_are_not_utf8_and_dos_lines_stay(shop: Bench) -> None:
    shop.env["PYTHONUTF8"] = "1"
    text = b"# caf\xe9\r\n.PHONY: a\r\na: ## d\xe9j\xe0\r\n\tcargo test\r\nb:\r\n\t./x \xe9\r\n"
    (shop.root / "Makefile").write_bytes(text)
    done = shop.invoke("import-makefile", "--yes")
    assert done.code == 0, done.all
    assert (shop.root / "Makefile").read_bytes() == text.replace(b"\tcargo test", b"\tinvoke cargo.test")


def test_files_outside_the_repository_are_not_read(shop: Bench) -> None:
    (shop.root.parent / "secret.mk").write_text("secret:\n\tcargo test\n")
    (shop.root / "Makefile").write_text("include ../secret.mk\n-include gone.mk\na:\n\tcargo test\n")
    done = shop.invoke("import-makefile", "--dry-run")
    assert "../secret.mk: not a file in this repository" in done.err
    assert "secret " not in done.out


def test_cargo_in_a_makefile_of_another_directory_stays(shop: Bench) -> None:
    (shop.root / "tool").mkdir()
    (shop.root / "tool" / "Makefile").write_text(".PHONY: t d\nt:\n\tcargo test\nd:\n\tdocker compose ps\n")
    done = shop.invoke("import-makefile", "--file", "tool/Makefile", "--yes")
    assert done.code == 0, done.all
    assert "the command runs in tool/, but the tasks run in the project's workspace" in done.out
    assert (shop.root / "tool" / "Makefile").read_text().endswith("d:\n\tinvoke ps\n")
