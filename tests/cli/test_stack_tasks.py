"""run, extract, clean, services.stop, overlays and patterns, with a recording docker."""

from __future__ import annotations

import json
import os
import re
import socket
from typing import Any

import pytest

from tests.cli.conftest import Bench, service
from tests.support import process
from tests.support.situations import INFO


def services(bench: Bench, **found: dict[str, Any]) -> None:
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": found}))


def baked(bench: Bench) -> list[str]:
    """Return the targets of the last build."""
    call = [c for c in bench.calls if "bake" in c["argv"]][-1]
    targets: list[str] = json.loads(call["stdin"])["group"]["default"]["targets"]
    return targets


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        (("--service", "worker-*"), ["worker-a", "worker-b"]),
        (("worker-?", "api"), ["api", "worker-a", "worker-b"]),
        (("api,worker-[b]",), ["api", "worker-b"]),
        (("*",), ["api", "worker-a", "worker-b"]),
    ],
)
def test_a_pattern_means_the_services_that_match(bench: Bench, words: tuple[str, ...], targets: list[str]) -> None:
    services(bench, **{n: service(bench.root, n) for n in ("api", "worker-a", "worker-b")}, db={"image": "postgres:15"})
    done = bench.invoke("build", *words)
    assert done.code == 0, done.all
    assert sorted(baked(bench)) == targets


def test_a_pattern_that_matches_nothing_is_an_error_with_near_matches(bench: Bench) -> None:
    services(bench, **{n: service(bench.root, n) for n in ("api", "worker")})
    done = bench.invoke("build", "--service", "workr*")
    assert done.code == 7
    assert "No service matches 'workr*'. Did you mean worker?" in done.err


def test_a_one_off_command_gets_its_words_as_they_were_typed(bench: Bench) -> None:
    bench.reply("compose run", code=3)
    bench.reply("compose.offline.yaml run", code=3)
    bench.reply("run --rm", code=3)
    done = bench.invoke("run", "--service", "api", "--no-build", "--", "migrate", "--to", "two  words", "--help")
    assert done.code == 3, done.all
    argv = bench.call("run")["argv"]
    assert argv[argv.index("run") :] == [
        *("run", "--rm", "--quiet-pull", "--no-TTY", "api"),
        *("migrate", "--to", "two  words", "--help"),
    ]


def test_an_overlay_is_read_after_the_files_that_compose_finds(bench: Bench) -> None:
    (bench.root / "agent.yaml").write_text("services: {}\n")
    bench.invoke("down", "--overlay", "agent.yaml")
    asked = next(c["argv"] for c in bench.calls if "config" in c["argv"])
    assert asked[1:5] == ["-f", str(bench.root / "compose.yaml"), "-f", str(bench.root / "agent.yaml")]
    wrong = bench.invoke("up", "--overlay", "nothing.yaml")
    assert wrong.code == 6
    assert f"The compose file {bench.root}/nothing.yaml does not exist." in wrong.err


def left(bench: Bench, place: str = "") -> None:
    """Create objects in the engine: this project's, and an image that someone else built from one of ours."""
    config = {
        "name": "shop",
        "services": {name: service(bench.root, name) for name in ("api", "worker")},
        "volumes": {"data": {"name": "shop_data"}, "shared": {"name": "shop_shared", "external": True}},
    }
    bench.reply("config --format json", stdout=json.dumps(config))
    bench.reply("ps --all --filter", stdout='["shop-api-1","api"]\n')
    bench.reply(
        "container inspect", stdout=json.dumps(["/shop-api-1", "shop/api:dev", "shop", place or str(bench.root)])
    )
    bench.reply("network ls", stdout='["shop_default"]\n')
    bench.reply("volume ls", stdout="shop_data\nshop_shared\nshop_elsewhere\n")
    listed = ("sha256:1 shop/api:dev 9MB", "sha256:2 <none>:<none> 1MB", "sha256:3 others/tool:1 5MB")
    bench.reply("image ls --no-trunc --filter label", stdout="\n".join(listed) + "\n")
    for match in ("down", "volume rm", "image rm"):
        bench.reply(match, stdout="")


