"""The grammar of .env, value by value. tests/engine/test_dotenv_oracle.py compares 2,000 files with compose."""

from __future__ import annotations

import contextlib
import time

import pytest

from buildkit_tasks.dotenv import text as dotenv_text
from buildkit_tasks.dotenv.text import Refused

#: As read by compose 2.26.1 and 2.40.3. SET is in the environment.
READ = [
    ("A=1\nB = 2 \nC:3\nD: 4\n", {"A": "1", "B": "2", "C": "3", "D": "4"}),
    ("export A=1\nexport\tB=2\nexportC=3\n", {"A": "1", "B": "2", "exportC": "3"}),
    ("A=x # note\nB=x#y\nC= # note\nD=  # note\n", {"A": "x", "B": "x#y", "C": "# note", "D": "# note"}),
    ("A=\r\nB=1\r\n", {"A": "", "B": "1"}),
    ("\ufeffA=1\n", {"A": "1"}),
    ("A='one\ntwo'\nB=\"one\ntwo\"\n", {"A": "one\ntwo", "B": "one\ntwo"}),
    ('A=\'it\\\'s \\n\'\nB="say \\"hi\\" \\n\\\\ \\c"\n', {"A": "it's \\n", "B": 'say "hi" \n\\ \\c'}),
    ('A="\\0101 \\012 \\0777 \\x41"\n', {"A": "A \\12 \\777 \\x41"}),
    ('A="q" tail\nB="x" C=2\nD="y"# note\n', {"A": "q", "B": "x", "C": "2", "D": "y"}),
    ("A=1\nA=2\n", {"A": "2"}),
    ("SET\nA\nB=1\n", {"SET": "s", "B": "1"}),
    ("SET=file\nA=$SET\n", {"SET": "file", "A": "s"}),
    (
        'A=1\nB=$A${A}x\nC=\'$A\'\nD="$A"\nE=$$A\nF="\\$A"\n',
        {"A": "1", "B": "11x", "C": "$A", "D": "1", "E": "$A", "F": "$A"},
    ),
    (
        "A=${X:-d}\nB=${X-d}\nC=${SET:+y}\nD=${X+y}z\nE=${X:-${SET}}\n",
        {"A": "d", "B": "d", "C": "y", "D": "z", "E": "s"},
    ),
    ("A=${B}\nB=1\n", {"A": "", "B": "1"}),
    ("A=${X:-{}}\nB=${X:-a} }\nC=$1 $ ${SET?no}\n", {"A": "{}", "B": "a }", "C": "$1 $ s"}),
    ("1A=1\nA.B=2\nA-B[0]=3\né=4\nA\tB=5\n", {"1A": "1", "A.B": "2", "A-B[0]": "3", "é": "4", "A\tB": "5"}),
    ("A=caf\udce9\n", {"A": "caf\udce9"}),
    ("A=a\0b\nA=2\n", {"A": "2"}),
    ("", {}),
    ("# only\n\n  # comments", {}),
]


@pytest.mark.parametrize(("text", "values"), READ, ids=[repr(t) for t, _ in READ])
def test_values(text: str, values: dict[str, str]) -> None:
    assert dotenv_text.values(text, {"SET": "s"}) == values


REFUSED = [
    ("A=1\nB='open\n", 2, "unterminated quoted value"),
    ('A=1\n\n# x\nB="a\n"\nC="open', 6, "unterminated quoted value"),
    ("A=1\nmy name=2\n", 2, "key cannot contain a space"),
    ('A="q" two words\n', 1, "key cannot contain a space"),
    ("A=1\nB;=2\n", 2, "unexpected character ';' in a variable name"),
    ("\udce9=1\n", 1, "unexpected character 'not text' in a variable name"),
    ("A=${B\n", 1, "Invalid template"),
    ("A=${X?why}\n", 1, "required variable X is missing a value"),
    ("A=\nB=${A:?why}\n", 2, "required variable A is missing a value"),
    ("A=${B:-${C?no}}\n", 1, "required variable C is missing a value"),
    ("A=1\n=2\n", 2, "no name before the `=`"),
    ("A=1\nB", 2, "a bare name on the last line must be followed by a newline or `=`"),
    ("export ", 1, "`export` without a name"),
    ("A=1\nB=a\0b\n", 2, "a value cannot contain a NUL character"),
    ("\ufeff\ufeffA=1\n", 1, "unexpected character 'not text' in a variable name"),
]


@pytest.mark.parametrize(("text", "line", "words"), REFUSED, ids=[repr(t) for t, _, _ in REFUSED])
def test_what_compose_refuses(text: str, line: int, words: str) -> None:
    with pytest.raises(Refused) as caught:
        dotenv_text.parse(text)
    assert (caught.value.line, caught.value.words) == (line, words)


LARGE = {
    "comments": "#\n" * 300_000,
    "assignments": "A=1\n" * 10_001,
    "escapes": 'A="' + "\\a" * 500_000 + '"\n',
    "an open quote": "A='" + "x\\\n" * 300_000,
    "variables on one line": "A=" + "${A:-b}" * 140_000 + "\n",
    "braces": "A=" + "${A:-{{}" * 100_000,
    "nested": "A=" + "${A:-" * 20_000 + "}" * 20_000,
    "each twice the one before": "A0=xxxxxxxxxx\n" + "".join(f"A{i + 1}=$A{i}$A{i}\n" for i in range(60)),
    "on one line": 'A="x" ' * 9_999,
    "unset": "".join(f"A{i}=$B{i}\n" for i in range(9_999)),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_file_is_read_or_refused_soon(name: str) -> None:
    began = time.process_time()
    with contextlib.suppress(Refused):
        dotenv_text.parse(LARGE[name])
    assert time.process_time() - began < 4  # linear: half a second each on an idle machine


def test_variables_that_are_not_set_are_named_with_their_value() -> None:
    found = dotenv_text.parse("A=x\nPW=se$cret${A}\nB=$cret\n").unset
    assert {name: (one.name, one.line) for name, one in found.items()} == {"cret": ("PW", 2)}
