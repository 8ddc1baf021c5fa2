"""Text from a build, an image, a registry or another project on the engine: long and repetitive, read in linear time.

A regular expression that starts anew at each character, or that can split the same text in many ways, takes hours for
one long line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from buildkit_tasks.audit import secrets as audit_secrets
from buildkit_tasks.buildlog import lacks, remarks
from buildkit_tasks.core import report, units
from buildkit_tasks.dotenv import mask
from buildkit_tasks.engine import cache_records
from buildkit_tasks.registry import login as registry_login

SIZE = 50_000

_RECORD = "ID:\tx\nSize:\t1B\nDescription:\t"


def _record(text: str) -> object:
    return cache_records.parse(_RECORD + text)


def _json_record(text: str) -> object:
    description = f"cached mount /x from exec {text}"
    return cache_records.parse(json.dumps({"ID": "x", "Size": "1B", "Description": description}))


READERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "logins": (report.without_login, ("(", "=:", "(a:", "a:", "x@", "://", "(a:b", "\n(", "http://", "http://a:b@c ")),
    "control characters": (report.visible, ("\x1b[0", "\x1b[", "\x9f", "\r")),
    "dotenv values": (
        lambda text: mask.mask(text, "A=secretsecret\n"),
        ("failed to read x: ", "Invalid template: ", 'Invalid template: "\\', "line 1 ", "\n"),
    ),
    "what a build lacks": (
        lambda text: lacks.find([text]),
        (
            *(" ", "`", "couldn't read ", "lock file ", "no bin target named `", "sh: a", "cannot find -la."),
            *("failed to download from `", "--> /registry/src/", "error: could not compile `", "[", "a"),
        ),
    ),
    "remarks": (remarks.Reader(str).line, (" --> ", "thread 'a' panicked at ", ":1:1", "error: ", "\x1b[")),
    "cache records": (_record, ("\n", " ", "\n ", "ID:", "A", "Parents:\n", "\nID: x\nSize: 1\n")),
    "cache records in JSON": (_json_record, (' with id "', "cached mount a from exec ", "\n")),
    "steps of an image": (
        audit_secrets.Search({}).redacted,
        ("w-", "PASSWORD", "SECRET", "a", "://", "a:", "PASSWORD=", 'PASSWORD="', " "),
    ),
    "a .env file in an image": (
        lambda text: audit_secrets.file("/x/.env", text.encode()),
        ("export ", "\n", " \n", "a ", "a\n"),
    ),
    "an .npmrc file in an image": (lambda text: audit_secrets.file("/x/.npmrc", text.encode()), ("_auth ", "_auth\n")),
    "ages": (units.age, ("0", "1 ", "less than a ")),
    "sizes": (units.size, ("0", "0.", "0 ")),
    "a challenge": (
        lambda text: registry_login.challenge(f"Bearer {text}", "a/b", "GET"),
        ("_", "a", "bearer ", 'a="', "basic "),
    ),
}


@pytest.mark.parametrize(
    ("read", "unit"),
    [
        pytest.param(read, unit, id=f"{name} {unit!r}".replace("[", "(").replace("]", ")"))
        for name, (read, units_) in READERS.items()
        for unit in units_
    ],
)
def test_repetitive_text_is_read_in_linear_time(read: Callable[[str], object], unit: str) -> None:
    text = unit * (SIZE // len(unit))
    for end in ("", "@", "\0"):
        began = time.process_time()
        read(text + end)
        assert time.process_time() - began < 3
