"""images through the real command line: the source of each base image is queried once and set as a context."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Bench
from tests.support import process

NOWHERE = "localhost:1"  # a mirror that refuses connections, as in a company network without one
OWN = "localhost/buildkit-tasks"


@pytest.fixture
def mirror() -> Iterator[tuple[str, list[str]]]:
    """Run a registry that requires a login, which counts as an answer; yield its address and the requested paths."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(401)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"localhost:{server.server_port}", asked
        server.shutdown()
        thread.join()


def absent(bench: Bench) -> None:
    """The engine has no images."""
    bench.reply("image inspect", code=1, stderr="Error: No such image\n")


def rows(bench: Bench) -> dict[str, dict[str, object]]:
    done = bench.invoke("images", "--json")
    assert done.code == 0, done.err
    return {r["reference"]: r for r in json.loads(done.out)["images"]}


def test_what_is_in_the_engine_is_used_and_nobody_is_asked(bench: Bench) -> None:
    bench.reply(
        "image inspect", stdout='["rust:1-bookworm"] a\n["debian:bookworm-slim"] b\n["postgres:15-bookworm"] c\n'
    )
    found = rows(bench)
    assert {r["source"] for r in found.values()} == {"local"}
    assert not [c for c in bench.calls if "{{json .RegistryConfig.Mirrors}}" in c["argv"]]


def test_a_mirror_that_answers_is_used_and_asked_once(bench: Bench, mirror: tuple[str, list[str]]) -> None:
    address, asked = mirror
    absent(bench)
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = f"{address}/hub"
    found = rows(bench)
    assert found["rust:1-bookworm"]["use"] == f"{address}/hub/library/rust:1-bookworm"
    assert found["postgres:15-bookworm"]["source"] == "mirror"
    assert rows(bench) == found
    assert asked == ["/v2/"]


def test_without_any_registry_offline_images_stand_in(bench: Bench) -> None:
    absent(bench)
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    found = rows(bench)
    assert {ref: r["use"] for ref, r in found.items()} == {
        "rust:1-bookworm": f"{OWN}/rust:1-bookworm",
        "debian:bookworm-slim": f"{OWN}/debian:bookworm-slim",
        "postgres:15-bookworm": f"{OWN}/postgres:15-bookworm",
    }


def test_a_plan_does_not_build_images_but_says_what_does(bench: Bench) -> None:
    absent(bench)
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    done = bench.invoke("build", "--plan")
    assert done.code == 0, done.err
    assert "no registry provides debian:bookworm-slim, rust:1-bookworm, so a build will first create them" in done.err
    assert f"{OWN}/rust:1-bookworm" in done.out
    assert not [c for c in bench.calls if "build" in c["argv"]]


def test_offline_images_are_put_in_place_by_named_contexts(bench: Bench) -> None:
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    bench.reply("image inspect", stdout=f'["{OWN}/rust:1-bookworm"] a\n["{OWN}/debian:bookworm-slim"] b\n')
    done = bench.invoke("build")
    assert done.code == 0, done.err
    made = json.loads(bench.call("bake")["stdin"])["target"]
    assert made["api"]["contexts"]["rust:1-bookworm"] == f"docker-image://{OWN}/rust:1-bookworm"
    asked = len(bench.calls)
    assert bench.invoke("build").code == 0
    repeated = [c["argv"] for c in bench.calls[asked:] if f"{OWN}/rust:1-bookworm" in c["argv"]]
    assert repeated == [], "a decided image must not be looked for again"


def test_the_override_serves_plain_compose(bench: Bench) -> None:
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    absent(bench)
    path = Path(bench.invoke("images.override").out.strip())
    services = json.loads(path.read_text().partition("\n")[2])["services"]
    assert services["postgres"] == {"image": f"{OWN}/postgres:15-bookworm"}
    assert services["api"]["build"]["additional_contexts"] == {
        "rust:1-bookworm": f"docker-image://{OWN}/rust:1-bookworm",
        "debian:bookworm-slim": f"docker-image://{OWN}/debian:bookworm-slim",
    }
    assert not path.is_relative_to(bench.root), "generated files stay out of the tree"


def test_no_override_where_none_is_needed(bench: Bench) -> None:
    bench.reply(
        "image inspect", stdout='["rust:1-bookworm"] a\n["debian:bookworm-slim"] b\n["postgres:15-bookworm"] c\n'
    )
    done = bench.invoke("images.override")
    assert (done.code, done.out) == (0, "")
    assert "no override needed" in done.err


def test_an_image_that_can_be_had_from_nowhere_names_the_ways_out(bench: Bench) -> None:
    absent(bench)
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    (bench.root / "docker" / "Dockerfile").write_text("FROM node:20\n")
    done = bench.invoke("build", "--plan")
    assert done.code == 19
    assert "The engine does not have node:20" in done.err
    assert "BUILDKIT_TASKS_IMAGES_REGISTRY" in done.err


