"""Another repository adopts the tasks with a two-line tasks.py: built, edited, built without the tasks, interrupted."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import foreign
from tests.support import process

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("base_images")]


class Repository:
    """A foreign repository and the commands a user types in it."""

    def __init__(self, root: Path, project: str) -> None:
        self.root, self.project = root, project
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(root.parent / "state")}

    def invoke(self, *args: str) -> process.Done:
        return process.run([process.BIN / "invoke", *args], self.root, self.env)

    def build(self, *args: str) -> dict[str, Any]:
        done = self.invoke("build", "--json", *args)
        assert done.code == 0, done.all
        return dict(json.loads(done.out))

    def image(self, name: str) -> str:
        return f"{self.project}/{name}:dev"

    def plain_build(self) -> str:
        """Run `docker compose build` without the tasks, with the override from `build --plan`; return its output."""
        plan = json.loads(self.invoke("build", "--plan", "--json").out)["plan"]
        files = [part for f in plan["compose_files"] for part in ("-f", f)]
        return process.ok(["docker", "compose", *files, "--progress", "plain", "build"], self.root).all


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """Create one repository; the tests below run in order, like a user's day."""
    project = f"orchard-{secrets.token_hex(3)}"
    place = tmp_path_factory.mktemp("orchard")
    made = Repository(foreign.make(place / "repo", project), project)
    yield made
    process.run(["docker", "image", "rm", "-f", made.image("pears"), made.image("plums")], place)
    for done in [process.run(["docker", "buildx", "du", "--verbose"], place)]:
        for record in done.out.split("\n\n"):
            if f'with id "{project}-' in record:
                identity = record.split()[1]
                process.run(["docker", "buildx", "prune", "-af", "--filter", f"id=^{identity}$"], place)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_first_build_makes_both_images_with_one_cargo_run(repository: Repository) -> None:
    outcome = repository.build()
    assert sorted(outcome["cargo"]["compiled"]) == ["itoa", "pears", "plums", "shared"]
    assert [t["changed"] for t in outcome["targets"]] == [True, True]
    assert foreign.printed(repository.image("pears"), repository.root) == "pears shared-one 1"
    assert foreign.printed(repository.image("plums"), repository.root) == "plums shared-one 1"


def test_nothing_changed_builds_nothing(repository: Repository) -> None:
    outcome = repository.build()
    assert outcome["cargo"] == {"compiled": [], "fresh": None, "marked": []}
    assert [t["changed"] for t in outcome["targets"]] == [False, False]


def test_readme_and_compose_edits_rebuild_nothing(repository: Repository) -> None:
    edit(repository.root / "README.md", "nothing", "Nothing")
    (repository.root / "compose.yaml").write_text((repository.root / "compose.yaml").read_text() + "# a comment\n")
    assert repository.build()["cargo"]["compiled"] == []


def test_one_line_compiles_one_crate_and_changes_one_image(repository: Repository) -> None:
    edit(repository.root / "apps/pears/src/main.rs", 'println!("pears', 'println!("PEARS')
    outcome = repository.build()
    assert outcome["cargo"]["compiled"] == ["pears"]
    assert outcome["incremental"] is True
    assert {t["service"]: t["changed"] for t in outcome["targets"]} == {"pears-svc": True, "plums-svc": False}
    assert foreign.printed(repository.image("pears"), repository.root) == "PEARS shared-one 1"


def test_an_edit_with_an_mtime_in_the_past_still_gives_the_new_program(repository: Repository) -> None:
    path = repository.root / "libs/shared/src/lib.rs"
    edit(path, "shared-one", "shared-two")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert sorted(repository.build()["cargo"]["compiled"]) == ["pears", "plums", "shared"]
    assert foreign.printed(repository.image("plums"), repository.root) == "plums shared-two 1"


def test_same_size_and_same_mtime_still_gives_the_new_program(repository: Repository) -> None:
    path = repository.root / "libs/shared/src/lib.rs"
    before = path.stat()
    edit(path, "shared-two", "shared-six")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    repository.build()
    assert foreign.printed(repository.image("plums"), repository.root) == "plums shared-six 1"


def test_one_service_alone(repository: Repository) -> None:
    edit(repository.root / "apps/plums/src/main.rs", 'println!("plums', 'println!("PLUMS')
    outcome = repository.build("--service", "plums-svc")
    assert outcome["cargo"]["compiled"] == ["plums"]
    assert [t["service"] for t in outcome["targets"]] == ["plums-svc"]


def test_plain_compose_build_after_a_build_that_may_ship_compiles_nothing(repository: Repository) -> None:
    repository.build("--no-incremental")
    said = repository.plain_build()
    assert "Compiling" not in said
    assert foreign.printed(repository.image("plums"), repository.root) == "PLUMS shared-six 1"


def test_no_cache_runs_the_step_again_and_spares_the_mounts(repository: Repository) -> None:
    outcome = repository.build("--no-cache", "--no-incremental")
    assert outcome["cargo"]["fresh"] is not None
    assert outcome["cargo"]["compiled"] == []


def test_compile_error_is_verbatim_and_the_next_build_is_right(repository: Repository) -> None:
    path = repository.root / "apps/pears/src/main.rs"
    good = path.read_text()
    path.write_text(good.replace("fn main() {", "fn main() {\n    let x: u8 = true;"))
    done = repository.invoke("build")
    assert done.code == 20
    assert "error[E0308]: mismatched types" in done.err
    assert " --> apps/pears/src/main.rs:2:17" in done.err
    assert done.err.index("E0308") < done.err.index("error[compile-failed]")
    path.write_text(good)
    repository.build()
    assert foreign.printed(repository.image("pears"), repository.root) == "PEARS shared-six 1"


def test_a_build_script_that_never_ends_is_interrupted_and_nothing_is_left_running(repository: Repository) -> None:
    script = repository.root / "apps/pears/build.rs"
    script.write_text("fn main() {\n    loop {\n        std::thread::park();\n    }\n}\n")
    argv: list[str | Path] = [process.BIN / "invoke", "build", "--progress", "verbose"]
    running = process.start(argv, repository.root, repository.env)
    assert running.stderr is not None
    for line in running.stderr:
        if "Compiling pears" in line:
            break
    os.kill(running.pid, signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 130, rest
    script.unlink()
    # a build script that still runs would hold the locked target mount, and this build would wait forever
    edit(repository.root / "apps/pears/src/main.rs", 'println!("PEARS', 'println!("Pears')
    assert repository.build()["cargo"]["compiled"] == ["pears"]
    assert foreign.printed(repository.image("pears"), repository.root) == "Pears shared-six 1"


def test_verify_names_the_file_that_was_changed_after_the_build(repository: Repository) -> None:
    path = repository.root / "apps/pears/src/main.rs"
    good = path.read_text()
    assert repository.invoke("verify").code == 0
    path.write_text(good + "\n")
    done = repository.invoke("verify", "--json")
    assert done.code == 28
    found = {s["service"]: s for s in json.loads(done.out)["services"]}
    assert found["plums-svc"]["image"] == "same"
    assert [(d["kind"], d["name"]) for d in found["pears-svc"]["differences"]] == [
        ("changed", "apps/pears/src/main.rs")
    ]
    path.write_text(good)
    assert repository.invoke("verify").code == 0
