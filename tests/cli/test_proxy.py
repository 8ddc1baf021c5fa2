"""The host's proxy, CA and cargo configuration reach builds, and secrets are never printed."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Bench

SECRET = "pw-7Hq2"
PROXY = f"http://ann:{SECRET}@proxy.example:3128"


@pytest.fixture
def behind(bench: Bench) -> Bench:
    bench.env.update(HTTPS_PROXY=PROXY, no_proxy="localhost,127.0.0.1")
    return bench


def test_proxy_variables_are_arguments_of_the_build(behind: Bench) -> None:
    done = behind.invoke("build")
    assert done.code == 0, done.err
    args = json.loads(behind.call("bake")["stdin"])["target"]["api"]["args"]
    assert args["HTTPS_PROXY"] == PROXY
    assert args["no_proxy"] == "localhost,127.0.0.1"
    assert "HTTP_PROXY" not in args


def test_a_password_in_a_proxy_s_address_is_never_shown(behind: Bench) -> None:
    shown = behind.invoke("build", "--plan", "--json")
    assert (
        json.loads(shown.out)["plan"]["bake"]["target"]["api"]["args"]["HTTPS_PROXY"] == "http://***@proxy.example:3128"
    )
    behind.reply("buildx bake", code=1, stderr="ERROR: failed\n")
    for argv in (("build",), ("build", "--plan"), ("doctor",), ("settings",)):
        assert SECRET not in behind.invoke(*argv).all


def test_the_compose_file_s_own_argument_wins(behind: Bench) -> None:
    from tests.cli.conftest import service

    api = service(behind.root, "api")
    api["build"]["args"]["HTTPS_PROXY"] = "http://other:1"
    behind.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {"api": api}}))
    assert behind.invoke("build").code == 0
    assert json.loads(behind.call("bake")["stdin"])["target"]["api"]["args"]["HTTPS_PROXY"] == "http://other:1"


def test_a_cargo_configuration_is_a_secret_where_the_dockerfile_takes_it(bench: Bench) -> None:
    bench.env["BUILDKIT_TASKS_BUILD_CARGO_CONFIG"] = "/etc/cargo-mirror.toml"
    assert bench.invoke("build", "--service", "api").code == 0
    secrets = json.loads(bench.call("bake")["stdin"])["target"]["api"]["secret"]
    assert not [s for s in secrets if "cargo-config" in s]
    file = bench.root / "docker" / "Dockerfile"
    file.write_text(file.read_text().replace("id=ca ", "id=ca --mount=type=secret,id=cargo-config,target=/c.toml "))
    assert bench.invoke("build", "--service", "worker").code == 0
    last = json.loads(bench.calls[-1]["stdin"] or [c for c in bench.calls if "bake" in c["argv"]][-1]["stdin"])
    assert "id=cargo-config,src=/etc/cargo-mirror.toml" in last["target"]["worker"]["secret"]
