"""Finds the here-documents of an instruction, like BuildKit. Pure.

https://github.com/moby/buildkit/blob/master/frontend/dockerfile/parser/parser.go (heredocsFromLine)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: A word that starts a here-document: a file descriptor, `<<`, perhaps `-`, and the name, perhaps in quotes.
_START = re.compile(r"\d*<<(-?)([^<]+)", re.DOTALL)


@dataclass(frozen=True)
class Heredoc:
    """A here-document. `name`: the line that ends it; `tabs`: whether that line may start with tabs."""

    name: str
    tabs: bool

    def ends(self, line: str) -> bool:
        """Return whether a line ends the here-document. A name with spaces around it does not."""
        return (line.lstrip("\t") if self.tabs else line) == self.name


def of(text: str) -> tuple[Heredoc, ...]:
    """Return the here-documents that the text of an instruction starts, in order."""
    found = []
    for word in _words(text):
        start = _START.fullmatch(word)
        names = [_plain(name) for name in _words(start[2])] if start else []
        if start and len(names) == 1:
            found.append(Heredoc(names[0], start[1] == "-"))
    return tuple(found)


def _words(text: str) -> list[str]:
    """Return the words with their quotes and backslashes; none if a quote is not closed."""
    try:
        return list(_split(text))
    except ValueError:
        return []


def _split(text: str) -> Iterator[str]:
    word, at = "", 0
    while at < len(text):
        char = text[at]
        end = at + 1
        if char in "'\"":
            end = _closing(text, at) + 1
        elif char == "\\":
            end = at + 2
        elif char.isspace():
            if word:
                yield word
            word, at = "", end
            continue
        word += text[at:end]
        at = end
    if word:
        yield word


def _closing(text: str, at: int) -> int:
    """Return the position of the quote that closes the one at `at`. Raises ValueError if there is none."""
    if text[at] == "'":
        return text.index("'", at + 1)
    found = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL).match(text, at)
    if not found:
        raise ValueError("a quote is not closed")
    return found.end() - 1


def _plain(word: str) -> str:
    """Return a word without its quotes and backslashes."""
    return re.sub(
        r"'([^']*)'|\"((?:\\.|[^\"\\])*)\"|\\(.)",
        lambda m: m[1] or re.sub(r"\\([\"$\\])", r"\1", m[2] or "") or m[3] or "",
        word,
        flags=re.DOTALL,
    )
