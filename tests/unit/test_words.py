"""Words that a docker or cargo maintainer would not write, in the code, the messages and the documents."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXTS = (".py", ".md", ".rs", ".sh", ".toml", ".yaml", ".json", "")

UNUSUAL = re.compile(
    r"\b(?:mend(?:s|ed|ing)?|told|tells?|gone round|cannot be had|the story|(?<!such )so much)\b"
    r"|\bsays no\b|(?<!here )(?<!there )\bis no (?!longer\b|more than\b|need\b|\")\w+",
    re.IGNORECASE,
)


def test_no_text_uses_the_unusual_words() -> None:
    found = []
    for place in ("src", "docs", "docker", "tests", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file == Path(__file__) or file.suffix not in TEXTS or not file.is_file() or "__pycache__" in file.parts:
                continue
            for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
                found += [f"{file.relative_to(ROOT)}:{number}: {m[0]}" for m in UNUSUAL.finditer(line)]
    assert not found, "\n".join(found)
