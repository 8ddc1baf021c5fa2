"""Words that a docker or cargo maintainer would not write, in the code, the messages and the documentation."""

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

#: Phrases that must not appear in the package's code and messages.
TRANSLATED = re.compile(
    r"\bfor ever\b|\bthe same command again\b|\brun the command again\b|\bcannot be reached\b"
    r"|\bnobody (?:listens|answers)\b|\bin the place of\b|\bas it stands\b|\bnot looked at\b|\bname a mirror\b"
    r"|\bcorrect the file\b|\bswitched off\b|\bin force\b|\bonce more\b"
    r"|\bwithout a word\b|\bno word of\b|\bis said\b|\bwhat nobody\b|\b(?:is|are) asked for\b"
    r"|\b(?:none|empty|false) where\b|\bcan be had\b|\bis to be had\b|\bis put back\b|\bare put back\b|\bis of no use\b"
    r"|\bhands? (?:it|them) (?:on|over)\b|\btaken over from\b",
    re.IGNORECASE,
)


def test_no_text_uses_the_unusual_words() -> None:
    places = ("src", "docs", "docker", "tests", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
    assert_free_of(UNUSUAL, places)


def test_the_package_uses_no_translated_phrase() -> None:
    assert_free_of(TRANSLATED, ("src",), but=("transfer.py", "Dockerfile"))


def assert_free_of(words: re.Pattern[str], places: tuple[str, ...], but: tuple[str, ...] = ()) -> None:
    found = []
    for place in places:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if (
                file == Path(__file__)
                or file.name in but
                or file.suffix not in TEXTS
                or not file.is_file()
                or "__pycache__" in file.parts
            ):
                continue
            for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
                found += [f"{file.relative_to(ROOT)}:{number}: {m[0]}" for m in words.finditer(line)]
    assert not found, "\n".join(found)
