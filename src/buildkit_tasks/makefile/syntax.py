"""Split the lines of a Makefile as GNU make does: comments, definitions, headers. Pure."""

from __future__ import annotations

import re

from .expand import reference_end

_OPERATOR = re.compile(r"\s*(:::=|::=|:=|\?=|\+=|!=|=)")


def posix(shell: str) -> bool:
    """Return whether SHELL is set to a shell with a syntax that we support."""
    words = shell.replace("/usr/bin/env ", "").split()
    return not words or bool(re.fullmatch(r"(?:\S*/)?(?:ba|da|z|k|a)?sh", words[0]))


def bare(line: str) -> str:
    """Return a line without the carriage return that make ignores."""
    return line[:-1] if line.endswith("\r") else line


def continued(line: str) -> bool:
    """Return whether this line continues on the next one."""
    return odd(bare(line))


def odd(text: str) -> bool:
    """Return whether the text ends with a backslash that escapes the next character."""
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def without_comment(text: str) -> str:
    """Return the text before an unescaped `#`."""
    at = text.find("#")
    while at >= 0:
        if not odd(text[max(0, at - 100) : at]):  # no real line has more backslashes in a row
            return text[:at]
        at = text.find("#", at + 1)
    return text


def modifiers(line: str) -> tuple[set[str], str]:
    """Split off the keywords before a definition: `export`, `override`, `private`, `define`, `undefine`."""
    found: set[str] = set()
    rest = line
    for _ in range(5):
        word = re.match(r"(export|override|private|define|undefine)(?=[ \t]|$)", rest)
        if not word or (after := rest[word.end() :].lstrip(" \t"))[:1] in ("=", ":", "?", "+", "!"):
            break
        found.add(word[1])
        rest = after
        if word[1] in ("define", "undefine"):
            return found, rest
    if found and not assignment(rest):
        return set(), line
    return found, rest


def assignment(line: str) -> tuple[str, str, str] | None:
    """Return the name, operator and value if make would read this as a definition."""
    at = 0
    while at < len(line):
        character = line[at]
        if character == "$":
            at = reference_end(line, at)
            continue
        if character in " \t":
            found = _OPERATOR.match(line, at)
            return (line[:at], found[1], line[found.end() :].lstrip(" \t")) if found else None
        if found := _OPERATOR.match(line, at):
            return (line[:at], found[1], line[found.end() :].lstrip(" \t")) if at else None
        if character in ":#":
            return None
        at += 1
    return None


def header_end(line: str) -> tuple[int, str]:
    """Return the end of the targets and prerequisites, and the `;` or `#` that ends them, outside of references."""
    at = 0
    while at < len(line):
        if line[at] == "$":
            at = reference_end(line, at)
        elif line[at] == "\\":
            at += 2
        elif line[at] in ";#":
            return at, line[at]
        else:
            at += 1
    return len(line), ""


def colon(text: str) -> int:
    """Return the position of the first colon outside references; -1 if there is none."""
    at = 0
    while at < len(text):
        if text[at] == "$":
            at = reference_end(text, at)
        elif text[at] == "\\":
            at += 2
        elif text[at] == ":":
            return at
        else:
            at += 1
    return -1


def help_of(comment: str) -> str:
    """Return the help in a comment that starts with two or more `#`."""
    found = re.match(r"##+\s*(.*)", comment)
    return found[1].strip() if found else ""