def test_another_engine_decides_anew(bench: Bench) -> None:
    absent(bench)
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    assert rows(bench)["rust:1-bookworm"]["source"] == "offline"
    from tests.support.situations import INFO

    bench.reply("info", stdout=json.dumps({**INFO, "ID": "engine-2"}))
    bench.reply("image inspect", stdout='["rust:1-bookworm"] a\n')
    assert rows(bench)["rust:1-bookworm"]["source"] == "local"


def test_an_unknown_recipe_lists_the_known_ones(bench: Bench) -> None:
    done = bench.invoke("images.build", "--only", "rust", "--only", "nginx")
    assert done.code == 33
    assert "There is no recipe for the image 'nginx'." in done.err
    assert "one of these names: debian, rust, postgres, rabbitmq, rabbitmq-management" in done.err


def for_arm(bench: Bench, *present: str) -> process.Done:
    """Return the plan of a local build for arm64, with these images in the engine and no registry."""
    dockerfile = bench.root / "docker/Dockerfile"
    compiling = "FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS compile"
    dockerfile.write_text(dockerfile.read_text().replace("FROM ${RUST_IMAGE} AS compile", compiling))
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    listed = ("rust:1-bookworm linux/amd64", *present)
    rows = (line.split() for line in listed)
    bench.reply("image inspect", stdout="".join(f'["{name}"] sha256:1 {kind}\n' for name, kind in rows))
    bench.reply("buildx inspect", stdout="Name: default\nDriver: docker\n")
    return bench.invoke("build", "--platform", "arm64", "--plan", "--json")


def contexts(done: process.Done) -> dict[str, str]:
    assert done.code == 0, done.all
    return dict(json.loads(done.out)["plan"]["bake"]["target"]["api"].get("contexts", {}))


def test_an_image_is_present_for_the_platforms_it_has(bench: Bench) -> None:
    """An arm64-only image is not used for the engine's platform, and the replacement for that is not used for arm64."""
    found = contexts(for_arm(bench, "debian:bookworm-slim linux/arm64"))
    assert found == {"debian:bookworm-slim::linux/arm64": "docker-image://debian:bookworm-slim"}


def test_an_image_for_several_platforms_is_present_for_each(bench: Bench) -> None:
    """The engine lists its own platform first; it can create a container of the other one."""
    bench.reply("container create", stdout="c0ffee\n")
    assert contexts(for_arm(bench, "debian:bookworm-slim linux/amd64")) == {}
    asked = [c["argv"][1] for c in bench.calls if c["argv"][0] == "container"]
    assert asked == ["create", "rm"]


def test_an_image_of_another_platform_is_not_taken_for_the_one_wanted(bench: Bench) -> None:
    bench.reply("container create", code=1, stderr="Error response from daemon: No such image\n")
    stand_in = f"{OWN}/debian:bookworm-slim-arm64"
    wanted = {"debian:bookworm-slim::linux/arm64": f"docker-image://{stand_in}"}
    assert contexts(for_arm(bench, "debian:bookworm-slim linux/amd64")) == wanted
    makes = "no registry provides debian:bookworm-slim for linux/arm64, so a build will first create it"
    assert makes in bench.invoke("build", "--platform", "arm64", "--plan").err
    assert contexts(for_arm(bench, "debian:bookworm-slim linux/amd64", f"{stand_in} linux/arm64")) == wanted
    assert makes not in bench.invoke("build", "--platform", "arm64", "--plan").err
    for_arm(bench, "debian:bookworm-slim linux/amd64", f"{stand_in} linux/amd64")
    assert makes in bench.invoke("build", "--platform", "arm64", "--plan").err, (
        "one for another platform is none either"
    )


def test_where_a_registry_answers_it_gives_the_other_platform(bench: Bench, mirror: tuple[str, list[str]]) -> None:
    bench.reply("container create", code=1, stderr="Error response from daemon: No such image\n")
    assert contexts(for_arm(bench, "debian:bookworm-slim linux/amd64")) != {}
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = mirror[0]
    done = bench.invoke("build", "--platform", "arm64", "--plan", "--json")
    assert contexts(done) == {}


def test_the_engines_own_builds_do_not_take_another_platforms_image_either(bench: Bench) -> None:
    bench.env["BUILDKIT_TASKS_IMAGES_REGISTRY"] = NOWHERE
    images = ("rust:1-bookworm linux/amd64", "debian:bookworm-slim linux/arm64", "postgres:15-bookworm linux/arm64")
    lines = (f'["{name}"] sha256:1 {kind}\n' for name, kind in map(str.split, images))
    bench.reply("image inspect", stdout="".join(lines))
    assert {ref: r["source"] for ref, r in rows(bench).items()} == {
        "rust:1-bookworm": "local",
        "debian:bookworm-slim": "offline",
        "postgres:15-bookworm": "offline",
    }
