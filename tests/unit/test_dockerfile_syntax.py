"""What a plan reads from a Dockerfile."""

from __future__ import annotations

import pytest

from buildkit_tasks.dockerfiles import mounts, stages, syntax

TEXT = """\
# syntax=docker/dockerfile:1
ARG RUST_IMAGE=rust:1
ARG TAG="bookworm-slim"
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS toolchain
FROM toolchain AS compile
ARG CACHE_SCOPE=demo
# a comment
RUN --mount=type=cache,id=${CACHE_SCOPE}-registry,target=/r,sharing=shared \\
    # a comment inside
    --mount=type=bind,target=/context \\
    --mount=type=cache,target=/t <<SH
FROM not-an-image
SH
FROM debian:${TAG:-x}
COPY --from=compile /a /b
FROM scratch
"""


def test_base_images_are_those_that_no_stage_makes() -> None:
    assert stages.base_images(TEXT, {}) == ("rust:1", "debian:bookworm-slim")
    assert stages.base_images(TEXT, {"RUST_IMAGE": "mine:2"}) == ("mine:2", "debian:bookworm-slim")


def test_cache_ids_have_their_arguments_filled_in_and_default_to_the_target() -> None:
    assert mounts.cache_ids(TEXT, {}) == ("demo-registry", "/t")
    assert mounts.cache_ids(TEXT, {"CACHE_SCOPE": "shop"}) == ("shop-registry", "/t")


def test_arguments_and_lines() -> None:
    assert syntax.arguments(TEXT) == {"RUST_IMAGE", "TAG", "CACHE_SCOPE"}
    assert [(i.keyword, i.line) for i in syntax.instructions(TEXT)][-3:] == [
        ("FROM", 14),
        ("COPY", 15),
        ("FROM", 16),
    ]
    assert {m.type for m in mounts.mounts(TEXT)} == {"cache", "bind"}


def test_what_docker_reads_and_a_shell_would_not() -> None:
    text = "\n".join(
        [
            "\ufeffFROM\trust",
            "RUN cat <<<word && a \\",
            "",
            "  # kept",
            "  b",
            "RUN <<-'A' cat <<B",
            "# body",
            "\tA",
            "FROM body",
            "B",
            "RUN echo $((1<<X))",
            "run last \\",
            "# end",
        ]
    )
    found = list(syntax.instructions(text))
    assert [(i.keyword, i.rest, i.line, i.end) for i in found] == [
        ("FROM", "rust", 1, 1),
        ("RUN", "cat <<<word && a b", 2, 5),
        ("RUN", "<<-'A' cat <<B", 6, 10),
        ("RUN", "echo $((1<<X))", 11, 11),
        ("RUN", "last", 12, 13),
    ]
    assert found[2].body == "# body\nFROM body"
    assert found[2].line_of("body") == 7
    assert [(c.text, c.line) for c in syntax.comments(text)] == [("kept", 4), ("end", 13)]
    assert [i.rest for i in syntax.instructions("# escape=`\r\nRUN a `\r\n  b\\\r\nRUN c")] == ["a b\\", "c"]


@pytest.mark.parametrize(
    ("word", "value", "kept"),
    [
        ("$A/${A}/${NONE}", "1/1/", "1/1/${NONE}"),
        ("${NONE:-d}${EMPTY:-e}${A:-x}", "de1", "de1"),
        ("${NONE-d}${EMPTY-e}${A-x}", "d1", "d1"),
        ("${EMPTY+e}${EMPTY:+f}${NONE+g}", "e", "e"),
        ("${NONE:-${A}}-${NONE:-${NONE:-deep}}", "1-deep", "1-deep"),
        ("${A:+yes}${NONE:+no}", "yes", "yes"),
        ("${NONE:?is missing}", "", "${NONE}"),
        ("${A#x}${A%%x}${NONE#x}", "11", "11${NONE}"),
        ("${T#*:} ${T##*[-.]} ${T#d?b}", "slim-x.tar.gz a:slim-x.tar.gz a:slim-x.tar.gz", None),
        ("${T%.*} ${T%%.*} ${T%-*} ${T%\\*}", "a:slim-x.tar a:slim-x a:slim a:slim-x.tar.gz", None),
        ("${T/a/0} ${T//a/0} ${T/:*-/=} ${T//s*r/Q}", "0:slim-x.tar.gz 0:slim-x.t0r.gz a=x.tar.gz a:Q.gz", None),
        ("${A ${} $ ${SELF:-x}", "${A ${} $ ${SELF:-x}", "${A ${} $ ${SELF:-x}"),
    ],
)
def test_variables(word: str, value: str, kept: str | None) -> None:
    values = {"A": "1", "EMPTY": "", "SELF": "${SELF:-x}", "T": "a:slim-x.tar.gz"}
    assert syntax.expand(word, values) == value
    assert syntax.expand(word, values, keep=True) == (value if kept is None else kept)


def test_flags_and_the_lines_of_mounts() -> None:
    run, copy = syntax.instructions(
        'RUN --mount=type=cache,"target=/a" \\\n  --mount=ro,target=/b x --mount=no\nCOPY --from=a --link b c'
    )
    assert syntax.flags(copy) == ({"from": "a", "link": ""}, "b c")
    found = [(m.type, m.options.get("target"), m.line) for m in mounts.run_mounts(run)]
    assert found == [("cache", "/a", 1), ("bind", "/b", 2)]
    assert mounts.run_mounts(copy) == ()


def test_a_flag_may_hold_blanks_in_quotes_and_a_hyphen_in_its_name() -> None:
    text = (
        'RUN --mount="type=bind,target=/a b" \\\n --mount=type=cache,target=/c\\ d x\nADD --keep-git-dir=no --link a b'
    )
    run, add = syntax.instructions(text)
    assert [(m.type, m.target, m.line) for m in mounts.run_mounts(run)] == [("bind", "/a b", 1), ("cache", "/c d", 2)]
    assert syntax.flags(add) == ({"keep-git-dir": "no", "link": ""}, "a b")


def test_parts_of_a_continued_line_are_joined_as_buildkit_joins_them() -> None:
    (item,) = syntax.instructions("COPY a\\\nb\\\n c  \\\n/d")
    assert item.rest == "ab c /d"
