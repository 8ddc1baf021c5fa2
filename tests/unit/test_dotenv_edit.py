"""Completing .env loses nothing and says nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks import dotenv_edit, dotenv_file

EXAMPLE = "# ports\nAPI_PORT=8080\n\n# a secret: generated\nPASSWORD=\nTAG=dev\n"


def test_a_new_file_is_the_example_with_secrets_filled_in() -> None:
    text = dotenv_edit.complete(EXAMPLE, "", {"PASSWORD": "abc"}).text
    assert text == EXAMPLE.replace("PASSWORD=", "PASSWORD=abc")


def test_what_is_there_stays_and_what_is_missing_is_added() -> None:
    existing = "# mine\nPASSWORD='keep me'\nOTHER=1"
    text = dotenv_edit.complete(EXAMPLE, existing, {"PASSWORD": "abc"}).text
    assert text == existing + "\nAPI_PORT=8080\nTAG=dev\n"


def test_an_empty_secret_is_filled_in_place() -> None:
    assert dotenv_edit.complete("P=\n", "A=1\nP=\nB=2\n", {"P": "x"}).text == "A=1\nP=x\nB=2\n"


NAME = st.from_regex(r"[A-Z][A-Z_]{0,5}", fullmatch=True)
VALUE = st.text("abcdef0123456789-_", min_size=1, max_size=8)


@given(st.dictionaries(NAME, VALUE, max_size=6), st.dictionaries(NAME, VALUE | st.just(""), max_size=6))
def test_completing_keeps_every_value_and_completing_twice_changes_nothing(
    have: dict[str, str], example: dict[str, str]
) -> None:
    existing = "".join(f"{k}={v}\n" for k, v in have.items())
    wanted = "".join(f"{k}={v}\n" for k, v in example.items())
    made = {k: "made" for k, v in example.items() if v == ""}
    once = dotenv_edit.complete(wanted, existing, made).text
    assert dotenv_file.values(once) == {**{k: v or "made" for k, v in example.items()}, **have}
    assert dotenv_edit.complete(wanted, once, dict.fromkeys(made, "other")).text == once
    assert once.startswith(existing)
