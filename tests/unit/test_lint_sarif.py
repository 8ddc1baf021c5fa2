"""The format for code scanning: SARIF 2.1.0."""

from __future__ import annotations

import json

from buildkit_tasks.lint import sarif
from buildkit_tasks.lint.catalogue import RULES, Finding
from buildkit_tasks.lint.check import check
from buildkit_tasks.lint.reading import Source

TEXT = """\
FROM rust:1-bookworm
WORKDIR /app
ARG TARGETARCH
# buildkit-tasks: ignore=BT012 one builder only
RUN --mount=type=cache,id=r,target=/usr/local/cargo/registry,sharing=locked \\
    --mount=type=cache,id=t-${TARGETARCH},target=/app/target cargo fetch
"""


def test_two_runs_rules_by_index_places_and_suppressions() -> None:
    theirs = [Finding("DL3008", "warning", "a dir/Dockerfile", 0, "Pin versions.")]
    document = sarif.document(check([Source("a dir/Dockerfile", TEXT)], theirs), "1.2.3")
    assert document == json.loads(json.dumps(document))
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-2.1.0.json")
    ours, hadolint = document["runs"]
    driver = ours["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("buildkit-tasks", "1.2.3")
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    for run in document["runs"]:
        for result in run["results"]:
            assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["level"] in ("error", "warning", "note")
            place = result["locations"][0]["physicalLocation"]
            assert place["artifactLocation"]["uri"] == "a%20dir/Dockerfile"
            assert place["region"]["startLine"] >= 1
    assert [(r["ruleId"], r.get("suppressions")) for r in ours["results"]] == [
        ("BT012", [{"kind": "inSource", "justification": "one builder only"}]),
        ("BT003", None),
    ]
    assert [r["ruleId"] for r in hadolint["results"]] == ["DL3008"]


def test_nothing_found_is_a_run_without_results() -> None:
    document = sarif.document([], "1")
    assert [run["results"] for run in document["runs"]] == [[]]
