"""`init` as typed by a user: diff, question, files, a byte-exact undo, upgrade. compose is simulated."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import FAKE, Bench
from tests.support import process, repositories


class Repository(Bench):
    """A repository of one of the shapes, committed to git."""

    def init(self, *args: str, stdin: str | None = None) -> process.Done:
        return process.run(
            [process.BIN / "buildkit-tasks", "init", *args], self.root, self.environment(), stdin=stdin, timeout=60
        )

    def git(self, *args: str) -> str:
        identity = ("-c", "user.email=a@example.org", "-c", "user.name=a", "-c", "init.defaultBranch=main")
        done = process.run(["git", *identity, *args], self.root)
        assert done.code == 0, done.all
        return done.out

    def compose(self) -> None:
        """Make docker return the current compose file."""
        names = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
        found = next((self.root / n for n in names if (self.root / n).exists()), None)
        if found:
            model = repositories.resolved(self.root, found.read_text())
            self.reply("config --format json", stdout=json.dumps(model))


@pytest.fixture
def shape(tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    """The shape that a test selects, `single` by default."""
    name = getattr(request, "param", "single")
    root, place = tmp_path / name, tmp_path / "fake"
    (place / "bin").mkdir(parents=True)
    (place / "home").mkdir()
    shutil.copy(FAKE, place / "bin" / "docker")
    made = Repository(repositories.write(root, repositories.SHAPES[name]()), place)
    made.git("init", "-q")
    made.git("add", "-A")
    made.git("commit", "-qm", "one")
    made.compose()
    return made


def test_every_program_that_an_image_ships_is_listed(shape: Repository) -> None:
    (shape.root / "src/bin").mkdir()
    (shape.root / "src/bin/tidy.rs").write_text("fn main() {}\n")
    text = (shape.root / "Dockerfile").read_text()
    both = "/app/target/release/tidy /app/target/release/pantry /usr/local/bin/"
    (shape.root / "Dockerfile").write_text(text.replace("/app/target/release/pantry /usr/local/bin/", both))
    assert "service web: programs pantry, tidy, converted from" in shape.init("--dry-run").err


def test_a_dry_run_shows_the_diff_and_writes_nothing(shape: Repository) -> None:
    done = shape.init("--dry-run")
    assert done.code == 0, done.all
    assert "--- a/docker-compose.yml\n+++ b/docker-compose.yml" in done.out
    assert "+++ b/docker/Dockerfile" in done.out
    assert "service web: program pantry, converted from Dockerfile (without a cache)" in done.err
    assert shape.git("status", "--porcelain") == ""


def test_nothing_is_written_without_consent(shape: Repository) -> None:
    done = shape.init()
    assert done.code == 18
    assert "+++ b/docker/Dockerfile" in done.out  # the diff comes before the question
    assert shape.git("status", "--porcelain") == ""


@pytest.mark.parametrize("shape", sorted(repositories.SHAPES), indirect=True)
def test_written_then_nothing_more_then_undone_to_the_byte(shape: Repository) -> None:
    done = shape.init("--yes")
    assert done.code == 0, done.all
    assert (shape.root / "tasks.py").read_text().startswith('"""Tasks for this repository')
    shape.compose()
    again = shape.init("--yes")
    assert "nothing to change" in again.err
    assert again.out == ""
    listed = process.run([process.BIN / "invoke", "--list"], shape.root, shape.environment())
    assert "  build " in listed.out
    assert shape.init("--undo", "--yes").code == 0
    assert shape.git("status", "--porcelain", "--ignored") == " M __pycache__/\n" or not [
        line for line in shape.git("status", "--porcelain").splitlines() if "__pycache__" not in line
    ]


def test_json(shape: Repository) -> None:
    document = json.loads(shape.init("--dry-run", "--json").out)
    assert document["services"] == [{"name": "web", "binary": "pantry", "workspace": ".", "adopted": False}]
    assert {"path": "docker/Dockerfile", "how": "add"} in document["changes"]
    assert document["written"] is False


