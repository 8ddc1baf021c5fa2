"""`invoke explain` and `invoke history` from the user's perspective, with a recording docker."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.cli.conftest import Bench, log, solve

RUN = "sha256:run"
STEP = "[api compile 1/1] RUN --mount=type=secret,id=ca cargo build"
TIMES = {"started": "2026-01-01T00:00:00Z", "completed": "2026-01-01T00:00:02.500000000Z"}


def database(bench: Bench) -> Path:
    (found,) = (bench.place / "home/.local/state/buildkit-tasks").glob("*/history.db")
    return found


def answer(bench: Bench, *, cached: bool = False) -> None:
    """Set what buildx reports about the next builds, with a step that reads the whole context."""
    file = bench.root / "docker/Dockerfile"
    file.write_text(
        file.read_text().replace("RUN --mount=type=secret", "RUN --mount=target=/context --mount=type=secret")
    )
    step = {"digest": RUN, "name": STEP, **TIMES, "cached": cached}
    lines = (
        []
        if cached
        else [log(RUN, "   Compiling api v0.1.0 (/build/2-a/src/services/api)\nbuildkit-tasks: fresh 390\n")]
    )
    bench.reply(
        "buildx bake",
        stderr=solve({"vertexes": [step]}, *lines),
        metadata={n: {"containerimage.digest": f"sha256:{n}"} for n in ("api", "worker")},
    )


def test_nothing_was_built_yet(bench: Bench) -> None:
    for words in (["explain"], ["explain", "--next"], ["history"], ["history", "--html"]):
        done = bench.invoke(*words)
        assert done.code == 95
        assert "error[history-missing]: The history contains no builds of this checkout." in done.err


def test_an_edit_is_named_after_and_before(bench: Bench) -> None:
    answer(bench)
    assert bench.invoke("build").code == 0
    (bench.root / "main.rs").write_text("fn main() {}\n")
    predicted = bench.invoke("explain", "--next")
    assert predicted.code == 0, predicted.err
    assert "will run  compile: RUN cargo build  (docker/Dockerfile:10)" in predicted.out
    assert bench.invoke("build").code == 0
    done = bench.invoke("explain")
    for text in (predicted.out, done.out):
        assert "main.rs was added" in text
        assert "compared with build 1" in text
        assert max(map(len, text.splitlines())) <= 80
    assert "first ran compile: RUN cargo build  (docker/Dockerfile:10, 2.5 s)" in done.out
    assert "crates: 1 compiled, 390 reused" in done.out
    first = bench.invoke("explain", "--build", "1", "--service", "api")
    assert "the history contains no earlier build of api" in first.out
    assert "worker" not in first.out


def test_json_has_everything_and_nothing_else(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    (bench.root / "main.rs").write_text("fn main() {}\n")
    bench.invoke("build")
    done = bench.invoke("explain", "--json")
    content = json.loads(done.out)
    assert content["schema"] == 1
    service = content["explain"]["services"][0]
    assert service["causes"] == [{"kind": "file", "subject": "main.rs", "text": "main.rs was added", "certain": True}]
    assert service["step"]["line"] == 10
    assert done.err == ""
    assert json.loads(bench.invoke("explain", "--next", "--json").out)["next"]["build"] is None


def test_history_lists_builds_within_80_columns(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    bench.invoke("build", "--service", "api,worker", "--no-incremental", "--profile", "release")
    answer(bench, cached=True)
    bench.invoke("build")
    done = bench.invoke("history")
    rows = done.out.splitlines()
    assert [row.split()[0] for row in rows] == ["build", "1", "2", "3"]
    assert max(map(len, rows)) <= 80
    builds = json.loads(bench.invoke("history", "--json", "--last", "2").out)["builds"]
    assert [b["id"] for b in builds] == [3, 2]
    assert builds[1]["command"] == "build --service api,worker --profile release --no-incremental"
    assert builds[0]["crates"] == {"compiled": [], "fresh": None}


def test_history_lists_the_builds_of_a_service(bench: Bench) -> None:
    answer(bench)
    for services in ("api", "worker", "api,worker"):
        assert bench.invoke("build", "--service", services).code == 0

    def listed(*words: str) -> list[int]:
        done = bench.invoke("history", "--json", *words)
        assert done.code == 0, done.err
        return [build["id"] for build in json.loads(done.out)["builds"]]

    assert listed("--service", "worker") == [3, 2]
    assert listed("--service", "work*", "--last", "1") == [3]
    assert listed("--service", "api,worker") == listed("-s", "api", "-s", "worker") == [3, 2, 1]
    done = bench.invoke("history", "--service", "workr")
    assert "No build in the history matches the service 'workr'. Did you mean worker?" in done.err
    assert done.code == bench.invoke("build", "--service", "workr").code
    assert bench.invoke("history", "--last", "-1").code == 33


def test_no_value_of_an_argument_is_kept(bench: Bench) -> None:
    config = json.loads(next(r["stdout"] for r in bench.replies if r["match"] == "config --format json"))
    config["services"]["api"]["build"]["args"]["TOKEN"] = "hunter2hunter2"
    (bench.root / "docker/Dockerfile").write_text(
        (bench.root / "docker/Dockerfile").read_text().replace("ARG REBUILD", "ARG REBUILD\nARG TOKEN")
    )
    bench.reply("config --format json", stdout=json.dumps(config))
    answer(bench)
    assert bench.invoke("build").code == 0
    with sqlite3.connect(database(bench)) as db:
        import zlib

        texts = [
            zlib.decompress(data) for (data,) in db.execute("select data from builds union select data from blobs")
        ]
    assert any(b"TOKEN" in text for text in texts)
    assert not any(b"hunter2" in text for text in texts)


def test_a_failed_build_is_listed_but_not_compared_with(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    failed = {"digest": RUN, "name": STEP, **TIMES, "error": "exit code: 101"}
    bench.reply(
        "buildx bake",
        stderr=solve(log(RUN, "error[E0425]: cannot find value\n"), {"vertexes": [failed]}),
        code=1,
    )
    (bench.root / "main.rs").write_text("fn\n")
    assert bench.invoke("build").code == 20
    assert "compile-failed" in bench.invoke("history").out
    assert "main.rs was added" in bench.invoke("explain").out
    answer(bench)
    (bench.root / "main.rs").write_text("fn main() {}\n")
    bench.invoke("build")
    assert "compared with build 1" in bench.invoke("explain").out


def test_a_corrupt_history_is_one_warning_and_starts_again(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    database(bench).write_bytes(b"no database at all" * 100)
    assert bench.invoke("explain").code == 95
    done = bench.invoke("build")
    assert done.code == 0
    assert done.err.count("warning:") == 1
    assert "starting a new build history" in done.err
    assert len(json.loads(bench.invoke("history", "--json").out)["builds"]) == 1


def test_a_locked_history_is_one_warning(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    db = sqlite3.connect(database(bench), isolation_level=None)
    db.execute("begin exclusive")
    done = bench.invoke("build")
    db.execute("rollback")
    db.close()
    assert done.code == 0
    assert done.err.count("warning:") == 1
    assert "this build was not recorded in the history: database is locked" in done.err


def test_a_history_that_cannot_be_written_is_one_warning(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    database(bench).unlink()
    folder = database_folder(bench)
    (folder / "history.db").mkdir()  # root can write everywhere, so use a directory
    done = bench.invoke("build")
    assert done.code == 0
    assert done.err.count("warning:") == 1


def database_folder(bench: Bench) -> Path:
    (found,) = (bench.place / "home/.local/state/buildkit-tasks").iterdir()
    return found


def test_unknown_builds_and_services(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    done = bench.invoke("explain", "--build", "7")
    assert done.code == 95
    assert "Build 7 is not in the history." in done.err
    done = bench.invoke("explain", "--service", "postgres")
    assert done.code == 7
    assert "build 1 built api, worker" in done.err


def test_the_history_may_be_deleted(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    database(bench).unlink()
    assert bench.invoke("build").code == 0
    assert database(bench).is_file()
