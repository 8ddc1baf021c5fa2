"""Which cargo command of a Dockerfile runs: `sh` itself is asked, and compared."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.survey import cargo_command
from tests.support import process

WORDS = st.sampled_from(["", "release", "dev", "a b"])
TESTS = st.sampled_from(
    ['"$P" = {}', "$P != {}", '-n "$P"', '-z "$P"', '"${{P}}" == {}', '"x$P" = {}', '"$P" = "$Q"', "! -n {}"]
)


@given(WORDS, WORDS, WORDS, TESTS, st.booleans(), st.sampled_from(["[ {} ]", "test {}", "[[ {} ]]"]))
def test_an_if_takes_the_branch_that_bash_takes(
    p: str, q: str, literal: str, test: str, inverse: bool, form: str
) -> None:
    condition = form.format(test.format(shlex.quote(literal)))
    script = f"if {condition}; then echo yes; else echo no; fi"
    if inverse:
        script = f"if [ a != a ]; then echo never; else {script}; fi"
    taken = cargo_command.branches_taken(syntax.expand(script, {"P": p, "Q": q}, keep=True))
    if "if " in taken:
        return  # left as it is: nothing was decided
    theirs = process.run(["bash", "-c", script], Path.cwd(), {"P": p, "Q": q})
    if theirs.err:
        return  # not a test that bash accepts, such as an unquoted word with a blank
    assert process.ok(["bash", "-c", taken], Path.cwd()).out == theirs.out, taken


@pytest.mark.parametrize(
    ("script", "profile"),
    [
        ('if [ "$PROFILE" = "release" ]; then cargo build --release; else cargo build; fi', "release"),
        ('if [ "$PROFILE" = "dev" ]; then cargo build; else cargo build --release; fi', "release"),
        ('if [ "$PROFILE" != "release" ]; then cargo build --release; else cargo build; fi', "dev"),
        ('cargo build --profile "$PROFILE"', "release"),
    ],
)
def test_the_profile_is_that_of_the_branch_that_runs(script: str, profile: str) -> None:
    items = list(syntax.instructions(f"FROM rust\nARG PROFILE=release\nRUN {script}\n"))
    assert cargo_command.asked(items, {"PROFILE": "release"}).profile == profile


def test_an_argument_with_an_empty_default_is_empty() -> None:
    items = list(
        syntax.instructions('FROM rust\nARG FEATURES=""\nRUN cargo build --release --features "${FEATURES}"\n')
    )
    assert cargo_command.asked(items, {"FEATURES": ""}).features == ()
