"""The page of a build: its structure, hostile names, times, and the critical path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.core.model import Past
from buildkit_tasks.history.model import Build, Cargo, Crate, Seen, ServiceRecord
from buildkit_tasks.timings import chart, critical, markup, page, timeline
from tests.support.html_page import ATTRIBUTES, HOSTILE, TAGS, Parsed, alone
from tests.support.recorded import History, Project


def step(name: str, began: float, seconds: float | None, at: int | None = None, **more: object) -> Seen:
    return replace(
        Seen(name, seconds is None, seconds, began, at=at, internal=at is None and "exporting" not in name),
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """One service: setup (2), then WORKDIR (3), compile (4), two COPYs into the image (5, 6)."""
    made = History(tmp_path).build(Project(), "/compile")
    seen = (
        step("[internal] load build context", 0.0, 0.5),
        step("[compile 1/3] RUN setup", 0.6, None, 1),
        step("[compile 3/3] RUN --mount=type=cache,target=/build /compile build", 0.6, 9.4, 3, finished=9.5),
        step("[runtime 1/2] COPY --from=compile /out/api /usr/local/bin/", 10.0, 0.4, 4),
        step("[runtime 2/2] COPY config /etc/config", 0.6, 0.2, 5),
        step("exporting to image", 10.5, 1.5),
    )
    crates = (
        Crate("serde", "1.0.1", None, 2.0, 2),
        Crate("common", "0.1.0", "services/common", 3.0, 2),
        Crate("api", "0.1.0", "services/api", 4.5, 2),
    )
    return replace(made, seen=seen, cargo=Cargo(crates, 0, 3, downloaded=1), seconds=12.5, id=7)


def test_the_page_stands_alone_and_has_real_tables(build: Build) -> None:
    text = page.html(build, "shop")
    parsed = Parsed(text)
    assert text.startswith("<!DOCTYPE html>")
    assert {tag for tag, _ in parsed.tags} <= TAGS
    assert {name for _, attributes in parsed.tags for name in attributes} <= ATTRIBUTES
    assert [tag["href"] for tag in parsed.named("link")] == ["data:,"]
    alone(text)
    assert len(parsed.named("h1")) == 1
    assert len(parsed.named("table")) == len(parsed.named("caption")) == 2
    assert {tag.get("scope") for tag in parsed.named("th")} == {"col", "row"}
    assert all(tag["tabindex"] == "0" and tag["aria-label"] for tag in parsed.named("div") if "tabindex" in tag)
    images = [tag for tag in parsed.named("div") if tag.get("role") == "img"]
    assert [bool(tag["aria-label"]) for tag in images] == [True]


def test_the_page_has_the_facts(build: Build) -> None:
    said = " ".join(Parsed(page.html(build, "shop")).texts)
    for words in ("shop: build 7", "12.5 s", "3 compiled", "empty", "1 crate missing", "serde", "services", "◆ yes"):
        assert words in said
    warm = page.html(build, "shop", [Past(3.0, ("api",), False), Past(5.0, ("api",), False), Past(300.0, (), True)])
    assert "2 builds of the same services with a filled target mount took 3.00 s to 5.00 s" in warm
    assert "filled target mount took" not in page.html(
        replace(build, cargo=Cargo(fresh=3)), "shop", [Past(3.0, ("a",), False)]
    )


def test_names_from_outside_are_text(build: Build) -> None:
    services = tuple(replace(service, name=HOSTILE) for service in build.inputs.services)
    inputs = replace(build.inputs, services=services, profile=HOSTILE, commit=HOSTILE, engine_version=HOSTILE)
    crates = tuple(replace(crate, name=HOSTILE, version=HOSTILE) for crate in build.cargo.crates)
    seen = tuple(replace(one, name=f"[{HOSTILE} 1/2] {HOSTILE}", at=None) for one in build.seen)
    hostile = replace(
        build,
        inputs=inputs,
        cargo=replace(build.cargo, crates=crates),
        seen=(*seen, *build.seen),
        command=HOSTILE,
        outcome="failed",
        problem=HOSTILE,
    )
    text = page.html(hostile, HOSTILE)
    parsed = Parsed(text)
    assert {tag for tag, _ in parsed.tags} <= TAGS
    assert {name for _, attributes in parsed.tags for name in attributes} <= ATTRIBUTES
    assert any("<script>alert(1)</script>" in said for said in parsed.texts)
    assert text.encode("utf-8").isascii() is False
    assert not set("\u202e\x1b\ud800") & set(text)


@pytest.mark.parametrize("seen", [(), (Seen("[a 1/1] RUN x", True, None, 0.0),), (Seen("", False, 0.0, 0.0),)])
def test_a_build_without_steps_has_a_page(build: Build, seen: tuple[Seen, ...]) -> None:
    Parsed(page.html(replace(build, seen=seen, cargo=Cargo()), "shop"))
    Parsed(page.html(replace(build, seen=seen), "shop"))


def test_a_large_build_has_a_page_of_bounded_size(build: Build) -> None:
    seen = tuple(step(f"[s{n} 1/1] RUN {'x' * 280}", n / 10, 5.0) for n in range(3500))
    crates = tuple(Crate(f"crate-{n}", "1.0.0", None, n / 10, n % 3500) for n in range(6000))
    text = page.html(replace(build, seen=seen, cargo=Cargo(crates)), "shop")
    assert len(text) < 3_000_000
    assert "(the first 3000 of 6000)" in text


def test_pauses_and_what_ran_at_the_same_time(build: Build) -> None:
    line = timeline.of(build)
    assert [(c.name, c.own, c.pause) for c in line.crates] == [
        ("serde", False, 1.0),
        ("common", True, 1.5),
        ("api", True, 5.0),
    ]
    assert line.span == 12.0
    assert [(round(at, 1), count) for at, count in line.running] == [
        (0.0, 1), (0.5, 0), (0.6, 2), (0.8, 1), (10.0, 1), (10.4, 0), (10.5, 1), (12.0, 0),
    ]  # fmt: skip
    assert timeline.of(replace(build, cargo=Cargo((Crate("api", "1", None, 2.0),)))).crates[0].pause is None


def test_every_step_has_a_state(build: Build) -> None:
    ends: list[tuple[bool, float | None, str]] = [
        (True, None, ""), (False, 1.0, ""), (False, 1.0, "failed"), (False, 1.0, "canceled"), (False, None, ""),
    ]  # fmt: skip
    seen = tuple(Seen("[a 1/1] RUN x", cached, seconds, 0.0, error=error) for cached, seconds, error in ends)
    states = [bar.state for bar in timeline.of(replace(build, seen=seen)).bars]
    assert states == ["cached", "ran", "failed", "canceled", "not finished"]
    text = page.html(replace(build, seen=seen), "shop")
    assert all(f"<td>{state}</td>" in text for state in states)
    assert text.count('class="bar failed') == 1


@pytest.mark.parametrize(
    ("cargo", "expected"),
    [
        (Cargo(), "not used"),
        (Cargo((Crate("a", "1", None, 0.0),), 0, 5), "empty"),
        (Cargo((Crate("a", "1", None, 0.0),), 0), "warm"),
        (Cargo(fresh=5), "warm"),
        (Cargo((Crate("a", "1", None, 0.0),)), "unknown"),
    ],
)
def test_the_target_mount_is_what_the_compile_step_reported(build: Build, cargo: Cargo, expected: str) -> None:
    assert f"<dt>Target mount</dt><dd>{expected}<small>" in page.html(replace(build, cargo=cargo), "shop")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((), []),
        ([step("[c 1/1] RUN a", 0, None, 3)], []),
        # config is copied after the compile step, but nothing waits for it
        ([step("RUN", 0, 5, 3), step("COPY", 4.0, 2.0, 5), step("COPY", 5.1, 0.3, 4)], [1]),
        ([step("RUN", 0, 5, 3), step("COPY", 5.1, 0.3, 4), step("exporting to image", 5.5, 1)], [0, 1, 2]),
        # no step waits for another image's export
        ([step("RUN", 0, 5, 3), step("[b] exporting to image", 4, 1.09), step("COPY", 5.1, 0.3, 4)], [0, 2]),
        ([step("load", 0, 0.5), step("load more", 0.5, 0.5), step("RUN", 1.0, 5, 3)], [0, 1, 2]),
        ([step("RUN", 0, 5, 3), step("COPY", 1, 9, 4)], [1]),  # it started before the other step ended
    ],
)
def test_the_critical_path(seen: Sequence[Seen], expected: list[int], build: Build) -> None:
    assert sorted(critical.path(replace(build, seen=tuple(seen)))) == expected


def test_a_step_of_several_services_has_all_their_names(build: Build) -> None:
    (one,) = build.inputs.services
    both = replace(build.inputs, services=(one, ServiceRecord("web.ui", "Dockerfile", {}, one.steps[:4], {})))
    seen = (
        step("[web_ui compile 3/3] RUN x", 0, 1, 3),
        step("[web_ui] exporting to image", 1, 1),
        step("[api internal] load", 0, 1),
    )
    bars = timeline.of(replace(build, inputs=both, seen=seen)).bars
    assert [(bar.services, bar.stage, bar.kind) for bar in bars] == [
        (("api", "web.ui"), "compile", "run"),
        (("web.ui",), "", "export"),
        (("api",), "internal", "internal"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (0.0, "0.00 s"), (9.994, "9.99 s"), (41.23, "41.2 s"), (59.96, "1:00 min"), (364.4, "6:04 min")],
)
def test_seconds(value: float | None, expected: str) -> None:
    assert markup.seconds(value) == expected


@pytest.mark.parametrize("span", [0.001, 0.5, 1, 6.37, 12, 69, 299, 301, 3600, 86_400, 10_000_000])
def test_the_axis_has_few_marks(span: float) -> None:
    assert 1 <= span / chart.ticks(span) <= 7.001
