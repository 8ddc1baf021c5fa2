"""The benchmark's report: the JSON schema, Markdown and the HTML page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from buildkit_tasks.samples import page, present, schema
from buildkit_tasks.samples.catalogue import BEFORE, CASE_BY_KEY, OURS
from tests.bench import report
from tests.support import html_page
from tests.support.bench_document import LINE, document, sample, samples

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_schema_is_current() -> None:
    assert (REFERENCE / "bench.schema.json").read_text() == schema.schema(), "run nox -s reference"


def test_a_document_fits_the_schema() -> None:
    found = json.loads(schema.schema())
    jsonschema.Draft202012Validator.check_schema(found)
    jsonschema.validate(json.loads(present.text(document())), found)


@pytest.mark.parametrize("broken", [{"seconds": "long"}, {"extra": 1}, {"samples": [{"case": LINE}]}])
def test_another_document_does_not(broken: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(present.text(document(**broken))), json.loads(schema.schema()))


def test_rows_are_computed_from_the_samples() -> None:
    content = document()
    assert [row.__dict__ for row in present.rows(content)] == content["rows"]


def test_markdown_names_what_is_wrong_missing_and_noisy() -> None:
    content = document()
    text = present.markdown(content, present.rows(content))
    assert f"| {LINE} | one that is stale | 0.5 | 0.5-0.5 | 3 | 2 | 3 of 3 WRONG | WRONG |" in text
    assert "- cargo-chef: not measured, because error: could not find `cargo-chef` in registry" in text
    assert "- 3 samples of 15" not in text
    assert "- 1 sample of 15: taken while other processes ran" in text
    assert "- cache mounts and layers: layers 5.0 MB, ours 1.0 GB" in text
    assert "cpus 2; memory_gb 8" in text


def test_a_contender_that_was_excluded_later_is_not_called_unmeasured() -> None:
    notes = present.notes(document(left_out={"classic": "error: no space", "sccache": "no crate"}))
    assert notes[0] == "classic: excluded after 6 samples, because error: no space"
    assert notes[1] == "sccache: not measured, because no crate"


def test_notes_say_what_the_numbers_in_parentheses_are_and_what_a_first_build_reruns() -> None:
    cold = CASE_BY_KEY["cold"].title
    notes = "\n".join(present.notes(document()))
    assert "in parentheses after a ratio: the range of the ratios (from 6 rounds: their 95% confidence" in notes
    assert "first build" not in notes
    once = "\n".join(present.notes(document([sample(OURS, cold, 0, 20.0), sample(BEFORE, cold, 0, 60.0)])))
    assert "in parentheses" not in once
    assert f"{BEFORE}, first build: runs every step again" in once


def html(**more: Any) -> str:
    content = document(**more)
    return page.html(content, present.rows(content), present.notes(content), "shop")


def test_the_page_stands_alone_and_shows_every_figure() -> None:
    text = html()
    html_page.alone(text)
    parsed = html_page.Parsed(text)
    words = " ".join(parsed.texts)
    for shown in ("invoke build", "classic", "WRONG", "4.10 s", "0.17", "cargo-chef", "26.1.5", "edited: api"):
        assert shown in words
    labels = [tag["aria-label"] or "" for tag in parsed.named("div") if tag.get("role") == "img"]
    assert len(labels) == 2
    assert labels[0].startswith(f"{LINE}: invoke build 4.10 s, classic 24.1 s")
    assert len([tag for tag in parsed.named("span") if tag.get("class") == "dot"]) == 15


def test_a_run_with_one_round_has_no_dots() -> None:
    text = html(samples=[s.__dict__ for s in samples((4.0,))])
    assert 'class="dot"' not in text


def test_hostile_names_are_escaped() -> None:
    hostile = html_page.HOSTILE
    taken = [sample(OURS, hostile, 0, 1.0), sample(hostile, hostile, 0, 2.0)]
    content = document(taken, left_out={hostile: hostile}, facts={"engine": hostile})
    text = page.html(content, present.rows(content), present.notes(content), hostile)
    html_page.alone(text.replace("//x.example", ""))
    assert "<script" not in text
    assert "onerror=alert" not in text.replace("onerror=alert(1)&gt;", "")


# ---- the README's table


def test_the_readme_gets_a_table_of_the_cases_that_were_measured() -> None:
    text = f"one\n{report.BEGIN}\nold\n{report.END}\ntwo\n"
    made = report.readme(text, document())
    assert made == (
        f"one\n{report.BEGIN}\n| case | invoke build | classic |\n|---|---|---|\n"
        "| one line, one service | **4.1** | 24.1 (0.17) |\n"
        f"| one line in a shared crate, all | **8.2** | 109.0 (0.08) |\n{report.END}\ntwo\n"
    )


def test_the_readme_has_a_place_for_the_table() -> None:
    text = (REFERENCE.parents[1] / "README.md").read_text()
    assert text.index(report.BEGIN) < text.index(report.END)
