"""Adopt foreign repositories: `init --yes`, a real build, an edit, plain compose, and an undo that leaves no trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.adopted import Repository, adopting, start_edit_and_leave
from tests.support import process, repositories, repositories_served

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("base_images")]


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
    """Create a repository of this shape."""
    with adopting(tmp_path, request.param) as made:
        yield made


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
    [
        pytest.param(name, marks=() if name in EVERY_DAY else pytest.mark.slow)
        for name in sorted(repositories_served.CASES)
    ],
    indirect=True,
)
def test_adopted_and_started_without_a_manual_step(repository: Repository) -> None:
    start_edit_and_leave(repository)


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
