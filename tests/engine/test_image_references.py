"""What we take for an image reference, compared with what the engine takes for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_tasks.core import references
from tests.support import process

pytestmark = [pytest.mark.engine]

PARTS = [
    *("a", "A", "Ab", "a.b", "a_b", "a__b", "a___b", "a-b", "a--b", "-a", "a-", "a.", "A.b", "A_b.c", "a_b.c", "1"),
    *("localhost", "localhost:5", "x.y:50", "[::1]:5", "[::1]", "docker.io", "library", "x:y", "é", "f" * 65),
]
ENDS = [
    *("", ":1", ":", ":a.b-c_D", ":-x", f":{'t' * 128}", f":{'t' * 129}", ":1:2", "@", "@sha256:abc", ": "),
    *(f"@sha256:{'a' * 64}", f"@sha256:{'A' * 64}", f":1@sha256:{'0' * 64}", f"@md5:{'a' * 32}"),
    f"@sha512:{'b' * 128}",
]
PATHS = st.lists(st.sampled_from(PARTS), max_size=3).map("/".join)
REFERENCES = st.builds(str.__add__, PATHS, st.sampled_from(ENDS))


@settings(max_examples=5, deadline=None)
@given(texts=st.lists(REFERENCES.filter(lambda text: text.strip()), min_size=200, max_size=200))
def test_a_reference_is_what_the_engine_takes_for_one(texts: list[str]) -> None:
    done = process.run(["docker", "image", "inspect", "--format", "there", "--", *texts], Path("/"))
    said = done.err.splitlines() + done.out.split()
    assert len(said) == len(texts)
    # the lines are in the order of the texts: no image has one of these names
    expected = [text for text, line in zip(texts, said, strict=True) if "No such image" in line]
    assert [text for text in texts if references.valid(text)] == expected
