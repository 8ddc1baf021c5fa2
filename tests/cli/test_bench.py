"""`invoke bench` without measuring: earlier results, comparisons, and what is refused before anything is built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit_tasks.samples import present
from tests.cli.conftest import Bench
from tests.support import html_page, repositories
from tests.support.bench_document import document, sample, samples

REPOSITORY = Path(__file__).parents[2]


def saved(path: Path, *, ours: tuple[float, ...] = (4.0, 4.2, 4.1), stale: bool = True) -> str:
    path.write_text(present.text(document(samples(ours, stale))))
    return str(path)


def test_an_earlier_result_is_shown_in_every_form(bench: Bench, tmp_path: Path) -> None:
    path = saved(tmp_path / "old.json")
    table = bench.invoke("bench", "--load", path)
    assert table.code == 0, table.all
    assert "one that is stale 0.5 (0.5-0.5) 2 WRONG (3 of 3)" in " ".join(table.out.split())
    assert max(map(len, table.out.splitlines())) <= 80
    markdown = bench.invoke("bench", "--load", path, "--markdown").out
    assert "| case | build | median s |" in markdown
    assert json.loads(bench.invoke("bench", "--load", path, "--json").out)["bench"]["seconds"] == 1234.5
    page = bench.invoke("bench", "--load", path, "--html", "--output", str(tmp_path / "out/report.html"))
    assert page.out.strip() == str(tmp_path / "out/report.html")
    html_page.alone((tmp_path / "out/report.html").read_text())
    assert bench.calls == []


def test_a_regression_ends_with_1(bench: Bench, tmp_path: Path) -> None:
    old, new = saved(tmp_path / "old.json"), saved(tmp_path / "new.json", ours=(8.0, 8.4, 8.2))
    same = bench.invoke("bench", "--load", old, "--compare", old)
    assert same.code == 0, same.all
    worse = bench.invoke("bench", "--load", new, "--compare", old)
    assert worse.code == 1, worse.all
    assert "slower" in worse.out
    changes = json.loads(bench.invoke("bench", "--load", new, "--compare", old, "--json").out)["compare"]["changes"]
    assert [change["verdict"] for change in changes] == ["slower", "slower"]


def test_our_own_wrong_program_is_an_error(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    path.write_text(present.text(document([sample("invoke build", "one line, one service", 0, 1.0, visible=False)])))
    done = bench.invoke("bench", "--load", str(path))
    assert done.code == 29, done.all
    assert "does not contain the latest edit" in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--load", "missing.json"), 33, "Cannot read the benchmark missing.json: No such file or directory."),
        (("--compare", "tasks.py"), 33, "Cannot read the benchmark tasks.py:"),
        (("--resume",), 29, "There is no unfinished benchmark to resume."),
        (("--case", "warm"), 33, "--case 'warm' does not exist."),
        (("--contender", "bazel"), 33, "--contender 'bazel' does not exist."),
        (("--rounds", "0"), 33, "--rounds must be at least 1."),
        (("--output", "x.html"), 33, "--output has an effect only with --html."),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_built(
    bench: Bench, words: tuple[str, ...], code: int, says: str
) -> None:
    done = bench.invoke("bench", *words)
    assert done.code == code, done.all
    assert says in done.err
    assert not [call for call in bench.calls if "build" in call["argv"]]


def test_a_long_run_says_first_how_long_it_takes(bench: Bench) -> None:
    for name in ("docker/Dockerfile", "docker/compile.rs", "docker/cross.sh"):
        (bench.root / name).write_text((REPOSITORY / name).read_text())
    files = {
        "services/Cargo.toml": '[workspace]\nmembers = ["api", "worker"]\n',
        "services/Cargo.lock": repositories.locked("api", "worker"),
        "services/api/src/main.rs": 'fn main() { println!("listening on a port"); }\n',
        "services/worker/src/main.rs": "fn main() {}\n",
        **{f"services/{name}/Cargo.toml": repositories.manifest(name) for name in ("api", "worker")},
    }
    repositories.write(bench.root, files)
    done = bench.invoke("bench", "--case", "line,nothing", "--contender", "classic,cargo")
    assert done.code == 18, done.all
    assert "the benchmark takes about 2 minutes (3 ways of building, 2 cases, 3 rounds)" in done.err
    assert not [call for call in bench.calls if "build" in call["argv"]]
    # nothing is left that could be resumed
    assert bench.invoke("bench", "--resume").code == 29
