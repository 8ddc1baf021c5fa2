"""The parts of a benchmark run: what is chosen, what it needs, its record, its registry, and what builds print."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from buildkit_tasks.bench import machine, needs, output, registry, run, timed
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import Blob, Digest, Tag, reference
from buildkit_tasks.samples import catalogue, store
from buildkit_tasks.samples.catalogue import ALL, BY_KEY, CASE_BY_KEY, CASES, WAYS
from buildkit_tasks.samples.figures import Sample
from tests.support.bench_document import sample

DATA = Path(catalogue.__file__).parents[1] / "data" / "bench"


# ---- what is chosen


def test_cases_and_contenders_are_chosen_by_key() -> None:
    assert catalogue.chosen([], ALL, "--contender") == ALL
    assert catalogue.chosen(["classic,ours", "sccache"], ALL, "--contender") == ("ours", "classic", "sccache")
    with pytest.raises(Problem) as caught:
        catalogue.chosen(["classik"], ALL, "--contender")
    assert caught.value.code == "bad-argument"
    assert "cargo-chef" in str(caught.value.hint)


def test_every_key_is_known_and_every_file_exists() -> None:
    for case in CASES:
        assert set(case.who) <= set(ALL)
    files = {f"{way.file}.Dockerfile" for way in WAYS if way.file}
    assert files == {path.name for path in DATA.iterdir()}
    assert set(catalogue.QUICK) <= set(ALL)
    assert set(catalogue.QUICK_CASES) <= set(CASE_BY_KEY)


def test_every_key_is_documented() -> None:
    page = (DATA.parents[3] / "docs" / "reference" / "bench.md").read_text()
    for key in (*ALL, *CASE_BY_KEY):
        assert f"\n| `{key}` | " in page


def test_first_builds_are_measured_once_for_each_set_of_mounts() -> None:
    cold = [way for way in WAYS if catalogue.takes_part(way, CASE_BY_KEY["cold"], quick=False)]
    assert len({way.family for way in cold}) == len(cold) == len({way.family for way in WAYS})


def test_a_run_of_all_cases_is_estimated_from_the_size_of_the_workspace() -> None:
    small = needs.duration(WAYS, CASE_BY_KEY, 3, 10, quick=False)
    large = needs.duration(WAYS, CASE_BY_KEY, 3, 370, quick=False)
    assert large > 5 * small
    assert needs.duration(WAYS, CASE_BY_KEY, 6, 370, quick=False) > large
    assert needs.duration(WAYS[:1], ("line",), 1, 370, quick=False) < large / 5
    assert needs.words(3599) == "about 60 minutes"


def test_scratch_copies_need_space() -> None:
    ways = [BY_KEY["ours"], BY_KEY["compose"], BY_KEY["classic"]]
    assert needs.space(ways, 10, 1000) - needs.space(ways, 10, 0) == 3000  # two families, and a fresh clone


def test_too_little_disk_space_is_refused(tmp_path: Path) -> None:
    engine = engine_facts.parse({"Driver": "overlay2", "DockerRootDir": str(tmp_path)})
    needs.require_space(engine, 1000, tmp_path)
    with pytest.raises(Problem) as caught:
        needs.require_space(engine, 10**18, tmp_path)
    assert caught.value.code == "disk-full"


# ---- the record


def test_a_killed_run_keeps_its_samples(tmp_path: Path) -> None:
    record = store.Store.start(tmp_path, "bench-00000001", {"rounds": 3})
    record.add(sample("classic", "line", 1, 2.5))
    record.leave_out("sccache", "no crate")
    record.spent(3.5)
    again = store.load(tmp_path)
    assert again is not None
    assert (again.name, again.options, again.samples) == ("bench-00000001", {"rounds": 3}, record.samples)
    assert (again.left_out, again.seconds) == ({"sccache": "no crate"}, 3.5)
    assert again.has("classic", "line", 1)
    assert not again.has("classic", "line", 0)
    again.remove()
    assert store.load(tmp_path) is None


def test_a_line_that_a_kill_cut_off_is_dropped_for_good(tmp_path: Path) -> None:
    record = store.Store.start(tmp_path, "bench-00000001", {})
    record.add(sample("classic", "line", 0, 2.5))
    with record.path.open("a") as file:
        file.write('{"sample": {"contender": "cla')
    again = store.load(tmp_path)
    assert again is not None
    again.add(sample("classic", "line", 1, 3.5))
    last = store.load(tmp_path)
    assert last is not None
    assert [one.seconds for one in last.samples] == [2.5, 3.5]


def test_a_run_whose_first_builds_were_interrupted_continues_with_empty_mounts(tmp_path: Path) -> None:
    cold, ways = CASE_BY_KEY["cold"].title, [BY_KEY["ours"], BY_KEY["classic"], BY_KEY["locked"]]
    record = store.Store.start(tmp_path, "bench-00000001", {})
    record.add(sample("invoke build", cold, 0, 300.0))
    assert not run._has_first_builds(record, ways, ["cold"], quick=False)
    assert run._has_first_builds(record, ways, ["line"], quick=False)
    record.rename("bench-00000002")
    record.leave_out("classic", "no image")
    again = store.load(tmp_path)
    assert again is not None
    assert again.name == "bench-00000002"
    assert run._has_first_builds(again, ways, ["cold"], quick=False)


HEAD = '{"name": "bench-00000001", "options": {}}\n'


@pytest.mark.parametrize(
    "text",
    [
        *("", "x\n", '{"name": 1}\n', HEAD + '{"sample": {"x": 1}}\n'),
        *(f'{{"name": {name}, "options": {{}}}}\n' for name in ('""', "null", '"bench"', '"bench-0000000g"', '"*"')),
        *(HEAD + f'{{"name": {name}}}\n' for name in ('""', "null", '"x"')),
        *(HEAD + f'{{"seconds": {value}}}\n' for value in ("NaN", "[]")),
        HEAD + '{"sample": {"contender": "a", "case": "b", "round": 0, "seconds": null}}\n',
    ],
)
def test_a_broken_record_is_an_error_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / store.FILE).write_text(text)
    with pytest.raises(Problem) as caught:
        store.load(tmp_path)
    assert caught.value.code == "bench-failed"
    assert "delete" in str(caught.value.hint)


# ---- the machine


def test_a_busy_machine_is_named_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    shares = iter([0.9, 0.5, 0.0])
    assert machine.quiet(said.append, "round 1", look=lambda: next(shares))
    assert len(said) == 1
    assert "other processes use 90% of the processors (load " in said[0]
    monkeypatch.setattr(machine, "PATIENCE", -1.0)
    assert not machine.quiet(said.append, "round 1", look=lambda: 0.9)
    assert "samples are marked" in said[-1]
    assert machine.quiet(said.append, "round 1", look=lambda: None)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")
def test_processors_and_memory_are_read() -> None:
    share = machine.busy(0.05)
    assert share is not None
    assert 0 <= share <= 1
    with machine.memory() as used:
        data = os.urandom(50_000_000)
    assert used() is not None
    assert len(data)


# ---- output of builds

PLAIN = """\
#9 [api build 4/4] RUN --mount=type=cache,target=/x     cargo build --release --bin api && cp a b
#9 1.2    Compiling itoa v1.0.15
#9 1.9    Compiling api v0.1.0 (/app/api)
#10 [mail build 4/4] RUN --mount=type=cache,target=/x     cargo build --release --bin mail
#9 DONE 21.3s
#11 [stage-1 2/2] COPY --from=build /service /
#11 DONE 4.0s
#10 DONE 2.2s
"""


def test_cargo_is_told_apart_from_the_engine() -> None:
    assert output.crates(PLAIN) == 2
    assert output.compiling(PLAIN) == pytest.approx(23.5)
    assert output.compiling("#9 CACHED\n") is None


def test_the_reason_of_a_failed_build_is_cargos_own_error() -> None:
    log = (
        "#9 3.1 error: failed to get `fnv` as a dependency\n#9 3.1 Caused by:\nERROR: failed to solve: exit code: 101\n"
    )
    assert timed.last_line(Problem("bench-failed", "x", details=log)) == "error: failed to get `fnv` as a dependency"
    assert timed.last_line(Problem("bench-failed", "x", details="a\nno such image: error\nb")) == "no such image: error"
    assert timed.last_line(Problem("bench-failed", "x")) == "x"


def test_two_builds_are_added() -> None:
    both = timed.Built(1.0, 0.5, 2, 100) + timed.Built(2.0, None, 1, 50)
    assert both == timed.Built(3.0, 0.5, 3, 100)
    assert (timed.Built(1.0) + timed.Built(1.0)).compile is None


# ---- the registry


def test_the_registry_stores_what_our_client_sends(tmp_path: Path) -> None:
    world = World({}, tmp_path, tmp_path)
    with registry.running(tmp_path / "registry") as host:
        client = Client(world, reference(f"{host}/bench/cache"))
        data = os.urandom(3_000_000)
        layer = Blob(Digest.of(data), len(data), lambda: (data,))
        assert client.tags() == ()
        assert client.send(layer)
        assert not client.send(layer)
        text = json.dumps({"schemaVersion": 2, "layers": []}).encode()
        kind = "application/vnd.oci.image.manifest.v1+json"
        client.tag(Tag("one"), Blob(Digest.of(text), len(text), lambda: (text,)), kind)
        assert client.tags() == (Tag("one"),)
    assert not (tmp_path / "registry").exists()


def test_samples_of_an_older_version_are_read(tmp_path: Path) -> None:
    record = store.Store.start(tmp_path, "bench-00000001", {})
    with record.path.open("a") as file:
        file.write(json.dumps({"sample": {"contender": "a", "case": "b", "round": 0, "seconds": 1.0}}) + "\n")
    again = store.load(tmp_path)
    assert again is not None
    assert again.samples == [Sample("a", "b", 0, 1.0)]
