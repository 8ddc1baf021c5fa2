"""Doctor on this repository and a current engine: no check fires if everything is healthy, and each proof can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.doctor import proof
from buildkit_tasks.shells import new_shell
from tests.support import process

pytestmark = pytest.mark.engine

REPOSITORY = Path(__file__).parents[2]

#: Checks that may fire on some machines even though the project is fine.
MACHINE = {
    "one-docker",
    "image-store",
    "gc",
    "memory",
    "inotify",
    "binfmt",
    "disk",
    "cache-size",
    "proxy",
    "wsl",
    "clock",
}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Create the sample's compose file, Dockerfile and workspace in git, with a .env from `invoke dotenv`."""
    root = tmp_path / "sample"
    ignore = shutil.ignore_patterns("target")
    for name in ("docker", "services"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignore)
    for name in ("docker-compose.yaml", ".env.example", ".dockerignore", ".gitignore", "tasks.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, root / name)
    process.ok(["git", "init", "-q", "."], root)
    process.ok(["invoke", "dotenv"], root)
    text = (root / ".env").read_text()
    for name in ("API_PORT", "NOTIFIER_PORT"):
        text = "".join(f"{name}=0\n" if x.startswith(f"{name}=") else x for x in text.splitlines(keepends=True))
    (root / ".env").write_text(text)
    return root


@pytest.mark.usefixtures("engine", "base_images")
def test_the_healthy_sample_fires_nothing_within_three_seconds(sample: Path) -> None:
    done = process.run(["invoke", "doctor", "--json"], sample, {"DOCKER_BUILDKIT": None, "SHELL": "/bin/bash"})
    content = json.loads(done.out)
    fired = {c["name"]: c["found"] for c in content["checks"] if c["state"] in ("warn", "fail")}
    assert {n: f for n, f in fired.items() if n not in MACHINE} == {}
    assert content["seconds"] < 3
    assert done.code == 0, fired


@pytest.mark.usefixtures("engine", "base_images")
def test_a_mount_persists_and_what_proves_it_is_deleted(session: Session) -> None:
    before = process.ok(["docker", "buildx", "du", "--verbose"], REPOSITORY).out.count("-doctor-")
    assert proof.persist(session) > 0
    assert process.ok(["docker", "buildx", "du", "--verbose"], REPOSITORY).out.count("-doctor-") == before


@pytest.mark.usefixtures("engine")
def test_the_smallest_build_needs_buildkit_and_leaves_no_image(session: Session) -> None:
    before = set(process.ok(["docker", "image", "ls", "--all", "--quiet"], REPOSITORY).out.split())
    assert new_shell.probe(session) > 0
    new = set(process.ok(["docker", "image", "ls", "--all", "--quiet"], REPOSITORY).out.split()) - before
    for image in new:  # images of other processes that run at the same time
        assert "BUILDKIT_TASKS" not in process.run(["docker", "image", "inspect", image], REPOSITORY).out


def test_the_smallest_build_fails_without_buildkit(engine: Engine, tmp_path: Path) -> None:
    from buildkit_tasks.dockercli import docker

    (tmp_path / "Dockerfile").write_text(docker.PROBE)
    assert process.run(["docker", "build", "."], tmp_path, {"DOCKER_BUILDKIT": "0"}).code != 0


@pytest.mark.usefixtures("engine")
def test_a_mount_that_does_not_persist_is_a_problem(
    base_images: Mapping[str, str], sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof must be able to fail: each step gets a separate mount here."""
    world = World(env=process.environment(), cwd=sample, home=Path.home())
    number = iter(range(9))
    real = proof._step

    def apart(session: Session, base: tuple[str, str], mount: str, what: str) -> None:
        real(session, base, f"{mount}-{next(number)}", what)

    monkeypatch.setattr(proof, "_step", apart)
    with pytest.raises(Problem, match="did not persist"):
        proof.persist(Session(world, Report(world)))


@pytest.mark.usefixtures("engine", "base_images")
def test_no_buildx_on_a_current_docker_command(sample: Path, tmp_path: Path) -> None:
    """Hide the plugins in a mount namespace and add compose again, as on many distributions."""
    folders = [f for f in ("/usr/libexec", "/usr/lib", "/usr/local/lib", "/usr/local/libexec") if _has_plugins(f)]
    (tmp_path / "empty").mkdir()
    plugins = tmp_path / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    for folder in folders:
        if (compose := Path(folder, "docker/cli-plugins/docker-compose")).exists():
            shutil.copy(compose, plugins)
    hide = " && ".join(f"mount --bind {tmp_path}/empty {f}/docker/cli-plugins" for f in folders) or "true"
    env = {"DOCKER_CONFIG": str(tmp_path / "config"), "SHELL": "/bin/bash", "DOCKER_BUILDKIT": None}
    argv = ["unshare", "--mount", "sh", "-c", f"{hide} && exec invoke doctor --json"]
    done = process.run(argv, sample, env)
    fired = {c["name"] for c in json.loads(done.out)["checks"] if c["state"] in ("warn", "fail")}
    assert fired - MACHINE == {"buildx"}


def _has_plugins(folder: str) -> bool:
    return Path(folder, "docker/cli-plugins").is_dir()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUILDX_BUILDER", "no-such-builder"),
        ("DOCKER_CONTEXT", "no-such-context"),
        ("DOCKER_HOST", "tcp:/bad"),
        ("COMPOSE_FILE", "absent.yaml"),
        ("COMPOSE_PROJECT_NAME", "Bad!Name"),
    ],
)
def test_a_variable_that_stops_a_build_is_a_failure_that_names_its_value(sample: Path, name: str, value: str) -> None:
    build = process.run(["invoke", "build", "--plan"], sample, {name: value})
    assert build.code not in (0, 70), build.all
    found = process.run(["invoke", "doctor"], sample, {name: value})
    assert found.code not in (0, 70), found.all
    assert value in found.all
