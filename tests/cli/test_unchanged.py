"""`invoke build` if nothing changed: one line, no docker commands, and every way to build anyway."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import DOCKERFILE, Bench, service
from tests.support.engine_socket import EngineSocket, listening

OWN = "localhost/buildkit-tasks"
BASES = {f"{OWN}/rust:1-bookworm": "sha256:" + "1" * 64, f"{OWN}/debian:bookworm-slim": "sha256:" + "2" * 64}


@pytest.fixture
def engine(bench: Bench, tmp_path: Path) -> Iterator[EngineSocket]:
    """The engine behind the recording docker, with base images that were built from packages."""
    text = DOCKERFILE.replace("rust:1", f"{OWN}/rust:1").replace("FROM debian", f"FROM {OWN}/debian")
    (bench.root / "docker/Dockerfile").write_text(text)
    (bench.root / "compose.yaml").write_text("name: shop\nservices: {}\n")
    bench.reply("image inspect", stdout="".join(f'["{name}"] {id_} linux/amd64\n' for name, id_ in BASES.items()))
    with listening(tmp_path / "s") as found:
        bench.env["DOCKER_HOST"] = f"unix://{found.path}"
        found.images = {**BASES, "shop/api:dev": "sha256:api", "shop/worker:dev": "sha256:worker"}
        yield found


def _built(bench: Bench) -> None:
    """Run a build that is recorded: the first one only chooses base images and creates directories."""
    for _ in range(2):
        time.sleep(0.1)
        done = bench.invoke("build", "--progress", "verbose")
        assert done.code == 0, done.all
    assert "cannot skip BuildKit" not in done.err
    (bench.place / "calls.jsonl").unlink()


def test_nothing_changed_is_one_line_and_no_docker_command(bench: Bench, engine: EngineSocket) -> None:
    _built(bench)
    done = bench.invoke("build")
    assert (done.code, done.out) == (0, "")
    assert (
        done.err
        == "up to date: nothing changed since the last build of api, worker    (use --no-cache to build anyway)\n"
    )
    assert not bench.calls


def test_the_document_of_a_build_with_nothing_to_do_has_the_same_shape(bench: Bench, engine: EngineSocket) -> None:
    _built(bench)
    content = json.loads(bench.invoke("build", "--json").out)
    assert content["up_to_date"] is True
    assert content["cargo"] == {"compiled": [], "fresh": None, "marked": []}
    assert [(t["service"], t["digest"], t["changed"]) for t in content["targets"]] == [
        ("api", "sha256:api", False),
        ("worker", "sha256:worker", False),
    ]


@pytest.mark.parametrize(
    "words",
    [
        *(("--no-cache",), ("--profile", "dev"), ("--no-incremental",), ("--plan",)),
        ("--service", "*"),
        ("--service", "api", "--no-incremental"),
    ],
)
def test_another_request_asks_docker(bench: Bench, engine: EngineSocket, words: tuple[str, ...]) -> None:
    _built(bench)
    done = bench.invoke("build", *words)
    assert done.code == 0, done.all
    assert "up to date" not in done.all
    assert bench.calls


@pytest.mark.parametrize(
    ("words", "names"), [(("api",), "api"), (("worker,api",), "api, worker"), (("api", "worker"), "api, worker")]
)
def test_a_build_of_all_services_proves_it_for_some(
    bench: Bench, engine: EngineSocket, words: tuple[str, ...], names: str
) -> None:
    _built(bench)
    done = bench.invoke("build", *(part for word in words for part in ("--service", word)))
    assert done.err.startswith(f"up to date: nothing changed since the last build of {names}    "), done.all
    assert not bench.calls
    (bench.root / "new").write_text("x")
    assert "up to date" not in bench.invoke("build", "--service", words[0]).err


def test_a_build_of_some_services_proves_nothing_for_the_others(bench: Bench, engine: EngineSocket) -> None:
    for _ in range(2):
        time.sleep(0.1)
        assert bench.invoke("build", "--service", "api").code == 0
    assert "up to date" in bench.invoke("build", "--service", "api").err
    assert "up to date" not in bench.invoke("build", "--service", "worker").err
    assert "up to date" not in bench.invoke("build").err


def test_a_change_asks_docker_and_its_build_is_recorded_in_turn(bench: Bench, engine: EngineSocket) -> None:
    _built(bench)
    (bench.root / "new").write_text("x")
    time.sleep(0.1)
    assert "up to date" not in bench.invoke("build").err
    assert "up to date" in bench.invoke("build").err


def test_a_lost_state_or_engine_asks_docker(bench: Bench, engine: EngineSocket) -> None:
    _built(bench)
    engine.images.pop("shop/api:dev")
    assert "up to date" not in bench.invoke("build").err
    engine.images["shop/api:dev"] = "sha256:api"
    assert "up to date" in bench.invoke("build").err
    shutil.rmtree(bench.place / "home/.local/state/buildkit-tasks")
    assert "up to date" not in bench.invoke("build").err


def test_a_failed_build_proves_nothing(bench: Bench, engine: EngineSocket) -> None:
    (bench.root / "new").write_text("x")
    bench.reply("buildx bake", code=1, stderr="ERROR: no\n")
    for _ in range(3):
        time.sleep(0.1)
        assert bench.invoke("build").code != 0


def test_a_base_image_of_a_registry_is_asked_for_every_time_and_the_build_says_why(
    bench: Bench, engine: EngineSocket
) -> None:
    (bench.root / "docker/Dockerfile").write_text(DOCKERFILE)
    held = "".join(f'["{name}"] sha256:1 linux/amd64\n' for name in ("rust:1-bookworm", "debian:bookworm-slim"))
    bench.reply("image inspect", stdout=held)
    for _ in range(3):
        time.sleep(0.1)
        done = bench.invoke("build", "--progress", "verbose")
    assert "the next build cannot skip BuildKit: the registry may have a newer version of" in done.err


def test_an_image_without_a_tag_that_stayed_the_same_is_called_unchanged(bench: Bench) -> None:
    config = {"name": "shop", "services": {"api": service(bench.root, "api", image="shop-api")}}
    bench.reply("config --format json", stdout=json.dumps(config))
    bench.reply(
        "image inspect",
        stdout='["shop-api:latest"] sha256:api linux/amd64\n["rust:1-bookworm"] sha256:1\n'
        '["debian:bookworm-slim"] sha256:2\n',
    )
    assert "shop-api  unchanged  sha256:api" in bench.invoke("build").err
