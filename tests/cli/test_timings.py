"""`invoke build --timings`, `invoke history --timings` and `invoke history --html`, with a recording docker."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Bench
from tests.cli.test_cache import MOUNTS, mount
from tests.cli.test_explain import answer, database
from tests.support.html_page import Parsed, alone


def pages(bench: Bench) -> list[Path]:
    return sorted((bench.place / "home/.local/state/buildkit-tasks").glob("*/timings/*"))


def test_a_build_writes_its_page_outside_the_tree(bench: Bench) -> None:
    answer(bench)
    before = {path for path in bench.root.rglob("*") if "__pycache__" not in path.parts}
    done = bench.invoke("build", "--timings")
    (page,) = pages(bench)
    assert done.err.splitlines()[-1] == f"timings: {page}"
    assert page.name == "build-1.html"
    assert page.stat().st_mode & 0o777 == 0o600
    assert "cargo build" in page.read_text()
    assert {path for path in bench.root.rglob("*") if "__pycache__" not in path.parts} == before
    folder = page.parent
    for number in range(100, 130):
        (folder / f"build-{number}.html").write_text("")
    done = bench.invoke("build", "--no-cache", "--timings", "--json")
    assert json.loads(done.out)["timings"] == [str(folder / "build-2.html")]
    assert len(pages(bench)) == 20


def test_a_recorded_build_has_a_page(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    assert pages(bench) == []
    done = bench.invoke("history", "--timings")
    assert [done.out.strip()] == list(map(str, pages(bench)))
    done = bench.invoke("history", "--timings", "--build", "1", "--output", "page.html", "--json")
    assert json.loads(done.out) == {"schema": 1, "timings": str(bench.root / "page.html")}
    assert (bench.root / "page.html").read_text() == pages(bench)[0].read_text()
    assert bench.invoke("history", "--build", "1").code == 33
    done = bench.invoke("history", "--timings", "--output", "missing/page.html")
    assert done.code == 33
    assert f"Cannot write {bench.root / 'missing/page.html'}: No such file or directory" in done.err


def test_a_page_that_cannot_be_written_does_not_fail_the_build(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    (state,) = (bench.place / "home/.local/state/buildkit-tasks").iterdir()
    (state / "timings").write_text("a file where the pages should be")
    done = bench.invoke("build", "--no-cache", "--timings")
    assert done.code == 0
    assert done.err.count("warning: no timings: ") == 1


def test_the_history_has_a_page(bench: Bench) -> None:
    answer(bench)
    for services in ("api", "api,worker", "worker"):
        assert bench.invoke("build", "--service", services).code == 0
    bench.invoke("history", "--timings", "--build", "2")
    done = bench.invoke("history", "--html")
    page = database(bench).parent / "timings/history.html"
    assert (done.code, done.out.strip()) == (0, str(page))
    assert page.stat().st_mode & 0o777 == 0o600
    alone(page.read_text())
    said = " ".join(Parsed(page.read_text()).texts)
    for words in ("Builds 1 to 3", "build --service api,worker", "No sizes are recorded yet."):
        assert words in said
    assert page.read_text().count('.html">timeline</a>') == page.read_text().count('href="build-2.html"') == 1
    flags = ("--html", "--service", "worker", "--last", "1", "--output", "page.html", "--json")
    assert json.loads(bench.invoke("history", *flags).out) == {"schema": 1, "html": str(bench.root / "page.html")}
    text = (bench.root / "page.html").read_text()
    assert "Build 3 of worker" in text
    assert "There is only one build so far" in text
    assert 'href="build-' not in text  # pages of individual builds are in another directory
    done = bench.invoke("history", "--html", "--output", "missing/page.html")
    assert done.code == 33
    assert "hint: run `invoke history --html --output FILE` with a writable path" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--html", "--timings"], "--html and --timings cannot be combined."),
        (["--html", "--build", "1"], "--build has an effect only with --timings."),
        (["--timings", "--last", "3"], "--last has an effect only with the list or --html."),
        (["--timings", "--service", "api"], "--service has an effect only with the list or --html."),
        (["--output", "x.html"], "--output has an effect only with --html or --timings."),
    ],
)
def test_flags_without_an_effect_are_refused(bench: Bench, words: list[str], said: str) -> None:
    done = bench.invoke("history", *words)
    assert done.code == 33
    assert said in done.err


def test_sizes_are_recorded_when_the_caches_are_listed(bench: Bench) -> None:
    bench.reply("buildx du", stdout="\n".join(MOUNTS) + "\n")
    bench.reply("system df", stdout="")
    assert bench.invoke("cache").code == 0
    assert list((bench.place / "home/.local/state/buildkit-tasks").glob("*/history.db")) == []
    answer(bench)
    before = len(bench.calls)
    bench.invoke("build")
    assert not any("du" in call["argv"] for call in bench.calls[before:])  # the build itself does not list caches
    assert bench.invoke("cache").code == 0
    done = bench.invoke("history", "--html")
    said = " ".join(Parsed(Path(done.out.strip()).read_text()).texts)
    assert "Only one listing so far: target mounts 500.0 MB, cargo registry 50.0 MB." in said
    assert "was 650.0 MB on" in said
    # BuildKit reports 0 B until it has measured a mount that a build has just used
    bench.reply("buildx du", stdout=mount(1, "/shop-target-amd64", "0B") + "\n")
    bench.invoke("cache")
    assert "target mounts 500.0 MB" in Path(bench.invoke("history", "--html").out.strip()).read_text()


def test_a_listing_does_not_wait_for_a_locked_history(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    bench.reply("buildx du", stdout="\n".join(MOUNTS) + "\n")
    with sqlite3.connect(database(bench), isolation_level=None) as db:
        db.execute("begin immediate")
        done = bench.invoke("cache")
        db.execute("rollback")
    assert done.code == 0
    assert "warning" not in done.err
