"""Every test mentioned in docs/explanation/attacks.md exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_attack_names_tests_that_exist() -> None:
    page = (ROOT / "docs/explanation/attacks.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    cells = [line.split("|")[-2] for line in page.splitlines() if line.startswith("| ") and "`" in line]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) > 100
    assert [n for n in names if f'"{n}"' not in tests and f"def {n}(" not in tests] == []
