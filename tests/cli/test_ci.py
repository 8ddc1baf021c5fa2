"""`invoke ci.*`: the real command line, real git, the recording docker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Bench
from tests.support import process

IDENTITY = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(root: Path, *words: str) -> None:
    env: dict[str, str | None] = {**IDENTITY, "PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = process.run(["git", *words], root, env)
    assert done.code == 0, done.all


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """The shop with a workspace of two programs and a crate that both take, committed."""
    crates = {"api": "common", "worker": "common", "common": ""}
    (bench.root / "Cargo.toml").write_text('[workspace]\nmembers = ["api", "worker", "common"]\n')
    for name, need in crates.items():
        (bench.root / name / "src").mkdir(parents=True)
        more = f'[dependencies]\n{need} = {{ path = "../{need}" }}\n' if need else ""
        (bench.root / name / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "0.1.0"\n{more}')
        (bench.root / name / "src" / ("main.rs" if need else "lib.rs")).write_text("// source\n")
    (bench.root / ".dockerignore").write_text("*.md\n")
    git(bench.root, "init", "-q", "-b", "main")
    git(bench.root, "add", "-A")
    git(bench.root, "commit", "-qm", "one")
    return bench


def test_the_services_of_a_change(shop: Bench) -> None:
    (shop.root / "api" / "src" / "main.rs").write_text("// edited\n")
    done = shop.invoke("ci.changed")
    assert (done.code, done.out) == (0, "api\n"), done.all
    assert "api: api/src/main.rs (crate api)" in done.err
    (shop.root / "README.md").write_text("ignored")
    git(shop.root, "add", "-A")
    git(shop.root, "commit", "-qm", "two")
    assert shop.invoke("ci.changed").out == ""  # main, compared with itself
    assert shop.invoke("ci.changed", "--base", "HEAD^").out == "api\n"
    (shop.root / "common" / "new.rs").write_text("// new\n")
    done = shop.invoke("ci.changed", "--json")
    found = json.loads(done.out)["changed"]
    assert (found["services"], found["all"]) == (["api", "worker"], True)
    assert found["reasons"]["api"] == ["common/new.rs (crate common)"]
    assert all(c["argv"][0] in ("compose", "info", "context") for c in shop.calls), shop.calls


def test_a_pull_request_is_compared_with_its_branch(shop: Bench) -> None:
    git(shop.root, "switch", "-qc", "topic")
    (shop.root / "worker" / "src" / "main.rs").write_text("// edited\n")
    git(shop.root, "commit", "-qam", "two")
    shop.env |= {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_BASE_REF": "main"}
    assert shop.invoke("ci.changed").out == "worker\n"


@pytest.mark.parametrize("base", ["nowhere", "--output=x"])
def test_a_base_that_is_not_there(shop: Bench, base: str) -> None:
    done = shop.invoke("ci.changed", f"--base={base}")
    assert done.code in (33, 81), done.all
    assert not (shop.root / "x").exists()


def test_outside_of_git(bench: Bench) -> None:
    done = bench.invoke("ci.changed")
    assert done.code == 81, done.all
    assert "error[base-missing]" in done.err


def test_the_context(bench: Bench) -> None:
    assert "provider           none" in bench.invoke("ci.context").out
    bench.env |= {"JENKINS_URL": "https://ci/", "BRANCH_NAME": "main", "CI": "true"}
    found = json.loads(bench.invoke("ci.context", "--json").out)["context"]
    assert (found["provider"], found["may_push"]) == ("jenkins", True)
    bench.env |= {"CHANGE_ID": "7", "CHANGE_FORK": "stranger"}
    found = json.loads(bench.invoke("ci.context", "--json").out)["context"]
    assert (found["pull_request"], found["from_fork"], found["may_push"]) == ("7", True, False)


def test_who_may_push_a_pack(bench: Bench) -> None:
    bench.env |= {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "issue_comment"}
    bench.env |= {"GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main"}
    done = bench.invoke("cache.push", "--ref", "127.0.0.1:1/x")
    assert done.code == 44, done.all
    assert "a run for the event issue_comment never pushes" in done.err