def test_what_is_to_be_checked_is_said_again_after_the_diff(shape: Repository) -> None:
    (shape.root / "Cargo.lock").unlink()
    done = shape.init("--yes")
    assert done.code == 0, done.all
    said = done.err.split("\n")
    check = [at for at, line in enumerate(said) if line.startswith("check: Cargo.toml: Cargo.lock is missing")]
    assert len(check) == 2
    assert said[check[1] + 1].startswith("written. Next: buildkit-tasks build")


def test_a_second_run_adds_only_the_service_that_is_new(shape: Repository) -> None:
    shape.init("--yes")
    dockerfile = (shape.root / "docker/Dockerfile").read_text()
    compose = shape.root / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("  db:", "  second:\n    build: .\n\n  db:"))
    shape.compose()
    done = shape.init("--yes")
    assert done.code == 0, done.all
    assert "edit: docker-compose.yml" in done.err
    assert (shape.root / "docker/Dockerfile").read_text() == dockerfile
    assert compose.read_text().count("dockerfile: docker/Dockerfile") == 2


def test_edits_to_the_compose_file_survive_an_undo(shape: Repository) -> None:
    shape.init("--yes")
    compose = shape.root / "docker-compose.yml"
    compose.write_text(compose.read_text() + "  cache:\n    image: redis:7\n")
    shape.init("--undo", "--yes")
    assert compose.read_text() == repositories.single()["docker-compose.yml"] + "  cache:\n    image: redis:7\n"
    assert not (shape.root / "docker").exists()


def test_an_edited_dockerfile_is_kept_by_an_undo_and_named(shape: Repository) -> None:
    shape.init("--yes")
    path = shape.root / "docker/Dockerfile"
    path.write_text(path.read_text() + "# mine\n")
    done = shape.init("--undo", "--yes")
    assert "kept docker/Dockerfile: your edits conflict" in done.err
    assert path.exists()


def test_an_upgrade_keeps_the_users_edits(shape: Repository) -> None:
    shape.init("--yes")
    path, record = shape.root / "docker/Dockerfile", shape.root / "docker/.buildkit-tasks.json"
    # the output of an older version: another comment at the top, and no `ARG REBUILD`
    new = path.read_text()
    older = new.replace("# A new value reruns the compile step", "# An older version's words").replace(
        "ARG REBUILD\n", ""
    )
    document = json.loads(record.read_text())
    document["files"]["docker/Dockerfile"]["written"] = older
    record.write_text(json.dumps(document))
    path.write_text(older.replace("EXPOSE 8080", "EXPOSE 9090"))
    (shape.root / "Dockerfile").unlink()  # removed in the meantime
    done = shape.init("--upgrade", "--yes")
    assert done.code == 0, done.all
    assert path.read_text() == new.replace("EXPOSE 8080", "EXPOSE 9090")
    assert "nothing to change" in shape.init("--upgrade", "--yes").err


def test_an_upgrade_in_conflict_with_an_edit_is_named_and_changes_nothing(shape: Repository) -> None:
    shape.init("--yes")
    path, record = shape.root / "docker/Dockerfile", shape.root / "docker/.buildkit-tasks.json"
    document = json.loads(record.read_text())
    document["files"]["docker/Dockerfile"]["written"] = path.read_text().replace(
        "ARG PROFILE=release", "ARG PROFILE=old"
    )
    record.write_text(json.dumps(document))
    path.write_text(path.read_text().replace("ARG PROFILE=release", "ARG PROFILE=mine"))
    done = shape.init("--upgrade", "--yes")
    assert "kept docker/Dockerfile: your edits conflict" in done.err
    assert "ARG PROFILE=mine" in path.read_text()


