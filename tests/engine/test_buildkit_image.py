"""BuildKit's image, built locally, as buildx's builder and as nodes with mTLS. Needs no image registry."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from buildkit_tasks.builders import handshake as builder_handshake
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import Engine
from buildkit_tasks.images import bases as flow
from buildkit_tasks.images import names as image_names
from tests.support import buildkit_nodes, oci_registry, process
from tests.support.buildkit_nodes import Node

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("engine")]  # `nox -s builders`

PUBLIC = "moby/buildkit:buildx-stable-1"
REPOSITORY = Path(__file__).parents[2]

STEP = """FROM base
ARG WORD PAUSE
RUN --mount=type=cache,id=bt-node-test,target=/cache \\
    echo "$WORD" >> /cache/words && cat /cache/words && sleep "$PAUSE"
"""


def named(stage: str) -> str:
    recipe = image_names.named(stage)
    assert recipe
    return recipe.image


@pytest.fixture(scope="module")
def image(buildkit_image: str) -> str:
    """Return the name of BuildKit's image, built by the real task."""
    return buildkit_image


@pytest.fixture(scope="module")
def base(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a build context with our Debian, for builders that cannot access the engine's images or a registry."""
    place = tmp_path_factory.mktemp("debian")
    save = ["docker", "save", "--output", str(place / "image.tar"), named("debian")]
    process.ok(save, place)
    process.ok(["tar", "-xf", "image.tar"], place)
    (manifest,) = json.loads((place / "index.json").read_text())["manifests"]
    return f"base=oci-layout://{place}@{manifest['digest']}"


class Buildx:
    """docker buildx with a separate configuration: the user's builders are neither visible nor changed."""

    def __init__(self, place: Path, base: str) -> None:
        self.place, self.base = place, base
        self.env = {"BUILDX_CONFIG": str(place / "buildx"), "BUILDX_BUILDER": None}
        (place / "Dockerfile").write_text(STEP)

    def __call__(self, *args: str) -> process.Done:
        return process.run(["docker", "buildx", *args], self.place, self.env)

    def ok(self, *args: str) -> str:
        done = self(*args)
        assert done.code == 0, done.all
        return done.all

    def arguments(self, builder: str, word: str, platform: str = "", seconds: int = 0) -> list[str]:
        """Return the arguments of a build that adds a word to the mount and prints all words in it."""
        where = ["--platform", platform] if platform else []
        given = ["--build-arg", f"WORD={word}", "--build-arg", f"PAUSE={seconds}"]
        return [
            *("build", "--builder", builder, "--progress", "plain", "--build-context", self.base),
            *(*given, *where, str(self.place)),
        ]

    def words(self, builder: str, word: str, platform: str = "") -> list[str]:
        said = self.ok(*self.arguments(builder, word, platform))
        return [line.split()[2] for line in said.splitlines() if len(line.split()) == 3 and " word-" in line]


@pytest.fixture
def buildx(tmp_path: Path, base: str) -> Buildx:
    return Buildx(tmp_path, base)


def test_it_stands_in_for_the_public_one(image: str, session: Session, engine: Engine) -> None:
    """The image replaces the public one, unless a registry provides the public one."""
    assert flow.ensure(session, engine, (PUBLIC,)) in ({PUBLIC: image}, {})
    assert flow.ensure(session, engine, (PUBLIC,)) in ({PUBLIC: image}, {}), "as it was decided"


def test_it_holds_what_builders_need_and_no_compiler(image: str) -> None:
    script = (
        "buildkitd --version && buildctl --version && runc --version && git --version && ssh -V && xz --version"
        " && test -s /etc/ssl/certs/ca-certificates.crt && ! ls -d /usr/lib/go* /usr/share/go* /work /src 2>/dev/null"
    )
    docker = ["docker", "run", "--rm", "--entrypoint", "sh", image, "-c", script]
    said = process.ok(docker, REPOSITORY).all
    assert "buildkitd github.com/moby/buildkit v0." in said
    assert "runc version 1.1" in said
    form = "{{json .Config.Entrypoint}} {{.Size}}"
    entry, size = process.ok(["docker", "image", "inspect", "--format", form, image], REPOSITORY).out.split()
    assert entry == '["buildkitd"]'
    assert int(size) < 400e6


def test_git_fetches_without_its_perl_scripts(image: str) -> None:
    script = (
        "set -e; cd /tmp; git init -q a; cd a; git config user.email a@b; git config user.name a; echo x > x;"
        " git add x; git commit -qm x; cd ..; git init -q b; cd b; git fetch -q --depth=1 file:///tmp/a HEAD;"
        " git checkout -q FETCH_HEAD; git submodule -q update --init --recursive; cat x"
    )
    assert process.ok(["docker", "run", "--rm", "--entrypoint", "sh", image, "-c", script], REPOSITORY).out == "x\n"


def test_buildx_makes_a_builder_of_it(image: str, buildx: Buildx) -> None:
    name = f"bt-test-{secrets.token_hex(4)}"
    container = f"buildx_buildkit_{name}0"
    try:
        buildx.ok("create", "--name", name, "--driver", "docker-container", "--driver-opt", f"image={image}")
        assert re.search(r"^Status: +running$", buildx.ok("inspect", "--bootstrap", name), re.MULTILINE)
        assert buildx.words(name, "word-1") == ["word-1"]
        assert buildx.words(name, "word-2") == ["word-1", "word-2"]
        assert 'with id "/bt-node-test"' in buildx.ok("du", "--builder", name, "--verbose")
    finally:
        buildx("rm", "--force", name)
    left = process.ok(["docker", "ps", "--all", "--quiet", "--filter", f"name={container}"], REPOSITORY).out
    volumes = process.ok(["docker", "volume", "ls", "--quiet", "--filter", f"name={container}"], REPOSITORY).out
    assert left + volumes == ""


@pytest.fixture
def start(image: str, tmp_path: Path) -> Iterator[Callable[[str], Node]]:
    """Start a node that claims to build for a platform; all nodes use the authority of `tmp_path/tls`."""
    server, _ = buildkit_nodes.certificates(tmp_path / "tls")
    with ExitStack() as nodes:
        yield lambda platform: nodes.enter_context(
            buildkit_nodes.running(image, tmp_path / platform.replace("/", "-"), server, platform=platform)
        )


def options(place: Path) -> list[str]:
    """Return the options of a remote node, for a client with the files in this directory."""
    files = buildkit_nodes.Certificate(place / "ca.pem", place / "client.pem", place / "client-key.pem")
    return ["--driver", "remote", "--driver-opt", files.options]


def test_two_nodes_are_one_builder(start: Callable[[str], Node], buildx: Buildx, tmp_path: Path) -> None:
    here, there = start("linux/amd64"), start("linux/arm64")
    tls = options(tmp_path / "tls")
    # a node that claims to be an arm64 machine also lists the host's platform, so assign platforms explicitly
    mine, other = ("--platform", "linux/amd64"), ("--platform", "linux/arm64")
    buildx.ok("create", "--name", "both", "--node", "there", *other, *tls, there.address)
    buildx.ok("create", "--name", "both", "--append", "--node", "here", *mine, *tls, here.address)
    assert buildx.words("both", "word-a", "linux/amd64") == ["word-a"]
    assert buildx.words("both", "word-b", "linux/arm64") == ["word-b"], "another node has a mount of its own"
    # buildx does not report which node a record belongs to; a builder with one node has only that node's records
    buildx.ok("create", "--name", "alone", "--node", "there", *tls, there.address)
    assert buildx.words("alone", "word-c", "linux/arm64") == ["word-b", "word-c"]
    assert buildx.ok("du", "--builder", "alone", "--verbose").count('with id "/bt-node-test"') == 1
    assert buildx.ok("du", "--builder", "both", "--verbose").count('with id "/bt-node-test"') == 2


def test_a_client_of_another_authority_is_refused(start: Callable[[str], Node], buildx: Buildx, tmp_path: Path) -> None:
    node = start("linux/amd64")
    _, stranger = buildkit_nodes.certificates(tmp_path / "other")
    mixed = buildkit_nodes.Certificate(tmp_path / "tls/ca.pem", stranger.cert, stranger.key)
    cases = {
        "stranger": (mixed.options, "tls: certificate required", "tls: unknown ca"),
        "misled": (stranger.options, "certificate signed by unknown authority", "tls: failed to verify certificate"),
    }
    for name, (option, reason, heard) in cases.items():
        buildx.ok("create", "--name", name, "--driver", "remote", "--driver-opt", option, node.address)
        asked = buildx("du", "--builder", name)
        assert asked.code == 1
        # buildx writes before it reads: it may find the connection closed, and miss the reason
        assert re.search(f"{reason}|broken pipe|connection reset|EOF", asked.err), asked.err
        assert heard in builder_handshake.reason(tmp_path / f"buildx/instances/{name}", f"{name}0", 10)


def test_a_killed_node_ends_the_build_and_keeps_its_mounts(
    start: Callable[[str], Node], buildx: Buildx, tmp_path: Path
) -> None:
    node = start("linux/amd64")
    buildx.ok("create", "--name", "one", *options(tmp_path / "tls"), node.address)
    assert buildx.words("one", "word-1") == ["word-1"]
    building = process.start(
        ["docker", "buildx", *buildx.arguments("one", "word-2", seconds=600)], tmp_path, buildx.env
    )
    assert building.stderr is not None
    for line in building.stderr:
        if "word-2" in line and "RUN" not in line:
            break
    node.kill()
    _, said = building.communicate(timeout=60)
    assert building.returncode == 1
    assert "error reading from server" in said
    node.start()
    assert buildx.words("one", "word-3")[0] == "word-1"
    assert "running server on" in node.logs
    assert node.inside("ls /var/lib/buildkit").code == 0


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_nodes_and_engine_reach_one_registry_by_one_name(image: str, tmp_path: Path, tls: bool) -> None:
    """An image that only exists in the engine reaches a node: push it, then use it as a context."""
    program = oci_registry.program()
    server, _ = buildkit_nodes.certificates(tmp_path / "tls")
    with oci_registry.running(program, tmp_path / "registry", tls=tls) as registry:
        pushed = f"{registry.host}/debian:1"
        buildx = Buildx(tmp_path, f"base=docker-image://{pushed}")
        process.ok(["docker", "tag", named("debian"), pushed], tmp_path)
        try:
            process.ok(["docker", "push", pushed], tmp_path)
        finally:
            process.run(["docker", "rmi", pushed], tmp_path)
        known = {registry.host: tmp_path / "registry/ca.pem" if tls else None}
        with buildkit_nodes.running(image, tmp_path / "node", server, registries=known) as node:
            buildx.ok("create", "--name", "one", *options(tmp_path / "tls"), node.address)
            assert buildx.words("one", "word-1") == ["word-1"]
