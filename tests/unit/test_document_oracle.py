"""Our parser of Dockerfiles compared with BuildKit's, on generated files."""

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
    """Generate an instruction, sometimes with several lines."""
    keyword = draw(st.sampled_from(["FROM", "run", "Copy", "ARG", "env", "WORKDIR", "LABEL", "user"]))
    parts = draw(st.lists(st.tuples(BLANK, WORD), min_size=1, max_size=4))
    flags = draw(st.lists(FLAG, max_size=2)) if keyword.upper() in ("RUN", "COPY", "FROM") else []
    text = keyword + "".join(f" {flag}" for flag in flags) + "".join(f"{blank}{word}" for blank, word in parts)
    return text.rstrip("\\")


#: Words that begin a here-document, or look like it, and lines that end one, or look like it.
NAMED = [
    "<<A",
    "<<-A",
    "3<<A",
    "cat<<A",
    "<<<A",
    "<<A<<A",
    "<<'A'",
    '<<"A"',
    "<<A'B'",
    "<<\\A",
    "<<A-B",
    "<<a.txt",
    "<<1A",
]
NAMED += [
    '"x <<A y"',
    "'x <<A y'",
    "<<'A B'",
    "<<A>/x",
    "<<$A",
    '"<<A"',
    "\\<<A",
    "<< A",
    "<<",
    '["<<A", "x <<A y"]',
    "x\\\\",
]
ENDS = [
    "A",
    " A",
    "A ",
    "\tA",
    "\t\tA",
    " \tA",
    "AB",
    "A-B",
    "a.txt",
    "1A",
    "A B",
    "A>/x",
    "$A",
    "# A",
    "FROM not",
    "RUN x \\",
    "",
]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Generate an instruction that may have here-documents, and lines that may belong to them."""
    keyword = draw(st.sampled_from(["RUN", "run", "COPY", "ADD", "ONBUILD RUN", "onbuild copy", "LABEL", "ENV a"]))
    flag = draw(st.sampled_from(["", "", "--link ", '--mount=type=bind,"target=/x y" ']))
    words = draw(st.lists(st.sampled_from([*NAMED, "x", "\\\n", "\\\n # <<B\n"]), min_size=1, max_size=3))
    return "\n".join([f"{keyword} {flag}{' '.join(words)}", *draw(st.lists(st.sampled_from(ENDS), max_size=5))])


@st.composite
def files(draw: st.DrawFn) -> str:
    """Generate a Dockerfile: sometimes with a BOM, with comments, and either kind of line ending."""
    body = draw(
        st.lists(st.one_of(lines(), documents(), st.sampled_from(["", "# a comment", "  # another", "#"])), max_size=6)
    )
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = "\n".join(["FROM scratch", *body, ""])
    return ("\ufeff" if draw(st.booleans()) else "") + text.replace("\n", end)


@settings(max_examples=1000, deadline=None)
@given(text=files())
def test_instructions_their_lines_and_flags_are_those_of_buildkits_parser(text: str) -> None:
    try:
        expected = buildkit.parse_string(text)
    except buildkit.GoParseError:
        return  # the build fails with BuildKit's error, regardless of what we parse
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
