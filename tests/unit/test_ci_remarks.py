"""Errors and warnings found in the output of tools, and their formats for CI systems."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.buildlog import remarks
from buildkit_tasks.buildlog.remarks import Remark
from buildkit_tasks.ci import context, formats, job
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World

FILES = {"services/crates/api/src/main.rs", "src/main.rs", "docker/Dockerfile"}
PLACE = remarks.placer([".", "services"], FILES.__contains__)


def read(text: str) -> list[Remark]:
    reader = remarks.Reader(PLACE)
    for line in text.splitlines():
        reader.line(line)
    return list(reader.found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "error[E0425]: cannot find value `x` in this scope\n --> crates/api/src/main.rs:3:5\n  |\n3 | x\n",
            Remark("error", "cannot find value `x` in this scope", "services/crates/api/src/main.rs", 3, 5),
        ),
        (
            "\x1b[1m\x1b[33mwarning\x1b[0m\x1b[1m: unused variable: `y`\x1b[0m\n  \x1b[34m--> \x1b[0msrc/main.rs:7:9\n",
            Remark("warning", "unused variable: `y`", "src/main.rs", 7, 9),
        ),
        (
            "error: this `if` has identical blocks\n   --> /build/shop/src/services/crates/api/src/main.rs:12:1",
            Remark("error", "this `if` has identical blocks", "services/crates/api/src/main.rs", 12, 1),
        ),
        (
            "thread 'tests::adds' panicked at crates/api/src/main.rs:4:9:\nassertion `left == right` failed",
            Remark(
                "error",
                "tests::adds: assertion `left == right` failed",
                "services/crates/api/src/main.rs",
                4,
                9,
                "test",
            ),
        ),
        (
            "thread 'main' (17) panicked at src/main.rs:4:9:\nno",
            Remark("error", "main: no", "src/main.rs", 4, 9, "test"),
        ),
        (
            "Diff in src/main.rs:3:",
            Remark("error", "not formatted with `cargo fmt`", "src/main.rs", 3, 0, "rustfmt"),
        ),
        ("error[E1]: x\n --> /usr/local/cargo/registry/src/index/serde-1.0.0/src/main.rs:1:1", None),
        ("error[E1]: x\n --> ../../../etc/passwd:1:1", None),
        ("error[E1]: x\n --> /etc/passwd:1:1", None),
        ("error: could not compile `api` (bin) due to 1 previous error", None),
        (" --> src/main.rs:1:1", None),
    ],
)
def test_what_tools_say(text: str, expected: Remark | None) -> None:
    assert read(text) == ([expected] if expected else [])


def test_there_is_a_limit() -> None:
    many = "".join(f"error: {n}\n --> src/main.rs:{n}:1\n" for n in range(500))
    assert len(read(many)) == remarks.MOST


def test_github() -> None:
    nasty = Remark("error", "100% wrong\n::add-mask::x", "a,b:c.rs", 3, 5)
    assert formats.github([nasty]) == [
        "::error file=a%2Cb%3Ac.rs,line=3,col=5,title=rustc::100%25 wrong%0A::add-mask::x"
    ]


def test_code_quality() -> None:
    found = json.loads(formats.code_quality([Remark("warning", "m", "src/main.rs", 3, 5)]))[0]
    assert found["location"] == {"path": "src/main.rs", "lines": {"begin": 3}}
    assert (found["severity"], found["check_name"], len(found["fingerprint"])) == ("minor", "rustc", 64)


@given(st.text())
def test_no_text_leaves_its_line_or_its_cell(text: str) -> None:
    for line in formats.github([Remark("error", remarks.clean(text), text)]):
        assert len(line.splitlines()) == 1
    cell = formats.markdown(text)
    assert "|" not in cell.replace("\\|", "")
    assert len(f"x{cell}".splitlines()) == 1


@given(st.lists(st.text()))
def test_any_output_is_read(lines: list[str]) -> None:
    assert len(read("\n".join(lines))) <= remarks.MOST


@pytest.mark.parametrize(
    "name", ["src/main.rs", "a|b.rs", "a`<img src=x>`.rs", "``", "`", "a\n| x | y |\n", "a\\|b", "![x](http://x)", ""]
)
def test_a_name_in_a_summary_is_only_code(name: str) -> None:
    shown = formats.code(name)
    fence = re.match("`+", shown)
    assert fence
    inside = shown[len(fence[0]) : -len(fence[0])]
    assert shown.endswith(fence[0])
    assert fence[0] not in re.findall("`+", inside)  # the only way to end the code is a run of the same length
    assert "\n" not in shown
    assert "|" not in inside  # a bar ends the cell


def test_a_line_without_an_end_is_not_kept() -> None:
    heard: list[str] = []
    lines = job._Lines(heard.append)
    tracemalloc.start()
    for _ in range(20_000):
        lines.feed(b"x" * 1000)
        heard.clear()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    lines.feed(b"\nlast\r\nrest")
    lines.close()
    assert heard[-2:] == ["last", "rest"]


@pytest.mark.parametrize("provider", ["github", "gitlab", ""])
@pytest.mark.parametrize("end", [False, True])
def test_a_section_is_marked_for_the_ci_system_and_its_title_marks_nothing(
    provider: str, end: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    title = "Build\n::add-mask::x\r\x1b[0Ksection_start:1:x"
    line = context.group(context.Context(groups=provider), title, 1.0, end=end)
    Report(World({}, Path("/"), Path("/"))).mark(line)
    shown = capsys.readouterr().err
    assert shown.removesuffix("\n") == line
    assert "\n" not in line
    assert line.count("\x1b[0K") == (2 if provider == "gitlab" else 0)
    section = f"\x1b[0Ksection_{'end' if end else 'start'}:1:"
    assert line.startswith({"github": "::", "gitlab": section, "": ""}[provider])
