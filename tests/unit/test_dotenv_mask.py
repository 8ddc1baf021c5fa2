"""compose's messages without the values of .env."""

from __future__ import annotations

import pytest

from buildkit_tasks.dotenv.mask import mask, secrets
from buildkit_tasks.dotenv.text import Refused

READING = "failed to read /x/.env: "
MISSING = READING + "required variable X is missing a value"
OPEN = READING + "line 3: unterminated quoted value"

#: .env, compose's message, the printed message.
CASES = [
    ("PW=s3cr${et\n", READING + 'Invalid template: "s3cr${et"', READING + "Invalid template ***"),
    (
        'A=1\nPW="s3\n',
        READING + 'line 3: unterminated quoted value "s3',
        READING + "line 3: unterminated quoted value ***",
    ),
    (
        "s3;cr=1\n",
        READING + 'line 1: unexpected character ";" in variable name "s3;cr=1"',
        READING + 'line 1: unexpected character ";" ***',
    ),
    ("s3 cr=1\n", READING + "line 1: key cannot contain a space", READING + "line 1: key cannot contain a space ***"),
    (
        "A=${X?s3}\n",
        READING + "required variable X is missing a value: s3",
        READING + "required variable X is missing a value ***",
    ),
    ("A=s3\n", READING + "something new: s3", READING + "***"),
    ("", READING + "read /x/.env: is a directory", READING + "read /x/.env: is a directory ***"),
    ("PW=pass word\n", "services.db.x: 'pass word' is not valid, line 4", "services.db.x: '***' is not valid, line 4"),
    ("PW='p\"q$$x'\n", 'invalid "p\\"q$$$$x"', 'invalid "***"'),
    ("PW='first one\nsecond one'\n", "yaml: near second one", "yaml: near ***"),
    ("PIN=120\n", "yaml: line 120: port 120 and 1200", "yaml: line 120: port *** and 1200"),
    ("PW=hunter22\n", "postgres://u:hunter22@db", "postgres://u:***@db"),
    ("A=1\nB=on\n", "service 1 is on", "service 1 is on"),
    ("U=sample\nPW=geheim\n", "services.sample: geheim", "services.sample: ***"),
    (
        "A=x\nPW=se$cret\n",
        'level=warning msg="The \\"cret\\" variable is not set."',
        'level=warning msg="The \\"***\\" variable (in the value of PW, line 2 of .env) is not set."',
    ),
    ("PW=hunter22\nB='open hunter33xx\n", "says hunter22 and hunter33xx", "says *** and ***"),
    ("COMPOSE_PROJECT_NAME=My.App\n", 'invalid project name "My.App"', 'invalid project name "My.App"'),
    # an `env_file` of a service, in compose 2.26
    ("", "line 2: unterminated quoted value 's3\ncret", "line 2: unterminated quoted value ***"),
    ("", 'line 1: unexpected character "-" in variable name "s3-x"', 'line 1: unexpected character "-" ***'),
    ("", "as it is", "as it is"),
    (
        "A=1\n",
        "ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory",
        "ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory",
    ),
]


@pytest.mark.parametrize(("dotenv", "said", "shown"), CASES, ids=[c[1] for c in CASES])
def test_shown(dotenv: str, said: str, shown: str) -> None:
    assert mask(said, dotenv, public="U=sample\n") == shown
    assert mask(shown, dotenv, public="U=sample\n") == shown  # the report masks what it prints once more


def test_values_made_of_other_values_are_masked_too() -> None:
    assert mask("x postgres://u:abcdef@db", "PW=abcdef\nURL=postgres://u:${PW}@db\n") == "x ***"
    assert mask("x http://from-outside/y", "URL=http://${HOST}/y\n", environment={"HOST": "from-outside"}) == "x ***"


@pytest.mark.parametrize(
    ("dotenv", "expected"),
    [
        ("API_PORT=43909\nPASSWORD=hunter22\n", "port 43909 is in use, ***"),
        ("PORT=43909\nPASSWORD=43909\n", "port *** is in use, hunter22"),
        ("PIN=43909\nPASSWORD=hunter22\n", "port *** is in use, ***"),
        ('API_PORT="43909"\nPASSWORD=hunter22\n', "port 43909 is in use, ***"),
        ("API_PORT=43909\nPASSWORD='hunter22\n", "port *** is in use, ***"),
    ],
)
def test_a_port_is_not_masked_unless_it_is_also_a_secret(dotenv: str, expected: str) -> None:
    assert mask("port 43909 is in use, hunter22", dotenv) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("cannot get postgres:latest in /tmp/x", "cannot get postgres:latest in /tmp/x"),
        ("postgres://postgres:hunter22@db", "postgres://postgres:***@db"),
        ("hunter is wrong", "*** is wrong"),  # only a part of a word in the compose file
    ],
)
def test_what_the_compose_file_and_the_path_show_is_not_masked(said: str, expected: str) -> None:
    dotenv = "POSTGRES_USER=postgres\nPGDATA=/tmp\nPW=hunter22\nPIN=hunter\n"
    shown = "/tmp/x\nservices: {db: {image: 'postgres:latest'}, hunters: {}}\n"
    assert mask(said, dotenv, shown=lambda: shown) == expected


def test_the_variables_whose_values_are_masked() -> None:
    dotenv = (
        "PW=hunter22\nAPI_PORT=43909\nUSER=sample\nA=on\nURL=x://u:${PW}@db\nMADE=postgres\nMORE='a b\nsecond one'\n"
    )
    found = secrets(dotenv, public="USER=sample\nTOKEN=\n", shown=lambda: "image: postgres:15")
    assert found == {"PW": "hunter22", "URL": "x://u:hunter22@db", "MORE": "a b\nsecond one"}
    around = {"PW": "from-outside", "TOKEN": "in-ci-only", "OTHER": "unrelated"}
    found = secrets(dotenv, public="USER=sample\nTOKEN=\n", environment=around)
    assert (found["PW"], found["TOKEN"], "OTHER" in found) == ("from-outside", "in-ci-only", False)
    assert secrets("", public="TOKEN=\n") == {}
    with pytest.raises(Refused):
        secrets("PW='open")
