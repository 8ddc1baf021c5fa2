"""`invoke build` creates the same images as `docker compose build`, with the installed and the newest tools.

The tests compare each image's configuration, its tags, and what its steps saw: arguments, secrets, network, limits.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.support import newer_plugins, process

pytestmark = [pytest.mark.engine]

#: Records what a step sees; the last stage contains nothing else.
LOOK = """\
ARG BASE
FROM ${BASE} AS look
ARG A
ARG B
ARG C
ARG D=default
ARG E=default-e
RUN --mount=type=secret,id=plain --mount=type=secret,id=other \\
    { echo "A=$A B=$B C=$C D=$D E=$E"; cat /run/secrets/plain /run/secrets/other; echo; \\
    grep -E 'host-[ab]' /etc/hosts | tr '\\t' ' ' | sort; ls /sys/class/net; ulimit -Sn; ulimit -Hn; } > /facts
FROM scratch AS shipped
COPY --from=look /facts /facts
COPY --from=extra file /from-extra
COPY own /own
FROM ${BASE} AS never
RUN false
"""

FILES = {
    "tasks.py": "from buildkit_tasks import namespace\n__all__ = ['namespace']\n",
    "app dir $x é/own": "own\n",
    "dockerfiles/Dockerfile.look": LOOK,
    "extra/file": "extra\n",
    "a, file.txt": "from a file",
    ".env": "TOKEN=from-dotenv\nIMAGE_TAG=7\n",
    "plain/Dockerfile": "FROM scratch\r\nCOPY <<A /here\r\nFROM not-a-base\r\nA\r\n",
    "plain/Dockerfile.dockerignore": "kept-out\n",
    "latin/Dockerfile": "# caf\udce9\nFROM scratch\nCOPY Dockerfile /d\n",
}


def compose(project: str, base: str) -> dict[str, Any]:
    """Return a model with every key of `build:` that this engine allows, and cases from public bug reports."""
    return {
        "name": project,
        "services": {
            "all.in": {
                "image": f"{project}/all:${{IMAGE_TAG}}",
                "platform": "linux/amd64",
                "environment": {"PASSWORD": "hunter2"},
                "build": {
                    "context": "app dir $$x é",
                    "dockerfile": "../dockerfiles/Dockerfile.look",
                    "args": {"A": "x$$y $$$$ $${Z} ${TOKEN}", "B": "%{z}", "C": None, "D": "", "E": None, "BASE": base},
                    "labels": {"com.example.one": "v$$1 $${q}", "two": "%{x}"},
                    "tags": [f"{project}/all:other", f"{project}/more"],
                    "target": "shipped",
                    "additional_contexts": {"extra": "./extra"},
                    "cache_from": ["type=local,src=/nonexistent/cache"],
                    "cache_to": ["type=inline"],
                    "secrets": ["plain", {"source": "token", "target": "other"}],
                    "network": "none",
                    "extra_hosts": ["host-a:1.2.3.4", "host-b=10.0.0.1"],
                    "shm_size": "99m",
                    "ulimits": {"nproc": 7777, "nofile": {"soft": 99, "hard": 100}},
                    "platforms": ["linux/amd64"],
                },
            },
            "inline": {"build": {"context": ".", "dockerfile_inline": 'FROM scratch\nLABEL a="$${HOME}" b="%{b}"\n'}},
            "fresh": {"build": {"no_cache": True, "pull": True, "dockerfile_inline": "FROM scratch\nCOPY extra /e\n"}},
            "plain": {"build": "./plain"},
            "latin": {"build": {"context": "latin"}},
            "behind-a-link": {"build": {"context": "link"}},
            "later": {"profiles": ["later"], "build": {"dockerfile_inline": "FROM scratch\nLABEL later=1\n"}},
            "ready": {"image": base},
        },
        "secrets": {"plain": {"file": "./a, file.txt"}, "token": {"environment": "TOKEN"}},
    }


class Tree:
    """A project, and both ways to build it."""

    def __init__(self, root: Path, project: str, config: Path | None) -> None:
        self.root, self.project = root, project
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(root.parent / "state"), "C": "from-env"}
        if config:
            self.env["DOCKER_CONFIG"] = str(config)
        self.images = [f"{project}/all:7", f"{project}/all:other", f"{project}/more"]
        self.images += [f"{project}-{name}" for name in ("inline", "fresh", "plain", "latin", "behind-a-link")]

    def forget(self) -> None:
        process.run(["docker", "image", "rm", "-f", *self.images, f"{self.project}-later"], self.root)

    def run(self, *argv: str | Path) -> process.Done:
        done = process.run([str(part) for part in argv], self.root, self.env)
        assert done.code == 0, done.all
        return done

    def facts(self, image: str) -> dict[str, Any]:
        """Return the configuration and files of an image."""
        about = json.loads(self.run("docker", "image", "inspect", image).out)[0]
        config = about["Config"]
        kept = {key: config.get(key) for key in ("User", "Env", "Entrypoint", "Cmd", "Labels", "WorkingDir")}
        kept["Labels"].pop("com.docker.compose.version")
        return {"platform": f"{about['Os']}/{about['Architecture']}", **kept, "files": self.files(image)}

    def files(self, image: str) -> dict[str, bytes]:
        container = self.run("docker", "create", image, "x").out.strip()
        try:
            archive = self.root.parent / "export.tar"
            self.run("docker", "export", "--output", archive, container)
            with tarfile.open(fileobj=BytesIO(archive.read_bytes())) as tar:
                return {
                    m.name: tar.extractfile(m).read()  # type: ignore[union-attr]
                    for m in tar
                    if m.isfile() and not m.name.startswith(("etc/", "dev/")) and m.name != ".dockerenv"
                }
        finally:
            self.run("docker", "rm", container)


@pytest.fixture(scope="module", params=["installed", "newest"])
def tree(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]
) -> Iterator[Tree]:
    project = f"cx{secrets.token_hex(3)}"
    root = tmp_path_factory.mktemp("compose") / "tree"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    (root / "link").symlink_to("plain", target_is_directory=True)
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    (root / "compose.yaml").write_text(json.dumps(compose(project, base)))
    made = Tree(root, project, newer_plugins.config() if request.param == "newest" else None)
    yield made
    made.forget()


def test_every_image_is_the_one_that_compose_makes(tree: Tree) -> None:
    newest = "DOCKER_CONFIG" in tree.env
    if newest:  # compose 2.40 passes `%{` and, in labels, `${` to bake, which treats them as templates and fails
        text = (tree.root / "compose.yaml").read_text()
        (tree.root / "compose.yaml").write_text(re.sub(r"%\{(\w)\}", r"%(\1)", text).replace("v$$1 $${q}", "v$$1"))
        text = (tree.root / "compose.yaml").read_text()  # … and a comma ends the path of a secret
        (tree.root / "compose.yaml").write_text(text.replace("a, file.txt", "afile.txt"))
        (tree.root / "afile.txt").write_text("from a file")
    tree.run("docker", "compose", "build")
    expected = {image: tree.facts(image) for image in tree.images}
    tree.forget()
    tree.run(process.BIN / "invoke", "build", "--no-cache")
    found = {image: tree.facts(image) for image in tree.images}
    assert b"A=x$y $$ ${Z} from-dotenv" in found[tree.images[0]]["files"]["facts"]
    for image in tree.images:
        for key, value in expected[image].items():
            assert (image, key, found[image][key]) == (image, key, value)
    assert "hunter2" not in process.run([process.BIN / "invoke", "build", "--plan", "--json"], tree.root, tree.env).all


def test_a_service_of_a_profile_is_built_when_it_is_named_and_only_then(tree: Tree) -> None:
    tree.run(process.BIN / "invoke", "build", "--service", "later")
    assert tree.facts(f"{tree.project}-later")["Labels"]["later"] == "1"
    plan = json.loads(tree.run(process.BIN / "invoke", "build", "--plan", "--json").out)["plan"]
    assert "later" not in plan["services"]


def test_one_service_that_cannot_be_planned_does_not_stop_another(tree: Tree) -> None:
    content = json.loads((tree.root / "compose.yaml").read_text())
    content["services"]["broken"] = {"build": {"context": "extra", "dockerfile": "gone"}}
    (tree.root / "broken.yaml").write_text(json.dumps(content))
    env = {**tree.env, "BUILDKIT_TASKS_PROJECT_COMPOSE_FILE": "broken.yaml"}
    argv: list[str | Path] = [process.BIN / "invoke", "build"]
    assert process.run([*argv, "--service", "inline"], tree.root, env).code == 0
    done = process.run(argv, tree.root, env)
    assert done.code == 9
    assert "The Dockerfile of the service 'broken' cannot be read" in done.err


def test_bake_s_own_extension_counts(tree: Tree) -> None:
    build = {"dockerfile_inline": "FROM scratch\n", "x-bake": {"tags": [f"{tree.project}/x:baked"]}}
    (tree.root / "bake.yaml").write_text(json.dumps({"name": tree.project, "services": {"x": {"build": build}}}))
    env = {**tree.env, "BUILDKIT_TASKS_PROJECT_COMPOSE_FILE": "bake.yaml"}
    tree.images.append(f"{tree.project}/x:baked")
    plan = process.run([process.BIN / "invoke", "build", "--plan", "--json"], tree.root, env)
    assert json.loads(plan.out)["plan"]["bake"]["target"]["x"]["tags"] == [
        f"{tree.project}-x",
        f"{tree.project}/x:baked",
    ]


@pytest.mark.skipif(os.environ.get("BT_COMPOSE_SERVICE") == "0", reason="asked not to")
def test_the_image_of_another_service_is_a_context(tree: Tree) -> None:
    services = {
        "below": {"build": {"dockerfile_inline": "FROM scratch\nCOPY extra/file /below\n"}},
        "above": {
            "build": {
                "dockerfile_inline": "FROM lower\nCOPY plain/Dockerfile /above\n",
                "additional_contexts": {"lower": "service:below"},
            }
        },
    }
    (tree.root / "stacked.yaml").write_text(json.dumps({"name": tree.project, "services": services}))
    env = {**tree.env, "BUILDKIT_TASKS_PROJECT_COMPOSE_FILE": "stacked.yaml"}
    done = process.run([process.BIN / "invoke", "build", "--service", "above"], tree.root, env)
    assert done.code == 0, done.err
    tree.images += [f"{tree.project}-above", f"{tree.project}-below"]
    assert set(tree.files(f"{tree.project}-above")) == {"below", "above"}


@pytest.mark.parametrize("inline", [True, False])
def test_a_build_leaves_no_temporary_files(tmp_path: Path, inline: bool) -> None:
    """buildx 0.13 leaves a directory for every Dockerfile that it does not read from a file."""
    project, place = tmp_path / "project", tmp_path / "temporary"
    project.mkdir()
    place.mkdir()
    text = f"FROM scratch\nCOPY compose.json /{secrets.token_hex(4)}\n"
    (project / "Dockerfile").write_text(text)
    build = {"context": ".", **({"dockerfile_inline": text} if inline else {})}
    name = f"temporary-{secrets.token_hex(4)}"
    (project / "compose.json").write_text(json.dumps({"name": name, "services": {"a": {"build": build}}}))
    (project / "tasks.py").write_text(FILES["tasks.py"])
    env = {"COMPOSE_FILE": "compose.json", "TMPDIR": str(place), "CI": None}
    try:
        process.ok([process.BIN / "invoke", "build"], project, env)
        assert list(place.iterdir()) == []
    finally:
        process.run(["docker", "image", "rm", "-f", f"{name}-a"], project)
