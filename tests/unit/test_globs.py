"""Patterns in Dockerfile variables, compared with every possible match, and their time."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.dockerfiles import globs, syntax

VALUES = st.text("ab", max_size=8)
PATTERNS = st.text("ab**?", max_size=6)


def matches(pattern: str, text: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(char, char) for char in pattern)
    return re.fullmatch(expression, text) is not None


@given(value=VALUES, pattern=PATTERNS)
def test_the_shortest_and_the_longest_match_are_found(value: str, pattern: str) -> None:
    cuts = range(len(value) + 1)
    starts = [cut for cut in cuts if matches(pattern, value[:cut])]
    ends = [cut for cut in cuts if matches(pattern, value[cut:])]
    for longest in (False, True):
        end = (max if longest else min)(starts, default=0)
        assert globs.without_start(value, pattern, longest=longest) == value[end:]
        start = (min if longest else max)(ends, default=len(value))
        assert globs.without_end(value, pattern, longest=longest) == value[:start]
    pairs = [(start, end) for start in cuts for end in cuts[start:] if matches(pattern, value[start:end])]
    start = min((start for start, _ in pairs), default=-1)
    end = max((end for first, end in pairs if first == start), default=-1)
    expected = f"{value[:start]}X{value[end:]}" if pairs else value
    assert globs.replaced(value, pattern, "X", every=False) == expected


def test_every_match_is_replaced_as_go_does_it() -> None:
    for value, pattern, expected in (
        *(("abab", "a", "XbXb"), ("abab", "*", "X"), ("", "*", "X"), ("ab", "", "XaXbX"), ("aab", "a?", "Xb")),
        *(("banana", "an*", "bX"), ("b", "a", "b")),
    ):
        assert globs.replaced(value, pattern, "X", every=True) == expected


def test_variables_that_double_each_other_and_patterns_of_many_stars_are_quick() -> None:
    began = time.monotonic()
    values = {"A0": "a" * 10}
    for number in range(1, 30):
        values[f"A{number}"] = syntax.expand(f"$A{number - 1}" * 4, values)
    assert max(map(len, values.values())) < 20_000
    assert syntax.expand("${A29%%*a*a*a*a*a*a*b}", values) == values["A29"][: 16 * 1024 + len("${A29%%*a*a*a*a*a*a*b}")]
    assert syntax.expand("${A29/*a*a*a*a*a*b/x}", values).startswith("aaa")
    assert time.monotonic() - began < 5
