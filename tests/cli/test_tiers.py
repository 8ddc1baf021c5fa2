"""Builds below the full tier from the user's perspective, with a recording docker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Bench
from tests.support import process
from tests.support.situations import INFO

PLAIN = """\
#1 [compile 2/2] RUN /compile build
#1 0.412    Compiling api v0.1.0 (/src/api)
#1 DONE 2.4s
"""


def lacking(bench: Bench, *, engine: str = "28.5.2", client: str = "28.2.2", buildx: str = "") -> None:
    """Set the versions of the engine and the docker command; without buildx if it is empty."""
    plugins: list[dict[str, Any]] = [{"Name": "compose", "Version": "2.26.1"}]
    plugins += [{"Name": "buildx", "Version": buildx}] if buildx else []
    info = {**INFO, "ServerVersion": engine, "ClientInfo": {"Context": "default", "Plugins": plugins}}
    bench.reply("info", stdout=json.dumps(info))
    bench.reply("{{.Client.Version}}", stdout=client + "\n")
    bench.reply("{{json .Server.Components}}", stdout='[{"Name": "Engine"}]')
    bench.reply("--file -", stderr=PLAIN)


@pytest.fixture
def crates(bench: Bench) -> Bench:
    """The project with a cargo workspace at its root."""
    for name in ("api", "worker"):
        (bench.root / name / "src").mkdir(parents=True)
        (bench.root / name / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "0.1.0"\n')
        (bench.root / name / "src" / "main.rs").write_text("fn main() { real() }\n")
    (bench.root / "Cargo.toml").write_text('[workspace]\nmembers = ["api", "worker"]\n')
    (bench.root / "Cargo.lock").write_text("version = 4\n")
    bench.env["XDG_STATE_HOME"] = str(bench.place / "state")
    return bench


def builds(bench: Bench) -> list[dict[str, Any]]:
    return [c for c in bench.calls if c["argv"][0] == "build"]


def test_an_old_engine_is_built_for_service_by_service_with_buildkit(bench: Bench) -> None:
    lacking(bench, engine="20.10.24+dfsg1", client="20.10.24+dfsg1")
    done = bench.invoke("build")
    assert done.code == 0, done.err
    first, second = builds(bench)
    assert first["env"]["DOCKER_BUILDKIT"] == "1"
    assert first["argv"][:5] == ["build", "--progress", "plain", "--file", "-"]
    assert first["argv"][first["argv"].index("--tag") :][:2] == ["--tag", "shop/api:dev"]
    assert second["argv"][second["argv"].index("--tag") + 1] == "shop/worker:dev"
    assert "id=shop-target-amd64" in first["stdin"]
    assert not [c for c in bench.calls if "bake" in c["argv"]]
    lines = [x for x in done.err.splitlines() if x.startswith("building service by service")]
    assert len(lines) == 1
    assert "no buildx plugin is installed. For faster builds, run `invoke engine.install`" in lines[0]
    assert "1 crate compiled (api)" in done.err


def test_a_client_without_its_plugin_builds_the_legacy_way(crates: Bench) -> None:
    lacking(crates)
    done = crates.invoke("build", "--service", "worker")
    assert done.code == 0, done.err
    prepared, build = builds(crates)
    assert prepared["env"]["DOCKER_BUILDKIT"] == build["env"]["DOCKER_BUILDKIT"] == "0"
    assert prepared["argv"][prepared["argv"].index("--tag") + 1] == "localhost/buildkit-tasks/legacy:shop"
    assert "--mount" not in build["stdin"]
    assert "--secret" not in build["argv"]
    assert not [a for a in build["argv"] if a.startswith("BINS=")]
    assert "the docker command 28.2.2 needs the buildx plugin to use BuildKit" in done.err
    folder = next((crates.place / "state").rglob("legacy/manifests"))
    assert (folder / "api/Cargo.toml").read_text() == (crates.root / "api/Cargo.toml").read_text()
    assert "real" not in (folder / "api/src/main.rs").read_text()


def test_buildkit_switched_off_in_the_environment_is_overridden_and_said(bench: Bench) -> None:
    bench.env["DOCKER_BUILDKIT"] = "0"
    done = bench.invoke("build")
    assert done.code == 0
    assert bench.call("bake")["env"]["DOCKER_BUILDKIT"] == "1"
    assert "ignoring DOCKER_BUILDKIT=0" in done.err


def test_only_the_setting_switches_buildkit_off(crates: Bench) -> None:
    crates.reply("{{.Client.Version}}", stdout="28.2.2\n")
    crates.reply("--file -", stderr=PLAIN)
    crates.env["BUILDKIT_TASKS_BUILDERS_NAME"] = "legacy"
    done = crates.invoke("build", "--service", "api")
    assert done.code == 0, done.err
    assert {c["env"]["DOCKER_BUILDKIT"] for c in builds(crates)} == {"0"}
    assert "builders.name is set to legacy" in done.err


def test_a_ca_that_was_set_is_refused_without_consent_and_a_layer_with_it(crates: Bench) -> None:
    lacking(crates)
    ca = crates.root / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    crates.env["BUILDKIT_TASKS_BUILD_CA_BUNDLE"] = str(ca)
    refused = crates.invoke("build", "--service", "api")
    assert refused.code == 18
    assert "Without BuildKit, a CA bundle cannot be passed as a secret." in refused.err
    assert not builds(crates)
    crates.env["BUILDKIT_TASKS_BUILDERS_LEGACY_CA"] = "layer"
    done = crates.invoke("build", "--service", "api")
    assert done.code == 0, done.err
    prepared, build = builds(crates)
    assert "COPY ca.pem /ca.pem" in prepared["stdin"]
    assert "/ca.pem /etc/ssl/certs/ca-certificates.crt" in build["stdin"]


def test_a_compile_error_is_shown_verbatim_in_every_tier(crates: Bench) -> None:
    lacking(crates, client="20.10.24")
    words = "#1 1.0 error[E0425]: cannot find value `x` in this scope\n#1 1.0  --> src/main.rs:3:5\n"
    said = PLAIN.replace("#1 DONE 2.4s\n", words + "#1 ERROR: exit code: 101\n")
    crates.reply("--file -", stderr=said, code=1)
    done = crates.invoke("build", "--service", "api")
    assert done.code == 20
    assert "error[E0425]: cannot find value `x` in this scope\n --> src/main.rs:3:5\n" in done.err


def test_the_plan_names_the_tier_and_why(bench: Bench) -> None:
    lacking(bench, engine="20.10.24", client="20.10.24")
    assert json.loads(bench.invoke("build", "--plan", "--json").out)["plan"]["tier"] == "each"
    assert "why tier" in bench.invoke("build", "--plan").out


def test_compose_of_the_first_generation_is_refused_with_its_remedy(bench: Bench) -> None:
    client = {"Context": "default", "Plugins": [{"Name": "buildx", "Version": "0.13.1"}]}
    bench.reply("info", stdout=json.dumps({**INFO, "ClientInfo": client}))
    bench.reply("config --format json", code=1, stderr="docker: 'compose' is not a docker command.")
    done = bench.invoke("build")
    assert done.code == 17
    assert "hint: invoke engine.install" in done.err


def test_podman_s_engine_is_built_for_without_buildkit(crates: Bench) -> None:
    lacking(crates, engine="4.3.1", client="28.2.2", buildx="0.13.1")
    crates.reply("{{json .Server.Components}}", stdout='[{"Name": "Podman Engine"}]')
    done = crates.invoke("build", "--service", "api")
    assert done.code == 0, done.err
    assert "the engine is podman 4.3.1" in done.err


@pytest.mark.parametrize(("program", "words"), [("podman", "actually podman")])
def test_podman_in_docker_s_place_gets_clear_words(bench: Bench, program: str, words: str) -> None:
    bench.reply("info", stdout=json.dumps({"host": {}, "store": {}}))
    done: process.Done = bench.invoke("build")
    assert done.code == 10
    assert words in done.err
