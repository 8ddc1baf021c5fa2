"""Our reading of Dockerfiles against BuildKit's own parser, on generated files."""

from __future__ import annotations

import dockerfile as buildkit  # type: ignore[import-not-found]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_tasks.dockerfiles.document import Dockerfile

WORD = st.text("abcAB01._-/:@=$'\"\\é", min_size=1, max_size=8)
FLAG = st.sampled_from(["--from=a", "--mount=type=cache,target=/t", "--platform=linux/amd64", "--link", "--chown=1:1"])
BLANK = st.sampled_from([" ", "  ", "\t", " \\\n ", " \\\n# note\n ", " \\\n\n  "])


@st.composite
def lines(draw: st.DrawFn) -> str:
    """One instruction, perhaps over several lines."""
    keyword = draw(st.sampled_from(["FROM", "run", "Copy", "ARG", "env", "WORKDIR", "LABEL", "user"]))
    parts = draw(st.lists(st.tuples(BLANK, WORD), min_size=1, max_size=4))
    flags = draw(st.lists(FLAG, max_size=2)) if keyword.upper() in ("RUN", "COPY", "FROM") else []
    text = keyword + "".join(f" {flag}" for flag in flags) + "".join(f"{blank}{word}" for blank, word in parts)
    return text.rstrip("\\")


@st.composite
def files(draw: st.DrawFn) -> str:
    """A Dockerfile: a BOM perhaps, comments, either kind of line end."""
    body = draw(st.lists(st.one_of(lines(), st.sampled_from(["", "# a comment", "  # another", "#"])), max_size=6))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = "\n".join(["FROM scratch", *body, ""])
    return ("\ufeff" if draw(st.booleans()) else "") + text.replace("\n", end)


@settings(max_examples=600, deadline=None)
@given(text=files())
def test_instructions_their_lines_and_flags_are_those_of_buildkits_parser(text: str) -> None:
    try:
        expected = buildkit.parse_string(text)
    except buildkit.GoParseError:
        return  # the build fails with BuildKit's words, whatever we read
    found = Dockerfile.read(text).items
    assert [(i.keyword.lower(), i.line, i.end) for i in found] == [
        (c.cmd.lower(), c.start_line, c.end_line) for c in expected
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_here_document_is_no_instruction(end: str) -> None:
    text = end.join(
        ["FROM a AS x", "RUN <<A cat <<-'B' >/b", "FROM not", "A", "\tFROM neither", "\tB", "COPY --from=x a b", ""]
    )
    assert [(i.keyword, i.line, i.end) for i in Dockerfile.read(text).items] == [
        ("FROM", 1, 1),
        ("RUN", 2, 6),
        ("COPY", 7, 7),
    ]
