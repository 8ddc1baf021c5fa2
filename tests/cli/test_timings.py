"""`invoke build --timings` and `invoke history --timings` as a user meets them, docker's side recorded."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Bench
from tests.cli.test_explain import answer


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
    assert "cannot be written: No such file or directory" in done.err


def test_a_page_that_cannot_be_written_does_not_fail_the_build(bench: Bench) -> None:
    answer(bench)
    bench.invoke("build")
    (state,) = (bench.place / "home/.local/state/buildkit-tasks").iterdir()
    (state / "timings").write_text("a file where the pages should be")
    done = bench.invoke("build", "--no-cache", "--timings")
    assert done.code == 0
    assert done.err.count("warning: no timings: ") == 1
