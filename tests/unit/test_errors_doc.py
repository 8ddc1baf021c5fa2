"""docs/reference/errors.md has one heading per code, with its exit code, and no other headings."""

from __future__ import annotations

import re
from pathlib import Path

from buildkit_tasks.core.errors import EXIT_CODES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
SECTION = re.compile(r"^## (\S+)\n\nExit code (\d+)\. (.+?)\n\nFix: (.+?)(?=\n\n## |\n\Z)", re.MULTILINE | re.DOTALL)


def test_every_code_has_one_section_with_its_exit_code_and_a_fix() -> None:
    found = {m[1]: int(m[2]) for m in SECTION.finditer(PAGE.read_text("utf-8"))}
    assert found == EXIT_CODES
    assert len(re.findall(r"^## ", PAGE.read_text("utf-8"), re.MULTILINE)) == len(EXIT_CODES)


def test_exit_codes_are_those_a_shell_can_tell_apart() -> None:
    assert all(2 < code < 126 or code in (129, 130, 143) for code in EXIT_CODES.values())  # 128 + the signal's number
    assert 70 not in EXIT_CODES.values()  # a bug in our code
