"""Why a step ran: from two recorded builds to the causes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.explain import causes, show
from tests.support.recorded import DOCKERFILE, FILES, History, Project

MAIN = "services/api/src/main.rs"
START = Project()
LINE = "RUN --mount=type=bind,target=/context"


def line(old: str, new: str) -> Project:
    assert old in DOCKERFILE
    return replace(START, dockerfile=DOCKERFILE.replace(old, new))


#: The second build, the steps that ran in it, and the causes: kind, subject, certain.
CASES = {
    "file changed": (START.put(MAIN, "fn main() { }\n"), "/compile", {("file", MAIN, True)}),
    "file added": (START.put("services/new.rs", "x"), "/compile", {("file", "services/new.rs", True)}),
    "file removed": (START.put("config/app.toml", None), "/compile", {("file", "config/app.toml", True)}),
    "two files": (
        START.put(MAIN, "1").put("services/common/src/lib.rs", "2"),
        "/compile",
        {("file", MAIN, True), ("file", "services/common/src/lib.rs", True)},
    ),
    "only what the step reads": (
        START.put(MAIN, "1").put("config/app.toml", "b = 2\n"),
        "config",
        {("file", "config/app.toml", True)},
    ),
    "toolchain file": (
        START.put("rust-toolchain", "stable\n"),
        "rust-toolchain setup /compile",
        {("file", "rust-toolchain", True)},
    ),
    "argument": (START.with_args(FEATURES="x"), "/compile", {("argument", "FEATURES", True)}),
    "default of an argument": (line("PROFILE=release", "PROFILE=dev"), "/compile", {("argument", "PROFILE", True)}),
    "argument of the last stage": (START.with_args(BIN="worker"), "--from=compile", {("argument", "BIN", True)}),
    "programs": (START.with_args(BINS="api"), "/compile", {("programs", "BINS", True)}),
    "no-cache by argument": (START.with_args(REBUILD="1"), "/compile", {("no-cache", "--no-cache", True)}),
    "no-cache": (replace(START, no_cache=True), "COPY", {("no-cache", "--no-cache", True)}),
    "line changed": (line("setup", "setup --all"), "setup /compile", {("dockerfile", "Dockerfile:6", True)}),
    "line added": (
        line("WORKDIR /out", "RUN more\nWORKDIR /out"),
        "more /compile",
        {("dockerfile", "Dockerfile:7", True)},
    ),
    "line removed": (line("WORKDIR /out\n", ""), "/compile", {("dockerfile", "Dockerfile", True)}),
    "environment line": (line("HOME=/root", "HOME=/x"), "setup /compile", {("dockerfile", "Dockerfile", True)}),
    "comment": (line(LINE, f"# a comment\n{LINE}"), "/compile", {("lost", "build 1", True)}),
    "other base image": (START.with_args(BASE="rust:2"), "setup", {("base-image", "rust:2", True)}),
    "base image moved": (
        replace(START, bases={**START.bases, "debian:12": "sha256:3"}),
        "--from=compile",
        {("base-image", "debian:12", True)},
    ),
    "base image from elsewhere": (
        replace(START, bases={**START.bases, "debian:12": "registry sha256:3"}),
        "--from=compile",
        {("base-image", "debian:12", False)},
    ),
    "garbage collection": (START, "/compile", {("lost", "build 1", True)}),
    "frontend": (replace(START, frontend="docker/dockerfile:1"), "COPY setup", {("option", "syntax", False)}),
    "base image unknown in both": (replace(START, bases={}), "setup", {("unknown", "", False)}),
    "nothing ran": (START.put(MAIN, "1"), "", set()),
    "other engine": (replace(START, engine="engine-2"), "setup", {("first", "api", True)}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cause_of_a_step(name: str, tmp_path: Path) -> None:
    project, ran, expected = CASES[name]
    history = History(tmp_path)
    history.build(START)
    build = history.build(project, ran)
    (reason,) = causes.reasons(build, history.earlier, history.kept)
    assert {(c.kind, c.subject, c.certain) for c in reason.causes} == expected
    assert (reason.step is not None) == bool(ran)
    text = show.text(build, (reason,), (), 60.0)
    assert all(len(row) <= 80 for row in text.split("\n"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("*.txt\n", "", {("ignore-file", ".dockerignore")}),
        ("", "*.txt\n**/*.txt\n", {("ignore-file", ".dockerignore")}),
        ("*.md\n", "*.rst\n", {("file", "services/common/new.txt")}),
    ],
)
def test_an_ignore_file_is_the_cause_only_of_what_it_rules(
    before: str, after: str, expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    history = History(tmp_path)
    history.build(replace(START, ignore=before.replace("*", "**/*", 1) if before else ""))
    project = (
        START.put("services/common/new.txt", "new\n")
        if "file" in str(expected) and "ignore" not in str(expected)
        else START
    )
    build = history.build(replace(project, ignore=after), "/compile")
    (reason,) = causes.reasons(build, history.earlier, history.kept)
    assert {(c.kind, c.subject) for c in reason.causes} == expected


def test_a_later_step_with_a_change_of_its_own_is_mentioned(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.build(START)
    build = history.build(
        START.put(MAIN, "1").put("rust-toolchain", "x"), "rust-toolchain setup /compile --from=compile"
    )
    (reason,) = causes.reasons(build, history.earlier, history.kept)
    assert [c.subject for c in reason.causes] == ["rust-toolchain"]
    assert [c.subject for c in reason.also] == [MAIN]
    assert len(reason.then) == 3


def test_a_failed_build_is_not_compared_with(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.build(START)
    history.build(START.put(MAIN, "1"), "/compile", outcome="failed", problem="compile-failed")
    build = history.build(START.put(MAIN, "2"), "/compile")
    (reason,) = causes.reasons(build, history.earlier, history.kept)
    assert (reason.compared, [c.text for c in reason.causes]) == (1, [f"{MAIN} changed"])


def test_what_is_not_seen_is_not_guessed(tmp_path: Path) -> None:
    history = History(tmp_path)
    project = replace(START, dockerfile="FROM debian:12\nADD https://example.org/x /x\n")
    history.build(project)
    build = history.build(project, "ADD")
    (reason,) = causes.reasons(build, history.earlier, history.kept)
    assert [(c.kind, c.certain) for c in reason.causes] == [("unknown", False)]
    assert "unknown: the step downloads something itself" in show.text(build, (reason,), (), 0.0)


def test_a_build_whose_steps_nobody_reported(tmp_path: Path) -> None:
    history = History(tmp_path)
    made = history.build(START)
    steps = tuple(replace(step, state="") for step in made.inputs.steps)
    (reason,) = causes.reasons(replace(made, inputs=replace(made.inputs, steps=steps)), [], history.kept)
    assert [c.kind for c in reason.causes] == ["unknown"]


def test_files_that_change_during_a_build_leave_no_certainty(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.build(START, disturbed=True)
    build = history.build(START, "/compile")
    (reason,) = causes.reasons(build, history.earlier, history.kept)
    assert [(c.kind, c.certain) for c in reason.causes] == [("unknown", False)]


def test_files_beyond_the_first_few_are_counted(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.build(START)
    project = START
    for number in range(30):
        project = project.put(f"services/{number}.rs", "x")
    build = history.build(project, "/compile")
    text = show.text(build, causes.reasons(build, history.earlier, history.kept), (), 0.0)
    assert "and 22 more causes (--json lists them)" in text
    assert FILES["config/app.toml"]
