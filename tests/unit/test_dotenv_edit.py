"""Completing .env keeps all content and reveals nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildkit_tasks.dotenv import edit as dotenv_edit
from buildkit_tasks.dotenv import text as dotenv_text
from tests.support.dotenv_files import FILES

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


#: example, existing file, and the result with `made` for each secret.
COMPLETED = [
    ("P=\n", "export P=\n", "export P=made\n"),
    ("P=\n", "P=  # note\n", "P=made  # note\n"),
    ("P=\n", "P: # note\n", "P:made # note\n"),
    ("P=\n", "P=\t# note\n", "P=\tmade # note\n"),
    ("P: # note\n", "A=1\n", "A=1\nP:made # note\n"),
    ("P=\n", 'P=""\n', 'P="made"\n'),
    ("P=\n", "P='' # note\n", "P='made' # note\n"),
    ("P=\n", "P: \n", "P: made\n"),
    ("P=\n", "P=\r\nA=1\r\n", "P=made\r\nA=1\r\n"),
    ("P=\nQ=2\n", "A=1\r\nP=", "A=1\r\nP=made\r\nQ=2\r\n"),
    ("P=\n", "P=\nA=1\nP=\n", "P=\nA=1\nP=made\n"),
    ("P=\n", "P=\nP=mine\n", "P=\nP=mine\n"),
    ("P=\n", "P=mine\nP=\n", "P=mine\nP=made\n"),
    ("P=\n", "K='x\nP=\n'\n", "K='x\nP=\n'\nP=made\n"),
    ("P=\n", "K='x\nP=\n'\nP=\n", "K='x\nP=\n'\nP=made\n"),
    ("P=\n", "\ufeffP=\n", "\ufeffP=made\n"),
    ("P=\n", "\ufeff", "\ufeffP=made\n"),
    ("P=\n", "P=$X\n", "P=$X\n"),
    ("P=\n", "P\n", "P\nP=made\n"),
    ("P= # a secret\n", "A=1\n", "A=1\nP=made # a secret\n"),
    ("K='one\ntwo' # k\nL=1\n", "A=1\n", "A=1\nK='one\ntwo' # k\nL=1\n"),
    ('K="one\r\ntwo"\r\n', "A=1\n", 'A=1\nK="one\r\ntwo"\n'),
    ('export K="x" L=2\nM=${K:?no}\n', "# mine", '# mine\nexport K="x"\nL=2\nM=${K:?no}\n'),
    ("K=1\nL=$K\nK=2\n", "A=1\n", "A=1\nK=1\nL=$K\nK=2\n"),
    ("A=1\nP=\n", "A=caf\udce9\n", "A=caf\udce9\nP=made\n"),
    ("P=\nA=1\n", "", "P=made\nA=1\n"),
]


@pytest.mark.parametrize(("example", "existing", "wanted"), COMPLETED, ids=[repr(c[:2]) for c in COMPLETED])
def test_completing(example: str, existing: str, wanted: str) -> None:
    made = dict.fromkeys(dotenv_edit.empty_names(example), "made")
    done = dotenv_edit.complete(example, existing, made)
    assert done.text == wanted
    assert dotenv_edit.complete(example, done.text, dict.fromkeys(made, "other")).text == wanted
    assert dotenv_edit.lacking(example, done.text, made) == ()


def test_a_generated_value_never_needs_quotes() -> None:
    with pytest.raises(ValueError, match="quotes"):
        dotenv_edit.complete("P=\n", "", {"P": "a b"})


@settings(max_examples=400, deadline=None)
@given(FILES, FILES)
@example(b"A=\n", b"\r\nB=")
@example(b"A=\n", b"A=\r")
def test_only_what_is_meant_changes_and_a_second_time_nothing(sample: bytes, existing: bytes) -> None:
    texts = dotenv_text.decode(sample), dotenv_text.decode(existing)
    try:
        made = dict.fromkeys(dotenv_edit.empty_names(texts[0]), "made")
        before = dotenv_text.parse(texts[1], expand=False)
    except dotenv_text.Refused:
        return
    done = dotenv_edit.complete(*texts, made)
    after = dotenv_text.parse(done.text, expand=False)
    lines = texts[1].removesuffix("\n").split("\n") if texts[1].strip("\ufeff") else []
    for number, (old, new) in enumerate(zip(lines, done.text.split("\n"), strict=False), 1):
        if number == len(lines) and not texts[1].endswith(("\n", "\r")) and new != old:
            new = new.removesuffix("\r")  # an unfinished last line gets the file's line ending
        # a value before a comment adds the space that the comment needs
        assert old in (new, new.replace("made", "", 1), new.replace("made ", "", 1)) or "made" in old
    kept = {n: a.value for n, a in before.counting.items() if n not in done.filled}
    assert {n: a.value for n, a in after.counting.items() if n in kept} == kept
    assert {after.counting[n].value for n in done.filled} <= {"made"}
    wanted = dotenv_text.parse(texts[0], expand=False).counting
    assert wanted.keys() <= after.counting.keys()
    assert dotenv_edit.complete(texts[0], done.text, dict.fromkeys(made, "other")).text == done.text


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
    assert dotenv_text.values(once) == {**{k: v or "made" for k, v in example.items()}, **have}
    assert dotenv_edit.complete(wanted, once, dict.fromkeys(made, "other")).text == once
    assert once.startswith(existing)


def test_what_is_generated_means_the_same_to_another_reader() -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    made = dict.fromkeys(dotenv_edit.empty_names(example), "Az09_-.~")
    for existing in ("", "# mine\nPOSTGRES_PASSWORD=\nexport RABBITMQ_PASSWORD=''\n"):
        text = dotenv_edit.complete(example, existing, made).text
        assert dotenv_values(stream=io.StringIO(text)) == dotenv_text.values(text)