def removed(bench: Bench) -> list[list[str]]:
    return [c["argv"] for c in bench.calls if {"rm", "down"} & set(c["argv"])]


def test_clean_shows_what_is_this_projects_and_asks(bench: Bench) -> None:
    left(bench)
    for args, code in (
        (("--dry-run",), 0),
        ((), 18),
        (("--volumes", "--yes"), 18),
        (("--volumes", "--confirm", "x"), 18),
    ):
        done = bench.invoke("clean", *args)
        assert done.code == code, done.all
        assert "shop/api:dev" in done.out
        assert "others/tool" not in done.out
        assert ("shop_data" in done.out) == ("--volumes" in args)
    assert removed(bench) == []


def test_clean_keeps_volumes_unless_they_are_named(bench: Bench) -> None:
    left(bench)
    assert bench.invoke("clean", "--yes").code == 0
    assert ["image", "rm", "shop/api:dev"] in removed(bench)
    assert ["image", "rm", "sha256:2"] in removed(bench)
    assert not [a for a in removed(bench) if "volume" in a or ("--volumes" in a and "down" in a)]
    assert bench.invoke("clean", "--volumes", "--confirm", "shop").code == 0
    assert ["volume", "rm", "shop_data"] in removed(bench)


def test_clean_takes_what_cargo_tasks_keep_with_the_caches(bench: Bench) -> None:
    left(bench)
    bench.reply("buildx du", stdout="")
    bench.reply("volume ls --quiet --filter label=buildkit-tasks.cargo=shop", stdout="shop-cargo-target\n")
    bench.reply("system df --verbose", stdout='[{"Name":"shop-cargo-target","Size":"3GB","Links":"0"}]')
    toolchain = "localhost/buildkit-tasks-cargo/shop:0123"
    bench.reply("image ls --filter reference=localhost/buildkit-tasks-cargo/shop", stdout=f"{toolchain}\n")
    assert bench.invoke("clean", "--yes").code == 0
    assert ["volume", "rm", "shop-cargo-target"] not in removed(bench)
    shown = bench.invoke("clean", "--caches", "--dry-run")
    assert "shop-cargo-target" in shown.out
    assert toolchain in shown.out
    assert bench.invoke("clean", "--caches", "--yes").code == 0
    assert ["volume", "rm", "shop-cargo-target"] in removed(bench)
    assert ["image", "rm", toolchain] in removed(bench)


def test_clean_removes_no_volume_that_the_compose_file_does_not_declare(bench: Bench) -> None:
    left(bench)
    assert bench.invoke("clean", "--volumes", "--confirm", "shop").code == 0
    assert [a for a in removed(bench) if "volume" in a] == [["volume", "rm", "shop_data"]]
    assert ["network", "rm", "shop_default"] in removed(bench)


def test_clean_refuses_a_name_that_another_directory_uses_as_well(bench: Bench) -> None:
    left(bench, "/elsewhere/shop")
    done = bench.invoke("clean", "--volumes", "--confirm", "shop")
    assert done.code == 33, done.all
    assert "Another project is also named shop: /elsewhere/shop." in done.err
    assert removed(bench) == []


def test_extract_names_an_image_that_is_not_there(bench: Bench) -> None:
    bench.reply("container create", code=1, stderr="Error: No such image: shop/api:dev\n")
    done = bench.invoke("extract", "api", "--to", "out")
    assert done.code == 19, done.all
    assert "invoke build --service api" in done.err
    assert bench.invoke("extract", "api").code == 33
    assert bench.invoke("extract", "api", "--to", "out", "--path", "/a/../b").code == 33


