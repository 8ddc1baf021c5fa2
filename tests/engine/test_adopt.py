"""Adopt foreign repositories: `init --yes`, a real build, an edit, plain compose, and an undo that leaves no trace."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import process, repositories, repositories_real, repositories_served

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("base_images")]


#: Repositories whose services keep running.
SERVED = {**repositories_served.SHAPES, **repositories_real.SHAPES}
SERVED_CASES = {**repositories_served.CASES, **repositories_real.CASES}


class Repository:
    """A repository of one of the shapes under a separate name, committed to git."""

    def __init__(self, place: Path, shape: str) -> None:
        self.shape = shape
        self.project = f"bt-{shape}-{secrets.token_hex(3)}"
        files = {**repositories.SHAPES, **SERVED}[shape]()
        self.compose = next((n for n in files if re.fullmatch(r"(?:docker-)?compose\.ya?ml", n)), "compose.yaml")
        if self.compose in files:
            body = "\n".join(line for line in files[self.compose].split("\n") if not line.startswith("name:"))
            mark = "---\n" if body.startswith("---\n") else ""
            files[self.compose] = f"{mark}name: {self.project}\n{body.removeprefix(mark)}"
        self.root = repositories.write(place / self.project, files)
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(place / "state")}
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "one")):
            process.ok(["git", "-c", "user.email=a@example.org", "-c", "user.name=a", *words], self.root)

    def type(self, *args: str) -> process.Done:
        return process.run([process.BIN / "buildkit-tasks", *args], self.root, self.env, timeout=3000)

    def printed(self, service: str) -> str:
        argv = ["docker", "run", "--rm", "--network", "none", f"{self.project}-{service}"]
        return process.ok(argv, self.root).out.strip()

    def plain_build(self, service: str) -> str:
        """Run `docker compose build` with only our files, without the tasks; return its output."""
        plan = json.loads(self.type("build", "--service", service, "--plan", "--json").out)["plan"]
        files = [part for f in plan["compose_files"] for part in ("-f", f)]
        argv = ["docker", "compose", *files, "--progress", "plain", "build", service]
        return process.ok(argv, self.root).all

    def status(self) -> list[str]:
        lines = process.ok(["git", "status", "--porcelain"], self.root).out.splitlines()
        return [line for line in lines if "__pycache__" not in line]


#: Maps each shape to a service, the output of its program, and an edit that changes the output.
CASES = {
    "single": ("web", "<p>pantry</p> {} shelves = 3", ("templates/page.html", "pantry", "larder")),
    "fleet": ("orders", "started\norders fleet", ("assets/word.txt", "fleet", "float")),
    "shopfront": ("api", "server 4", ("backend/store/src/lib.rs", "4", "5")),
    "native": ("gauge", "schema-1 Pressure zlib 1", ("schema/gauge.txt", "schema-1", "schema-2")),
    "collected": ("printer", "printer A4", ("crates/paper/src/lib.rs", "A4", "A5")),
    "bare": ("ping", "ping", ("src/main.rs", "ping", "pong")),
}


@pytest.fixture
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Repository]:
    """Create a repository of this shape; remove its images and mounts afterwards."""
    made = Repository(tmp_path, request.param)
    yield made
    if made.shape in SERVED:
        process.run(["docker", "compose", "-p", made.project, "down", "--volumes", "--timeout", "1"], tmp_path)
    listed = process.run(["docker", "image", "ls", "-q", "--filter", f"reference={made.project}*"], tmp_path)
    if listed.out.split():
        process.run(["docker", "image", "rm", "-f", *listed.out.split()], tmp_path)


@pytest.mark.parametrize(
    "repository",
    [pytest.param(n, marks=() if n in ("native", "shopfront") else pytest.mark.slow) for n in sorted(CASES)],
    indirect=True,
)
def test_adopted_built_edited_built_without_us_and_gone(repository: Repository) -> None:
    service, prints, (path, old, new) = CASES[repository.shape]
    done = repository.type("init", "--yes")
    assert done.code == 0, done.all
    if repository.shape == "native":  # the compose file sets the image name
        text = (repository.root / repository.compose).read_text()
        (repository.root / repository.compose).write_text(text.replace("gauge:dev", f"{repository.project}-gauge"))
    done = repository.type("build", "--service", service)
    assert done.code == 0, done.all
    assert repository.printed(service) == prints
    place = repository.root / path
    place.write_text(place.read_text().replace(old, new))
    assert repository.type("build", "--service", service).code == 0
    assert repository.printed(service) == prints.replace(old, new)
    # without the tasks: plain compose builds with the same mounts
    plan = repository.plain_build(service)
    assert "Downloaded" not in plan
    assert repository.printed(service) == prints.replace(old, new)
    place.write_text(place.read_text().replace(new, old))
    if repository.shape == "native":
        text = (repository.root / repository.compose).read_text()
        (repository.root / repository.compose).write_text(text.replace(f"{repository.project}-gauge", "gauge:dev"))
    assert repository.type("init", "--undo", "--yes").code == 0
    assert repository.status() == []


#: Runs in every engine session; the others run in the session `adopt`.
EVERY_DAY = ("database",)


@pytest.mark.parametrize(
    "repository",
    [pytest.param(name, marks=() if name in EVERY_DAY else pytest.mark.slow) for name in sorted(SERVED_CASES)],
    indirect=True,
)
def test_adopted_and_started_without_a_manual_step(repository: Repository) -> None:
    options, service, prints, (path, old, new) = SERVED_CASES[repository.shape]
    plan = repository.type("init", "--dry-run", *options)
    assert plan.code == 0, plan.all
    assert repository.status() == []
    assert (done := repository.type("init", "--yes", *options)).code == 0, done.all
    assert (done := repository.type("build")).code == 0, done.all
    assert (done := repository.type("up")).code == 0, done.all
    assert prints in repository.type("logs", service).out
    place = repository.root / path
    before = place.read_text()
    place.write_text(before.replace(old, new))
    assert (done := repository.type("verify")).code != 0, done.all
    assert (done := repository.type("up")).code == 0, done.all
    assert prints.replace(old.strip('"'), new.strip('"')) in repository.type("logs", service).out
    assert (done := repository.type("verify")).code == 0, done.all
    assert repository.type("init", "--check").code == 0
    assert "adopted" in repository.type("doctor").out
    assert repository.type("down", "--yes").code == 0
    # without the tasks
    assert "Downloaded" not in repository.plain_build(service)
    place.write_text(before)
    assert (done := repository.type("init", "--undo", "--yes")).code == 0, done.all
    assert repository.status() == []


@pytest.mark.parametrize("repository", ["bare"], indirect=True)
def test_what_a_first_build_lacks_is_named_and_the_remedy_followed_literally_builds(repository: Repository) -> None:
    root = repository.root
    assert repository.type("init", "--yes").code == 0
    # a file outside the context
    (root / "words").mkdir()
    (root / "words/a.txt").write_text("ping\n")
    (root / "src/main.rs").write_text('fn main() { println!("{}", include_str!("../words/a.txt").trim()); }\n')
    done = repository.type("build")
    assert done.code == 67, done.all
    assert "error[build-lacks]: The file words/a.txt is not in the build context." in done.err
    line = re.search(r"add the line `(\S+)` to (\S+),", done.err)
    assert line, done.err
    with (root / line[2]).open("a") as file:
        file.write(f"{line[1]}\n")
    done = repository.type("build")
    assert done.code == 0, done.all
    assert repository.printed("ping") == "ping"
    # a library
    (root / "build.rs").write_text('fn main() { println!("cargo:rustc-link-lib=magic"); }\n')
    done = repository.type("build")
    assert done.code == 67, done.all
    package = re.search(r"add (\S+) to `ARG BUILD_PACKAGES=`", done.err)
    assert package, done.err
    path = root / "docker/Dockerfile"
    path.write_text(path.read_text().replace('ARG BUILD_PACKAGES="', f'ARG BUILD_PACKAGES="{package[1]}'))
    done = repository.type("build")
    assert done.code == 0, done.all
    # a lock file that does not match the manifests
    (root / "build.rs").unlink()
    (root / "Cargo.toml").write_text((root / "Cargo.toml").read_text() + '\n[dependencies]\nitoa = "1"\n')
    done = repository.type("build")
    assert done.code == 67, done.all
    assert "Cargo.lock does not match the manifests" in done.err


def _services(root: Path) -> dict[str, dict[str, object]]:
    model = json.loads(process.ok(["docker", "compose", "config", "--format", "json"], root).out)
    return {name: dict(entry) for name, entry in model["services"].items()}


@pytest.mark.parametrize("mode", ["edit", "override"])
@pytest.mark.parametrize("shape", sorted(set(repositories.SHAPES) - {"bare"}))
def test_compose_itself_sees_nothing_changed_but_the_builds(tmp_path: Path, shape: str, mode: str) -> None:
    repository = Repository(tmp_path, shape)
    before = _services(repository.root)
    assert repository.type("init", "--compose", mode, "--yes").code == 0
    after = _services(repository.root)
    changed = {name for name in after if after[name].get("build") != before[name].get("build")}
    assert changed
    for services in (before, after):
        for entry in services.values():
            entry.pop("build", None)
    assert before == after
    assert "nothing to change" in repository.type("init", "--dry-run").err
    assert repository.type("init", "--check").code == 0
    assert repository.type("init", "--undo", "--yes").code == 0
    assert repository.status() == []
