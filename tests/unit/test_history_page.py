"""The history page: its structure, hostile names, few and many builds, hit rates, medians and sizes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest

from buildkit_tasks.history.model import Build, Cargo, Crate, ImageRecord, Sizes
from buildkit_tasks.timings import overview, plots, points, scales
from tests.support import many_builds
from tests.support.html_page import HOSTILE, TAGS, Parsed, alone

#: Tags and attributes of the charts that other pages do not have.
MORE = frozenset({"h3", "a", "defs", "g", "use", "title", "circle", "rect", "line", "polyline"})
PLACES = frozenset({"x", "y", "width", "height", "x1", "x2", "y1", "y2", "r", "points"})


def charts(text: str) -> list[str | None]:
    """Return the text of the charts for screen readers."""
    return [tag["aria-label"] for tag in Parsed(text).named("div") if tag.get("role") == "img"]


def rows(text: str) -> list[int]:
    """Return the numbers of the builds in the table."""
    return [int(n) for n in re.findall(r'<a id="build-(\d+)" href="#build-\1">\1</a>', text)]


def test_the_page_stands_alone_and_every_mark_leads_to_a_row() -> None:
    text = overview.html(many_builds.builds(220), "shop", many_builds.sizes(60), pages={219})
    alone(text)
    parsed = Parsed(text)
    assert {tag for tag, _ in parsed.tags} <= TAGS | MORE
    assert len(charts(text)) == 5
    assert all(charts(text))
    assert rows(text) == list(range(220, 0, -1))
    assert len({tag["id"] for _, tag in parsed.tags if "id" in tag}) == sum("id" in tag for _, tag in parsed.tags)
    targets = {str(tag["href"]) for tag in parsed.named("a")}
    assert targets == {f"#build-{n}" for n in range(1, 221)} | {"build-219.html"}
    used = {str(tag["href"])[1:] for tag in parsed.named("use")}
    assert used <= {str(tag.get("id")) for tag in parsed.named("g")}
    assert all(tag.get("tabindex") == "-1" for tag in parsed.named("a") if "id" not in tag and "#" in str(tag["href"]))


def test_coordinates_are_inside_their_charts() -> None:
    text = overview.html(many_builds.builds(150), "shop", many_builds.sizes(40))
    for tag, attributes in Parsed(text).tags:
        places = {name: str(value) for name, value in attributes.items() if name in PLACES and "%" in str(value)}
        if tag in ("use", "rect", "line"):
            shares = {name: float(value.rstrip("%")) for name, value in places.items()}
            assert all(0 <= value <= 100 for value in shares.values())
            assert shares.get("x", 0) + shares.get("width", 0) <= 100.05
            assert shares.get("y", 0) + shares.get("height", 0) <= 100.05


def test_names_from_outside_are_text() -> None:
    made = many_builds.builds(30, (HOSTILE, "api"))
    hostile = [replace(build, command=HOSTILE, problem=HOSTILE if build.problem else "") for build in made]
    sizes = [replace(one, builder=HOSTILE, parts={**one.parts, HOSTILE: 1}) for one in many_builds.sizes(3)]
    text = overview.html(hostile, HOSTILE, sizes, services=[HOSTILE])
    alone(text.replace(f"//{'x.example'}", ""))
    parsed = Parsed(text)
    assert {tag for tag, _ in parsed.tags} <= TAGS | MORE
    assert not {name for _, attributes in parsed.tags for name in attributes if name.startswith("on")}
    assert any("<script>alert(1)</script>" in said for said in parsed.texts)
    assert not set("\u202e\x1b\ud800") & set(text)


def test_without_builds_the_page_says_so() -> None:
    for services, said in (((), "no builds."), (("api",), "no builds of api.")):
        text = overview.html([], "shop", services=services)
        alone(text)
        assert said in " ".join(Parsed(text).texts)
        assert charts(text) == []


def test_one_build_is_shown_and_called_one() -> None:
    text = overview.html(many_builds.builds(1), "shop", many_builds.sizes(1))
    alone(text)
    said = " ".join(Parsed(text).texts)
    assert "There is only one build so far" in said
    assert "Only one listing so far: target mounts 1.3 GB, cargo registry 410.0 MB" in said
    assert rows(text) == [1]
    assert len(charts(text)) == 4


def test_builds_that_recorded_little_have_a_page() -> None:
    bare = [replace(build, seen=(), images=(), cargo=Cargo()) for build in many_builds.builds(5)]
    text = overview.html(bare, "shop")
    said = " ".join(Parsed(text).texts)
    for words in (
        "None of these builds reported how many crates cargo reused.",
        "No steps are recorded for any of these builds.",
        "No image sizes are recorded",
        "No sizes are recorded yet.",
        "compiled crates not recorded",
    ):
        assert words in said
    assert len(charts(text)) == 1


@pytest.mark.parametrize("seconds", [0.0, -5.0, 1e-9, 86_400.0, 1e15, float("inf"), float("nan")])
@pytest.mark.parametrize("began", [0.0, -1e18, 1e18])
def test_odd_values_have_a_page(seconds: float, began: float) -> None:
    images = tuple(ImageRecord("api", "x", "", True, size) for size in (-1, 10**18))
    odd = [replace(build, seconds=seconds, began=began, images=images) for build in many_builds.builds(3)]
    sizes = [Sizes(began, "e", "", {"target": size}, size) for size in (0, 10**18)]
    for builds in (odd, [*many_builds.builds(3), *odd]):
        text = overview.html(builds, "shop", sizes)
        Parsed(text)
        assert "nan" not in text.replace("shop", "")


def test_a_large_history_has_a_page_of_bounded_size() -> None:
    services = [f"{'s' * 290}{n}" for n in range(300)]
    text = overview.html(many_builds.builds(10, services), "shop")
    assert "294 services with smaller images not shown." in text
    assert len(text) < 200_000
    many = [replace(build, id=n) for n, build in enumerate(many_builds.builds(100) * 40)]
    text = overview.html(many, "shop")
    assert "(the newest 3000 of 4000)" in text
    assert len(rows(text)) == 3000


CRATE, OWN = Crate("serde", "1.0.1", None, 1.0), Crate("api", "0.1.0", "services/api", 2.0)


@pytest.mark.parametrize(
    ("cargo", "expected"),
    [
        (Cargo((CRATE, OWN), 0, 390), "cold"),
        (Cargo((CRATE, OWN), 388), "deps"),
        (Cargo((CRATE,), 389), "deps"),
        (Cargo((OWN,), 389), "edit"),
        (Cargo((), 390), "quiet"),
        (Cargo(), "quiet"),  # every step was cached
        (Cargo((CRATE,)), "other"),  # another Dockerfile does not reveal which crates belong to the project
    ],
)
def test_what_a_build_compiled(cargo: Cargo, expected: str) -> None:
    (build,) = many_builds.builds(1)
    assert points.kind_of(replace(build, cargo=cargo)) == expected
    assert points.kind_of(replace(build, cargo=cargo, outcome="failed")) == "failed"


def test_hit_rates_count_what_was_reported() -> None:
    (build,) = many_builds.builds(1)
    known = points.of(replace(build, cargo=Cargo((OWN,), 3)))
    assert (known.compiled, known.reused, known.crate_hits) == (1, 3, 0.75)
    assert points.of(replace(build, cargo=Cargo((OWN,), None, 1))).crate_hits == 0.0
    unknown = points.of(replace(build, cargo=Cargo((OWN,))))
    assert (unknown.compiled, unknown.reused, unknown.crate_hits) == (1, None, None)
    assert points.of(replace(build, cargo=Cargo())).crate_hits is None
    seen = build.seen[0]
    steps = [
        replace(seen, cached=True),
        replace(seen, cached=True),
        seen,
        replace(seen, internal=True),
        replace(seen, name="exporting to image"),
    ]
    counted = points.of(replace(build, seen=tuple(steps)))
    assert (counted.ran, counted.cached) == (1, 2)
    assert points.of(replace(build, seen=())).step_hits is None


def test_medians_are_of_builds_of_the_same_kind() -> None:
    builds = many_builds.builds(60)
    edits = [made.seconds for made in map(points.of, builds) if made.kind == "edit"]
    row = f'{len(edits)}</td><td class="n">{statistics.median(edits):.2f} s</td><td'
    assert row in overview.html(builds, "shop")
    assert points.running([1.0, 9.0, 2.0, 3.0]) == [None, None, 2.0, 2.5]
    assert points.running([float(n) for n in range(20)])[-1] == 15.0
    assert points.median([None, 3.0, 1.0]) == 2.0
    assert points.median([None]) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0], ["0.5 s", "1 s", "2 s"]),
        ([3.0, 40.0], ["2 s", "5 s", "10 s", "20 s", "1 min"]),
        ([0.7, 250.0], ["0.5 s", "1 s", "10 s", "1 min", "5 min"]),
        (
            [0.0, 1e9],
            [
                "0.01 s",
                "0.1 s",
                "1 s",
                "10 s",
                "1 min",
                "10 min",
                "1 h",
                "10 h",
                "1 d",
                "100 d",
                "10,000 d",
                "100,000 d",
            ],
        ),
    ],
)
def test_the_axis_of_durations(values: Sequence[float], expected: Sequence[str]) -> None:
    scale = scales.durations(values)
    assert [label for _, label in scale.marks] == expected
    assert all(0 <= scale.at(value) <= 1 for value in values)


def test_the_axis_of_sizes_starts_at_zero() -> None:
    assert [label for _, label in scales.sizes([3.1e9]).marks] == ["0", "1 GB", "2 GB", "3 GB", "4 GB"]
    assert scales.sizes([]).marks[0] == (0.0, "0")
    assert [list(scales.places(count)) for count in (1, 3, 8)] == [[0], [0, 1, 2], [1, 3, 5, 7]]
    assert list(scales.places(200)) == [25, 54, 83, 112, 141, 170, 199]


def test_a_clock_that_was_set_back_does_not_turn_the_chart_around() -> None:
    text = overview.html(many_builds.builds(2), "shop", many_builds.sizes(5)[::-1])
    assert 'width="-' not in text


def test_sizes_are_those_of_the_builder_that_was_listed_last() -> None:
    here = many_builds.sizes(4)
    there = [replace(one, engine="engine-2", parts={"target": 9_990_000_000_000}) for one in here]
    text = overview.html(many_builds.builds(2), "shop", [*there, *here])
    assert "4 listings from other engines or builders not shown." in text
    assert "9,990" not in text
    assert "10 TB" not in text


def test_other_kinds_of_mounts_are_one_part() -> None:
    sizes = [
        replace(one, parts={"target": 1_000_000, "npm": 2_000_000, "apt": 1_000_000}) for one in many_builds.sizes(2)
    ]
    assert "other mounts: 3.0 MB" in overview.html(many_builds.builds(2), "shop", sizes)


def test_a_service_that_was_not_always_built_has_one_line() -> None:
    def build(number: int, images: dict[str, int]) -> Build:
        records = tuple(ImageRecord(name, name, "", True, size) for name, size in images.items())
        return replace(many_builds.builds(1)[0], id=number, images=records)

    made = [points.of(build(1, {"api": 10})), points.of(build(2, {})), points.of(build(3, {"api": 30, "web": 5}))]
    drawn, left = plots.images(made)
    assert left == 0
    assert drawn.count("<polyline") == 2
    assert "api: 30 B, +20 B" in drawn
    assert "web: 5 B<" in drawn
