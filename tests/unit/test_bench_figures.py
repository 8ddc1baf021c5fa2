"""The benchmark's figures: ratios within rounds, intervals, "no difference", WRONG, and comparing two runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildkit_tasks.bench import source_text
from buildkit_tasks.samples import compare, figures
from buildkit_tasks.samples.catalogue import COLD, PLAIN
from buildkit_tasks.samples.figures import Row, Sample

OURS, OTHER = "invoke build", "classic"


def samples(ours: list[float], other: list[float], visible: bool | None = True) -> list[Sample]:
    pairs = enumerate(zip(ours, other, strict=True))
    return [
        sample
        for number, (mine, theirs) in pairs
        for sample in (
            Sample(OURS, "one line", number, mine, 1, True),
            Sample(OTHER, "one line", number, theirs, 2, visible),
        )
    ]


def row(ours: list[float], other: list[float], visible: bool | None = True) -> Row:
    return figures.rows(samples(ours, other, visible), OURS)[1]


def test_ratios_are_taken_within_a_round() -> None:
    found = row([1.0, 10.0, 100.0], [2.0, 20.0, 200.0])
    assert (found.ratio, found.low, found.high) == (0.5, 0.5, 0.5)
    assert figures.verdict(found) == "0.50 (0.50-0.50)"
    assert (found.median, found.least, found.most, found.samples, found.crates) == (20.0, 2.0, 200.0, 3, "2")


def test_the_interval_is_the_same_in_every_run_and_contains_the_median() -> None:
    values = [0.8, 0.9, 1.0, 1.1, 1.3, 0.95, 1.05]
    low, high = figures.interval(values)
    assert (low, high) == figures.interval(values)
    assert 0.8 <= low <= 1.0 <= high <= 1.3
    narrow = figures.interval([0.99, 1.0, 1.01] * 9)
    assert narrow[1] - narrow[0] < high - low


@pytest.mark.parametrize(
    ("ours", "other", "says"),
    [
        ([4.0, 4.1, 3.9], [20.0, 21.0, 19.0], "0.20 (0.20-0.21)"),
        ([10.0, 12.0, 9.0], [10.5, 10.0, 11.0], "no difference, 0.95 (0.82-1.20)"),
        ([10.0, 10.1, 10.2], [10.4, 10.4, 10.4], "no difference, 0.97 (0.96-0.98)"),
        ([10.0], [10.3], "no difference, 0.97"),
        ([10.0], [20.0], "0.50"),
        # few rounds: the range of the ratios, and a wider threshold
        ([9.2, 9.2, 9.2], [10.0, 10.0, 10.0], "no difference, 0.92 (0.92-0.92)"),
        ([9.2] * 6, [10.0] * 6, "0.92 (0.92-0.92)"),
        ([5.0, 6.0, 7.0, 8.0, 9.0], [10.0] * 5, "0.70 (0.50-0.90)"),
        ([9.2], [10.0], "no difference, 0.92"),
    ],
)
def test_a_difference_needs_an_interval_without_1(ours: list[float], other: list[float], says: str) -> None:
    assert figures.verdict(row(ours, other)) == says


@pytest.mark.parametrize(
    ("ours", "other", "enough"),
    [
        ([8.0, 8.0], [110.0, 111.0], True),
        ([8.0], [110.0], False),  # one round is not enough
        ([8.0, 8.0], [20.0, 20.0], False),  # cheap to measure
        ([60.0, 60.0], [110.0, 110.0], False),  # too close
        ([8.0, 20.0], [110.0, 110.0], False),  # too different
    ],
)
def test_long_builds_far_from_1_need_two_rounds(ours: list[float], other: list[float], enough: bool) -> None:
    found = samples(ours, other)
    assert figures.decided(found, "one line", OTHER) == enough
    assert not figures.decided(found, "one line", OURS)


def test_an_identical_contender_is_no_difference() -> None:
    assert figures.verdict(row([5.0, 7.0, 6.0], [5.0, 7.0, 6.0])) == "no difference, 1.00 (1.00-1.00)"


def test_a_program_without_its_edit_is_wrong_however_fast() -> None:
    found = row([10.0, 10.0], [0.1, 0.1], visible=False)
    assert found.wrong
    assert figures.verdict(found) == "WRONG"
    assert found.correct == "2 of 2 WRONG"
    assert "| WRONG |" in figures.markdown([found])


def test_a_comment_needs_no_edit_in_the_program() -> None:
    assert row([1.0], [2.0], visible=None).correct == ""


# ---- two runs


def document(seconds: dict[tuple[str, str], list[float]], **facts: Any) -> dict[str, Any]:
    found = [
        {"contender": who, "case": case, "round": number, "seconds": value, "visible": True}
        for (case, who), values in seconds.items()
        for number, value in enumerate(values)
    ]
    return {"facts": {"cpus": 2, **facts}, "samples": found}


STEADY = {("line", "classic"): [20.0, 20.2, 20.1], ("shared", "classic"): [100.0, 101.0, 99.0]}
OLD = document({("line", OURS): [4.0, 4.2, 4.1], **STEADY})


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ([4.1, 4.3, 4.0], "same"),
        ([4.3, 4.4, 4.4], "same"),  # less than half a second
        ([8.0, 8.2, 8.1], "slower"),
        ([3.0, 9.0, 5.0], "same"),  # too noisy
        ([2.0, 2.1, 2.0], "faster"),
        ([4.9], "same"),  # a single sample needs a larger difference
        ([8.0], "slower"),
    ],
)
def test_only_real_changes_count(now: list[float], verdict: str) -> None:
    found = compare.compare(OLD, document({("line", OURS): now, **STEADY}), OURS)
    assert [c.verdict for c in found.changes] == [verdict]
    assert bool(found.regressions) == (verdict == "slower")


def test_a_slower_machine_is_not_a_regression() -> None:
    slow = {key: [2 * second for second in values] for key, values in STEADY.items()}
    found = compare.compare(OLD, document({("line", OURS): [8.0, 8.4, 8.2], **slow}, cpus=1), OURS)
    assert found.drift == pytest.approx(2.0, rel=0.02)
    assert [c.verdict for c in found.changes] == ["same"]
    assert found.differing == ("cpus: 2 before, 1 now",)


def test_a_program_that_lacks_its_edit_only_now_is_a_regression() -> None:
    new = document({("line", OURS): [4.0, 4.2, 4.1], **STEADY})
    new["samples"][1]["visible"] = False
    assert [c.verdict for c in compare.compare(OLD, new, OURS).regressions] == ["WRONG"]


def test_a_program_that_lacked_its_edit_only_before_is_fixed_however_slow() -> None:
    old = document({("line", OURS): [0.5, 0.5, 0.5], **STEADY})
    old["samples"][1]["visible"] = False
    new = document({("line", OURS): [8.0, 8.0, 8.0], **STEADY})
    found = compare.compare(old, new, OURS)
    assert ([c.verdict for c in found.changes], found.regressions) == (["fixed"], ())
    new["samples"][0]["visible"] = False
    found = compare.compare(old, new, OURS)
    assert ([c.verdict for c in found.changes], found.regressions) == (["still WRONG"], ())


def test_our_own_code_and_wrong_programs_do_not_hide_that_we_became_slower() -> None:
    own: dict[tuple[str, str], list[float]] = {(case, who): [4.0] * 3 for case in "ab" for who in (PLAIN, COLD)}
    wrong: dict[tuple[str, str], list[float]] = {(case, "stale"): [4.0] * 3 for case in "abc"}
    ours: dict[tuple[str, str], list[float]] = {("line", OURS): [4.0] * 3}
    found = {}
    for name, factor in (("old", 1), ("new", 2)):
        doubled = {key: [factor * s for s in values] for key, values in (ours | own | wrong).items()}
        found[name] = document({**doubled, **STEADY})
        for one in found[name]["samples"]:
            one["visible"] = one["contender"] != "stale"
    compared = compare.compare(found["old"], found["new"], OURS)
    assert compared.drift == pytest.approx(1.0)
    assert [c.verdict for c in compared.changes] == ["slower"]


def test_two_runs_with_few_samples_differ_if_all_of_them_do() -> None:
    old = document({("line", OURS): [4.0, 4.1, 4.2, 4.3, 7.0], **STEADY})
    new = document({("line", OURS): [6.9, 8.0, 8.1, 8.2, 8.3], **STEADY})
    (change,) = compare.compare(old, new, OURS).changes
    assert change.verdict == "same"
    assert change.low == pytest.approx(6.9 / 7.0, rel=0.02)


def test_cases_of_only_one_run_are_left_out() -> None:
    assert compare.compare(OLD, document({("cold", OURS): [1.0]}), OURS).changes == ()


@pytest.mark.parametrize("text", ["[]", "{}", '{"bench": {"samples": []}}', '{"bench": {"samples": [{}]}}', "x"])
def test_what_is_not_a_benchmark_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        compare.read(text)


ONE = {"contender": OURS, "case": "line", "round": 0, "seconds": 1.0}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"samples": [{**ONE, "seconds": None}]}, r"samples\[0\].seconds is null"),
        ({"samples": [ONE, {**ONE, "seconds": float("nan")}]}, r"samples\[1\].seconds is not a finite number"),
        ({"samples": [{**ONE, "seconds": -1}]}, "negative"),
        ({"samples": [{**ONE, "seconds": 10**400}]}, "finite"),
        ({"samples": [{**ONE, "busy": "x"}]}, "busy"),
        ({"samples": [{**ONE, "busy": None}]}, "busy"),
        ({"samples": [{**ONE, "memory": "x"}]}, "memory"),
        ({"samples": [{**ONE, "crates": [1]}]}, "crates"),
        ({"samples": [{**ONE, "compile": []}]}, "compile"),
        ({"samples": [{**ONE, "compile": float("inf")}]}, "finite"),
        ({"left_out": []}, "left_out"),
        ({"left_out": {"classic": None}}, "left_out"),
        ({"caches": {"ours": "x"}}, "caches"),
        ({"caches": {"ours": None}}, "caches"),
        ({"seconds": "x"}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"edits": "x"}, "edits"),
        ({"options": [1]}, "options"),
        ({"facts": "x"}, "facts"),
        ({"ended": 1}, "ended"),
    ],
)
def test_an_odd_document_is_refused_with_its_place(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compare.read(json.dumps({"bench": {"samples": [ONE], **more}}))


def test_a_document_is_read_as_it_was_written() -> None:
    assert compare.read(json.dumps({"schema": 1, "bench": OLD})) == OLD


# ---- edits as text


def test_a_comment_is_replaced_by_the_next() -> None:
    once = source_text.comment("fn main() {}\n", "bench-aa")
    assert once == "fn main() {}\n// bench-aa\n"
    assert source_text.comment(once, "bench-bb") == "fn main() {}\n// bench-bb\n"


def test_a_dependency_is_added_and_bumped() -> None:
    crate = {"name": "fnv", "version": "1.0.6", "checksum": "aa"}
    lock = 'version = 4\n\n[[package]]\nname = "api"\nversion = "0.1.0"\n'
    added = source_text.add_dependency("[dependencies]\n", lock, "api", crate)
    assert added[0] == '[dependencies]\nfnv = "=1.0.6"\n'
    bumped = source_text.bump_dependency(*added, {**crate, "version": "1.0.7", "checksum": "bb"})
    assert bumped[0] == '[dependencies]\nfnv = "=1.0.7"\n'
    assert bumped[1] == added[1].replace("1.0.6", "1.0.7").replace('"aa"', '"bb"')
    with pytest.raises(ValueError, match=r"not in Cargo\.lock"):
        source_text.bump_dependency("", lock, crate)
