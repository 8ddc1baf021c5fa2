"""The values of shell variables in the words of a cargo command: `FLAG=""; if …; then FLAG=--release; fi`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from buildkit_tasks.dockerfiles import syntax

_ASSIGNED = re.compile(r"(?:^|(?<=[\s;&|(]))([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|[^\s;&|()\"']*)(?=[\s;&|)]|$)")
_NAME = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


#: `FLAG=$([ a = b ] && echo x || echo y)`
_CHOSEN = re.compile(
    r"(?<![^\s;&|(])([A-Za-z_]\w*)=(\"?)\$\(\s*(?:\[\[?|test)(\s[^;&|()]*)&&\s*echo\b([^|&()]*)\|\|\s*echo\b([^|&()]*)\)\2"
)


def chosen(text: str, holds: Callable[[Sequence[str]], bool | None]) -> str:
    """Replace the assignment of a word that a test selects by that of the word. `holds` evaluates a test."""

    def word(match: re.Match[str]) -> str:
        test = match[3].strip().removesuffix("]").removesuffix("]")
        echoed = [_echoed(match[4]), _echoed(match[5])]
        value = holds(syntax.words(test)) if None not in echoed else None
        return match[0] if value is None else f'{match[1]}="{echoed[0 if value else 1]}"'

    return _CHOSEN.sub(word, text)


def _echoed(words: str) -> str | None:
    """Return the words of an `echo` without quotes around them; None if there are other quotes."""
    text = words.strip()
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    return None if re.search("[\"']", text) else text.strip()


def expand(text: str, before: str) -> str:
    """Return the words of a command with the variables that the commands `before` it certainly set."""
    known: dict[str, str] = {}
    for match in _ASSIGNED.finditer(before):
        name, value = match[1], match[2].strip("\"'")
        if "$" in value or "`" in value or (_in_a_branch(before[: match.start()]) and known.get(name) != value):
            known.pop(name, None)  # computed, or different in some branch
        else:
            known[name] = value
    return _NAME.sub(lambda found: known.get(found[1] or found[2], found[0]), text)


def name(word: str) -> str:
    """Return the name of the variable that a word consists of; empty for other words."""
    match = _NAME.fullmatch(syntax.words(word)[0] if syntax.words(word) else "")
    return (match[1] or match[2]) if match else ""


def _in_a_branch(before: str) -> bool:
    words = re.findall(r"\b(if|fi|case|esac|for|while|until|done)\b", before)
    opened = sum(word in ("if", "case", "for", "while", "until") for word in words)
    return opened > len(words) - opened
