"""Completing .env loses nothing and says nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.core import dotenv_text

EXAMPLE = "# ports\nAPI_PORT=8080\n\n# a secret: generated\nPASSWORD=\nTAG=dev\n"
MADE = {"PASSWORD": "s3cret/+=\"'$x"}


def test_a_new_file_is_the_example_with_secrets_filled_in() -> None:
    text = dotenv_text.complete(EXAMPLE, "", {"PASSWORD": "abc"})
    assert text == EXAMPLE.replace("PASSWORD=", "PASSWORD=abc")


def test_what_is_there_stays_and_what_is_missing_is_added() -> None:
    existing = "# mine\nPASSWORD='keep me'\nOTHER=1"
    text = dotenv_text.complete(EXAMPLE, existing, {"PASSWORD": "abc"})
    assert text == existing + "\nAPI_PORT=8080\nTAG=dev\n"


def test_an_empty_secret_is_filled_in_place() -> None:
    assert dotenv_text.complete("P=\n", "A=1\nP=\nB=2\n", {"P": "x"}) == "A=1\nP=x\nB=2\n"


def test_broken_lines_are_numbered() -> None:
    assert dotenv_text.broken_lines("A=1\nB='open\n") == [2]
    assert dotenv_text.broken_lines(EXAMPLE) == []


NAME = st.from_regex(r"[A-Z][A-Z_]{0,5}", fullmatch=True)
VALUE = st.text("abcdef0123456789-_", min_size=1, max_size=8)


@given(st.dictionaries(NAME, VALUE, max_size=6), st.dictionaries(NAME, VALUE | st.just(""), max_size=6))
def test_completing_keeps_every_value_and_completing_twice_changes_nothing(
    have: dict[str, str], example: dict[str, str]
) -> None:
    existing = "".join(f"{k}={v}\n" for k, v in have.items())
    wanted = "".join(f"{k}={v}\n" for k, v in example.items())
    made = {k: "made" for k, v in example.items() if v == ""}
    once = dotenv_text.complete(wanted, existing, made)
    assert dotenv_text.values(once) == {**{k: v or "made" for k, v in example.items()}, **have}
    assert dotenv_text.complete(wanted, once, dict.fromkeys(made, "other")) == once
    assert once.startswith(existing)
