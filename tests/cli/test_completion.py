"""Completion: real shells ask for values, and we answer quickly."""

from __future__ import annotations

import json
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import Bench
from tests.support import process, shells


@pytest.fixture
def ready(bench: Bench) -> Bench:
    bench.env["XDG_STATE_HOME"] = str(bench.place / "state")
    bench.env["XDG_DATA_HOME"] = bench.env["XDG_CONFIG_HOME"] = bench.env["ZDOTDIR"] = None
    bench.env["SHELL"] = "/bin/bash"
    (bench.root / "Cargo.toml").write_text('[workspace]\n[profile.fast]\ninherits = "release"\n')
    return bench


def values(bench: Bench, option: str) -> list[str]:
    done = bench.invoke("completion", "bash", "--values", option)
    assert done.code == 0, done.err
    return done.out.split()


def test_values_of_services_platforms_profiles_and_mounts(ready: Bench) -> None:
    assert values(ready, "--service") == ["api", "postgres", "worker"]
    assert values(ready, "--platform") == ["linux/amd64", "linux/arm64"]
    assert values(ready, "--profile") == ["release", "dev", "fast"]
    assert values(ready, "--mount")[:2] == ["shop-cargo-registry", "shop-cargo-git"]
    assert "shop-target-amd64" in values(ready, "--mount")


def test_services_are_remembered_until_the_compose_file_changes(ready: Bench) -> None:
    values(ready, "--service")
    asked = len([c for c in ready.calls if "config" in c["argv"]])
    assert values(ready, "--service") == ["api", "postgres", "worker"]
    assert len([c for c in ready.calls if "config" in c["argv"]]) == asked
    (ready.root / "compose.yaml").write_text("name: shop\nservices: {web: {}}\n")
    ready.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {"web": {"image": "x"}}}))
    assert values(ready, "--service") == ["web"]


def test_remembered_values_ask_docker_nothing(ready: Bench) -> None:
    """Completion within a third of a second (docs/how-to/enable-buildkit.md) depends on this; no timing is asserted."""
    values(ready, "--service")
    asked = len(ready.calls)
    assert values(ready, "--service") == ["api", "postgres", "worker"]
    assert len(ready.calls) == asked


def test_without_a_project_or_engine_there_are_no_values_and_no_words(ready: Bench) -> None:
    ready.reply("config --format json", code=1, stderr="cannot connect")
    done = ready.invoke("completion", "bash", "--values", "--service")
    assert (done.code, done.out.strip(), done.err) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes_tasks_and_services_in_the_real_shell(ready: Bench, shell: str) -> None:
    start = {
        "bash": (["--norc", "--noprofile", "-i"], "source <(invoke completion bash)"),
        "zsh": (["-f", "-i"], "autoload -Uz compinit && compinit -u -D && source <(invoke completion zsh)"),
        "fish": (["--no-config", "-i"], "invoke completion fish | source"),
    }
    argv, load = start[shell]
    env = {**process.environment(ready.environment()), "TERM": "dumb" if shell == "zsh" else "xterm", "PS1": "> "}
    child = pexpect.spawn(
        shells.program(shell), argv, cwd=str(ready.root), env=env, encoding="utf-8", timeout=8, dimensions=(40, 200)
    )
    child.sendline(f"{load}; echo loa''ded")
    child.expect_exact("loaded")
    child.send("invoke build --service wor\t")
    child.expect("wor.{0,40}ker")
    child.send("\x03")
    child.send("invoke enable-b\t")
    child.expect("enable-b.{0,40}uildkit")
    child.sendcontrol("c")
    child.close(force=True)


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/invoke"),
        ("zsh", ".local/share/zsh/site-functions/_invoke"),
        ("fish", ".config/fish/completions/invoke.fish"),
    ],
)
def test_install_writes_where_the_shell_looks(ready: Bench, shell: str, place: str) -> None:
    done = ready.invoke("completion", shell, "--install")
    assert done.code == 0, done.err
    file = Path(ready.place / "home" / place)
    assert file.read_text() == ready.invoke("completion", shell).out