@pytest.fixture
def taken(bench: Bench) -> Any:
    """Listen on a port of the stack; the engine is on this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        number = listener.getsockname()[1]
        bench.reply("info", stdout=json.dumps({**INFO, "Name": socket.gethostname()}))
        port = {"host_ip": "127.0.0.1", "published": str(number), "target": 80, "protocol": "tcp"}
        services(bench, web={"image": "nginx", "ports": [port]})
        yield number


def test_a_process_on_a_port_is_shown_and_left_alone(bench: Bench, taken: int) -> None:
    bench.reply("--filter publish", stdout="")
    done = bench.invoke("services.stop", "--yes")
    assert done.code == 24, done.all
    assert re.search(rf"{taken}/tcp +web +(process|service) .*pid {os.getpid()}", done.out), done.all


def test_a_container_on_a_port_is_stopped_with_consent_only(bench: Bench, taken: int) -> None:
    bench.reply("--filter publish", stdout="other-db-1\n")
    bench.reply("container inspect", stdout='["/other-db-1","postgres:15","other","/home/me/other"]\n')
    bench.reply("container stop", stdout="")
    asked = bench.invoke("services.stop")
    assert asked.code == 18
    assert "other in /home/me/other, image postgres:15" in asked.out
    assert not [c for c in bench.calls if "stop" in c["argv"]]
    assert bench.invoke("services.stop", "--yes").code == 0
    assert bench.call("stop")["argv"] == ["container", "stop", "other-db-1"]


def test_a_container_of_this_project_is_not_in_the_way(bench: Bench, taken: int) -> None:
    bench.reply("--filter publish", stdout="shop-web-1\n")
    bench.reply("container inspect", stdout='["/shop-web-1","nginx","shop","/here"]\n')
    done = bench.invoke("services.stop", "--yes")
    assert done.code == 0
    assert "is free or already used by the stack" in done.err


def commit(bench: Bench) -> process.Done:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    env = {**bench.environment(), "GIT_CONFIG_GLOBAL": "/dev/null"}
    return process.run(["git", *identity, "commit", "--allow-empty", "-m", "x"], bench.root, env)


def test_a_hook_runs_lint_keeps_the_one_that_was_there_and_can_be_taken_out(bench: Bench) -> None:
    process.ok(["git", "init", "-q"], bench.root)
    hook = bench.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    mine = "#!/bin/sh\necho mine; test ! -e refuse\n"
    hook.write_text(mine)
    hook.chmod(0o755)
    for _ in range(2):
        done = bench.invoke("hooks.install")
        assert done.code == 0, done.all
    committed = commit(bench)
    assert committed.code != 0, committed.all  # lint has findings in this project's Dockerfile
    assert "mine" in committed.all
    assert "lint-failed" in committed.all
    (bench.root / "refuse").touch()
    refused = commit(bench)
    assert refused.code != 0
    assert "lint-failed" not in refused.all
    assert bench.invoke("hooks.install", "--undo").code == 0
    assert hook.read_text() == mine
    assert [p.name for p in hook.parent.iterdir() if not p.name.endswith(".sample")] == ["pre-commit"]
    assert "nothing was changed" in bench.invoke("hooks.install", "--undo").err


def test_hooks_of_another_tool_and_no_repository_are_refused(bench: Bench) -> None:
    assert bench.invoke("hooks.install").code == 88
    process.ok(["git", "init", "-q"], bench.root)
    process.ok(["git", "config", "core.hooksPath", ".husky"], bench.root)
    done = bench.invoke("hooks.install")
    assert done.code == 88
    assert "core.hooksPath is .husky" in done.err


def test_verify_copies_the_manifest_out_of_an_image_without_cat(bench: Bench) -> None:
    bench.reply("--entrypoint cat", code=127, stderr='exec: "cat": executable file not found in $PATH\n')
    bench.reply("image inspect", stdout='["shop/api:dev"] sha256:1 linux/amd64\n')
    bench.reply("ps --all --no-trunc", stdout="")
    done = bench.invoke("verify", "api")
    assert "Not built by this Dockerfile: api." in done.err  # this docker copies nothing
    calls = [call["argv"][:2] for call in bench.calls]
    assert calls[-3:] == [["container", "create"], ["container", "cp"], ["container", "rm"]]