def test_compile_files_of_an_earlier_version_are_reported_until_the_upgrade(shape: Repository) -> None:
    shape.init("--yes")
    shape.compose()
    path, record = shape.root / "docker/compile.rs", shape.root / "docker/.buildkit-tasks.json"
    assert "earlier version" not in shape.init("--check").err
    new, older = path.read_text(), "// buildkit-tasks: an earlier version\n"
    path.write_text(older)
    assert "earlier version" not in shape.init("--check").err  # an edit of the user's
    document = json.loads(record.read_text())
    document["files"]["docker/compile.rs"]["sha256"] = hashlib.sha256(older.encode()).hexdigest()
    record.write_text(json.dumps(document))
    done = shape.init("--check")
    assert done.code == 0
    assert "docker/compile.rs is from an earlier version of buildkit-tasks: run `buildkit-tasks init" in done.err
    assert shape.init("--upgrade", "--yes").code == 0
    assert path.read_text() == new
    assert "earlier version" not in shape.init("--check").err


def test_a_check_names_what_a_build_would_lack_and_each_remedy_helps(shape: Repository) -> None:
    shape.init("--yes")
    shape.compose()
    assert shape.init("--check").code == 0
    # the repository grows
    (shape.root / "queries").mkdir()
    (shape.root / "queries/all.sql").write_text("select 1;\n")
    main = shape.root / "src/main.rs"
    main.write_text('const ALL: &str = include_str!("../queries/all.sql");\n' + main.read_text())
    lock = shape.root / "Cargo.lock"
    locked = lock.read_text().replace(' "itoa",\n', ' "itoa",\n "prost-build",\n')
    lock.write_text(locked + '\n[[package]]\nname = "prost-build"\nversion = "0.13.0"\n')
    done = shape.init("--check")
    assert done.code == 66
    assert "docker/Dockerfile.dockerignore: excludes queries/all.sql" in done.err
    assert '(`ARG BUILD_PACKAGES="libprotobuf-dev protobuf-compiler"`)' in done.err
    ignored = shape.root / "docker/Dockerfile.dockerignore"
    ignored.write_text(ignored.read_text() + "!queries/all.sql\n")
    dockerfile = shape.root / "docker/Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + 'ARG BUILD_PACKAGES="libprotobuf-dev protobuf-compiler"\n')
    assert shape.init("--check").code == 0


def test_files_that_init_created_are_not_missed_though_a_source_names_them(shape: Repository) -> None:
    (shape.root / "build.rs").write_text('fn main() { for _ in ["docker", "noxfile.py"] {} }\n')
    shape.init("--yes")
    shape.compose()
    done = shape.init("--check")
    assert done.code == 0, done.all


# ---- bad input


def test_not_a_rust_repository(shape: Repository) -> None:
    (shape.root / "Cargo.toml").unlink()
    done = shape.init("--yes")
    assert done.code == 60
    assert "No Cargo.toml found in" in done.err


def test_a_broken_manifest_is_named_with_its_line(shape: Repository) -> None:
    (shape.root / "Cargo.toml").write_text('[package]\nname = "pantry\n')
    done = shape.init("--yes")
    assert done.code == 61
    assert "error[manifest-invalid]: Cargo.toml, line 2 is not valid TOML." in done.err


def test_composes_own_words_for_a_file_it_cannot_read(shape: Repository) -> None:
    shape.reply("config --format json", stderr="yaml: line 3: mapping values are not allowed\n", code=15)
    done = shape.init("--yes")
    assert done.code == 6
    assert "Compose cannot read docker-compose.yml, line 3." in done.err
    assert "mapping values are not allowed" in done.err


def test_compose_is_missing(shape: Repository) -> None:
    shape.reply("config --format json", stderr="docker: 'compose' is not a docker command.\n", code=1)
    done = shape.init("--yes")
    assert done.code == 17
    assert "The compose plugin is not installed" in done.err


def test_variables_without_a_value_do_not_stop_it(shape: Repository) -> None:
    said = "required variable PG_VERSION is missing a value: set it\n"
    shape.reply("config --format json", stderr=said, code=1, once=True)
    done = shape.init("--dry-run")
    assert done.code == 0, done.all
    assert "+++ b/docker/Dockerfile" in done.out


