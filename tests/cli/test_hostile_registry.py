"""`invoke build` with a malicious registry: it continues in time, with limited memory, and prints one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.cli.conftest import Bench
from tests.support import hostile_registry, process
from tests.support.hostile_registry import BEHAVIORS, PACKS, Behavior, Pack

#: Seconds that the build may wait for the registry, and for everything else on a very busy machine. A registry that
#: keeps a client waiting does so for much longer.
WAIT, REST = 2, 25
MEGABYTES = 200

FACTS = """\
toolchain=0123456789abcdef
rustc=rustc 1.95.0
host=x86_64-unknown-linux-gnu
profile=release
rustflags=
lock=aa
manifests=bb
form=gz
units=0
crates=3
"""
DOCKERFILE = """\
FROM rust:1-bookworm AS compile
ARG CACHE_SCOPE
RUN --mount=type=cache,id=${CACHE_SCOPE}-target,target=/target /compile build
FROM debian:bookworm-slim
COPY --from=compile /out/x /usr/local/bin/service
"""


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """A machine that has never built, as reported by docker."""
    (bench.root / "docker" / "Dockerfile").write_text(DOCKERFILE)
    bench.reply("buildx bake", leaves={"facts": FACTS, "packages": ""})
    bench.env |= {"BUILDKIT_TASKS_PACKS_WAIT": str(WAIT)}
    return bench


def build(shop: Bench, server: hostile_registry.Hostile, *args: str) -> process.Done:
    """Build, and check that it ends like a build without a shared cache; return its result."""
    env = {**shop.environment(), "BUILDKIT_TASKS_PACKS_REPOSITORY": f"{server.host}/team/cache"}
    done, seconds, size = process.measured([process.BIN / "invoke", "build", *args], shop.root, env)
    assert done.code == 0, done.all
    assert seconds < WAIT + REST, done.all
    assert size < MEGABYTES
    assert "Traceback" not in done.all
    return done


def definitions(shop: Bench) -> list[str]:
    return [call["stdin"] for call in shop.calls if "bake" in call["argv"]]


def warning(done: process.Done) -> str:
    """Return the one line about the shared cache, which must be printable."""
    lines = [
        line for line in done.err.splitlines() if line.startswith("warning: continuing without the shared cache: ")
    ]
    assert len(lines) == 1, done.err
    assert all(char.isprintable() for char in lines[0])
    return lines[0]


@pytest.mark.parametrize(("behavior", "words"), BEHAVIORS.values(), ids=BEHAVIORS)
def test_a_build_survives_any_response(shop: Bench, behavior: Behavior, words: str) -> None:
    with hostile_registry.running(behavior) as server:
        done = build(shop, server)
        assert server.asked
    # a machine that is too busy for the whole exchange stops at its deadline
    said = warning(done)
    assert words in said or "no time left" in said
    assert len(definitions(shop)) == 2  # reading the mounts, and the build


@pytest.mark.parametrize(("spoil", "words"), PACKS.values(), ids=PACKS)
def test_a_build_never_fetches_an_invalid_pack(shop: Bench, spoil: Callable[[Pack], None], words: str) -> None:
    with hostile_registry.running(hostile_registry.sound_otherwise, spoil) as server:
        done = build(shop, server)
    assert words in done.err
    assert all(char.isprintable() for char in done.err.replace("\n", ""))
    assert len(definitions(shop)) == 2


def test_a_digest_header_never_reaches_a_dockerfile(shop: Bench) -> None:
    header = "DIGEST,target=/x --mount=type=secret,id=ca,target=/stolen id; cat /stolen; #"
    with hostile_registry.running(hostile_registry.injects(header)) as server:
        build(shop, server)
        assert server.pack is not None
        digest = hostile_registry.sha256(server.pack.manifest_bytes())
    _, unpack, _ = definitions(shop)
    target = json.loads(unpack)["target"]["caches"]
    assert target["contexts"]["buildkit-tasks-pack"] == f"docker-image://{server.host}/team/cache@{digest}"
    assert "stolen" not in unpack
    assert server.host not in target["dockerfile-inline"]


def test_a_redirect_does_not_forward_the_password(shop: Bench) -> None:
    login = asked_for = 0
    with hostile_registry.running(hostile_registry.sound_otherwise) as other:

        def behave(request: hostile_registry.Request) -> bool:
            if "authorization" not in request.headers:
                return hostile_registry.asks_for_login('Basic realm="here"')(request)
            return hostile_registry.moves(f"http://{other.host}{request.path}")(request)

        with hostile_registry.running(behave) as server:
            config = shop.place / "home/.docker/config.json"
            config.parent.mkdir()
            config.write_text(json.dumps({"auths": {server.host: {"auth": "bWU6aXQgaXMgYSBzZWNyZXQ="}}}))
            build(shop, server)
            login = sum("authorization" in request.headers for request in server.asked)
        asked_for = len(other.asked)
        assert not any("authorization" in request.headers for request in other.asked)
    assert login
    assert asked_for


def test_json_output_contains_the_reason(shop: Bench) -> None:
    with hostile_registry.running(BEHAVIORS["html"][0]) as server:
        done = build(shop, server, "--json")
    answer = json.loads(done.out)["pull"]
    assert answer["unpacked"] is False
    assert "sent an invalid response" in answer["why_not"][0]


def test_an_internal_error_does_not_stop_a_build(shop: Bench) -> None:
    """Facts in a form that no script writes: whatever exception they cause, the build continues."""
    shop.reply("buildx bake", leaves={"facts": "part=x\n", "packages": ""})
    with hostile_registry.running(hostile_registry.sound_otherwise) as server:
        done = build(shop, server)
    assert "Error" in warning(done)


@pytest.mark.parametrize("task", ["cache.pull", "cache.list", "cache.expire", "images.pull"])
def test_tasks_end_with_one_error(shop: Bench, task: str) -> None:
    code = 52
    with hostile_registry.running(BEHAVIORS["html"][0]) as server:
        done = shop.invoke(task, "--ref", f"{server.host}/team/cache")
    if task == "images.pull" and done.code != code:  # every image exists, so no registry is asked
        assert re.search(r"error\[image-unavailable\]", done.err), done.err
        return
    assert done.code == code, done.err
    assert "error[registry-malformed]" in done.err


def test_a_pull_into_filled_mounts_is_skipped_with_a_message(shop: Bench) -> None:
    shop.reply("buildx bake", leaves={"facts": FACTS.replace("units=0", "units=3"), "packages": ""})
    with hostile_registry.running(hostile_registry.sound_otherwise) as server:
        done = shop.invoke("cache.pull", "--ref", f"{server.host}/team/cache")
        assert server.asked == []
    assert done.code == 0, done.err
    assert "the mounts are already filled (use --replace" in done.err


def test_a_build_without_a_shared_cache_does_not_import_the_client(shop: Bench) -> None:
    env = {**shop.environment(), "PYTHONPROFILEIMPORTTIME": "1"}
    done = process.run([process.BIN / "invoke", "build"], shop.root, env)
    assert done.code == 0, done.err
    assert "buildkit_tasks.builds.building" in done.err
    # invoke imports ssl through unittest.mock and asyncio
    assert not re.search(r"\|\s+(urllib3|http\.client|buildkit_tasks\.registry\.http)$", done.err, re.MULTILINE)