def test_a_port_that_is_an_unset_variable_does_not_stop_it(shape: Repository) -> None:
    said = 'level=warning msg="The \\"WEB_PORT\\" variable is not set. Defaulting to a blank string."\n'
    shape.reply("config --format json", stderr=f"{said}No port specified: :<empty>\n", code=1, once=True)
    done = shape.init("--dry-run")
    assert done.code == 0, done.all
    assert "compose requires a value for WEB_PORT" in done.err
    shape.reply("config --format json", stderr=f"{said}No port specified: :<empty>\n", code=1)
    refused = shape.init("--dry-run")
    assert "variables without a value: WEB_PORT" in refused.err
    assert "No port specified" in refused.err
    assert "level=warning" not in refused.err


def test_an_env_file_that_compose_wants_is_made_of_the_example_and_goes_with_an_undo(shape: Repository) -> None:
    compose = shape.root / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("postgres:15", "postgres:${PG_VERSION:?set it}"))
    (shape.root / ".env.example").write_text("# which\nPG_VERSION=15\nPG_PASSWORD=\n")
    (shape.root / ".gitignore").write_text(".env\n__pycache__\n")
    shape.git("add", "-A")
    shape.git("commit", "-qm", "two")
    done = shape.init("--yes")
    assert done.code == 0, done.all
    assert "compose requires .env: it will be created from" in done.err
    assert re.search(r"PG_PASSWORD=\S{20,}", (shape.root / ".env").read_text())
    assert "# CARGO_INCREMENTAL=1" in (shape.root / ".env.example").read_text()
    shape.init("--undo", "--yes")
    assert shape.git("status", "--porcelain", "--ignored").replace("!! __pycache__/\n", "") == ""


def test_a_tree_that_cannot_be_written_is_left_as_it_was(shape: Repository) -> None:
    (shape.root / "noxfile.py").symlink_to("/proc/version")
    done = shape.init("--yes")
    assert done.code in (62, 65), done.all
    assert "noxfile.py" in done.err
    assert [line for line in shape.git("status", "--porcelain").splitlines() if "noxfile" not in line] == []


def test_tasks_of_other_tools_are_added_to(shape: Repository) -> None:
    (shape.root / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef greet(c):\n    print('hello')\n")
    (shape.root / "noxfile.py").write_text("import nox\n\n\n@nox.session\ndef mine(session):\n    pass\n")
    assert shape.init("--yes").code == 0
    listed = process.run([process.BIN / "invoke", "--list"], shape.root, shape.environment())
    assert "  greet" in listed.out
    assert "docker.build" in listed.out
    assert process.run([process.BIN / "nox", "--list"], shape.root, shape.environment()).out.count("\n* ") == 2


def test_a_dirty_file_is_named_before_it_is_edited(shape: Repository) -> None:
    compose = shape.root / "docker-compose.yml"
    compose.write_text(compose.read_text() + "# not committed\n")
    done = shape.init("--yes")
    assert "uncommitted changes in docker-compose.yml" in done.err
    shape.init("--undo", "--yes")
    assert compose.read_text().endswith("# not committed\n")


def test_a_repository_behind_a_link_is_adopted_where_it_is(shape: Repository, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(shape.root)
    shape.root = link
    assert shape.init("--yes").code == 0
    assert (tmp_path / "single" / "docker" / "Dockerfile").is_file()
    assert link.is_symlink()


def test_a_record_that_names_a_place_outside_is_refused(shape: Repository) -> None:
    shape.init("--yes")
    record = shape.root / "docker/.buildkit-tasks.json"
    record.write_text(record.read_text().replace('"noxfile.py"', '"../noxfile.py"'))
    done = shape.init("--undo", "--yes")
    assert done.code == 62
    assert (shape.root / "noxfile.py").exists()


def test_the_command_line_has_our_name_and_version() -> None:
    done = process.run([process.BIN / "buildkit-tasks", "--version"], Path("/"))
    assert done.out.startswith("buildkit-tasks 0.")
    assert process.run([process.BIN / "python", "-m", "buildkit_tasks", "--version"], Path("/")).out == done.out


def test_images_that_no_registry_gives_are_put_on_debian_unless_they_are_to_be_kept(shape: Repository) -> None:
    path = shape.root / "Dockerfile"
    path.write_text(path.read_text().replace("debian:bookworm-slim", "debian:trixie-slim"))
    shape.git("commit", "-qam", "two")
    kept = shape.init("--dry-run", "--images", "keep")
    assert "+ARG RUNTIME_IMAGE=debian:trixie-slim" in kept.out
    shape.env["BUILDKIT_TASKS_IMAGES_OFFLINE"] = "always"  # as if no registry responded
    done = shape.init("--yes")
    assert done.code == 0, done.all
    assert "note: images: no registry provides debian:trixie-slim: using rust:1-bookworm" in done.err
    assert "+ARG RUNTIME_IMAGE=debian:bookworm-slim" in done.out
    assert "nothing to change" in shape.init("--upgrade").err
    done = shape.init("--upgrade", "--images", "keep", "--yes")
    assert done.code == 0, done.all
    assert "+ARG RUNTIME_IMAGE=debian:trixie-slim" in done.out
    done = shape.init("--images", "nonsense")
    assert done.code == 33
    assert "--images must be one of auto, keep, bookworm" in done.err


def test_an_image_that_nothing_replaces_is_named_before_the_build(shape: Repository) -> None:
    path = shape.root / "Dockerfile"
    path.write_text(path.read_text().replace("debian:bookworm-slim", "example.org/base:1"))
    shape.env["BUILDKIT_TASKS_IMAGES_OFFLINE"] = "always"
    done = shape.init("--dry-run")
    assert "check: images: no registry provides example.org/base:1, and no replacement is available" in done.err
    assert "+ARG RUNTIME_IMAGE=example.org/base:1" in done.out


def test_a_compose_file_without_a_rust_service_names_the_programs(shape: Repository) -> None:
    (shape.root / "Dockerfile").unlink()
    (shape.root / "docker-compose.yml").write_text("services:\n  db:\n    image: postgres:15\n")
    shape.compose()
    done = shape.init("--dry-run")
    assert done.code == 0, done.all
    assert "service pantry: added for programs without a Dockerfile" in done.err
    (shape.root / "docker-compose.yml").write_text("services:\n  web:\n    build: web\n")
    (shape.root / "web").mkdir()
    (shape.root / "web/Dockerfile").write_text("FROM node:22\n")
    shape.compose()
    done = shape.init("--yes")
    assert done.code == 60, done.all
    assert "hint: run `buildkit-tasks init --add pantry` to add a service for a program (available: pantry)" in done.err
    assert shape.init("--add", "pantry", "--yes").code == 0


@pytest.mark.parametrize("shape", ["fleet"], indirect=True)
def test_doctor_says_what_a_build_of_an_adopted_repository_would_lack(shape: Repository) -> None:
    shape.env["XDG_STATE_HOME"] = str(shape.place / "state")
    assert "adopted" not in shape.invoke("doctor").out
    assert shape.init("--yes").code == 0
    shape.compose()
    done = shape.invoke("doctor")
    assert re.search(r"ok +adopted +nothing is missing", done.out), done.all
    (shape.root / "words").mkdir()
    (shape.root / "words/a.txt").write_text("a\n")
    text = 'const A: &str = include_str!("../../../words/a.txt");\n'
    (shape.root / "services/orders/src/more.rs").write_text(text)
    done = shape.invoke("doctor")
    assert "warn  adopted" in re.sub(r" +", "  ", done.out), done.out
    assert "add the line `!words/a.txt`" in done.out
