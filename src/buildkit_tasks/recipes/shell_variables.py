"""Read the variables that a RUN sets in its shell for cargo: before the command or with `export`."""

from __future__ import annotations

import re
import shlex

_NAME = r"[A-Za-z_]\w*"
_VALUE = r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|\\.|[^\s;&|()\"'\\])*"
_PREFIX = re.compile(rf"(?:^|(?<=[\s;&|(]))({_NAME})=({_VALUE})(?=\s[^;&|\n]*\bcargo\s)")
_EXPORT = re.compile(rf"\bexport\s+((?:{_NAME}={_VALUE}\s*)+)(?=[\s\S]*\bcargo\s)")
_ASSIGNED = re.compile(rf"({_NAME})=({_VALUE})")


def read(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables with a fixed value, and those that the shell computes or sets only in some branch.

    `text`: the shell commands. Fixed values are unquoted; others are as written.
    """
    text = text.replace("\\\n", " ")
    found = [(match.start(), match[1], match[2]) for match in _PREFIX.finditer(text)]
    for match in _EXPORT.finditer(text):
        found += [(match.start(), name, value) for name, value in _ASSIGNED.findall(match[1])]
    fixed: dict[str, str] = {}
    computed: dict[str, str] = {}
    for start, name, value in sorted(found):
        plain = _plain(value)
        if plain is None or _in_a_branch(text[:start]) or fixed.get(name, plain) != plain:
            computed[name] = value
        else:
            fixed[name] = plain
    return {name: value for name, value in fixed.items() if name not in computed}, computed


#: How many commands run at once. Does not affect a program.
_JOBS = frozenset(("CARGO_BUILD_JOBS", "NUM_JOBS", "MAKEFLAGS"))
#: Variables that `cross.sh` sets, too, if it compiles for another platform.
_CROSS = re.compile(r"CARGO_TARGET_\w+_LINKER|(?:CC|CXX|AR|STRIP)_\w+")


def changes(name: str, value: str) -> bool:
    """Return whether a program may differ without a variable that the shell computes."""
    if name in _JOBS or re.fullmatch(rf"[\"']?\$(?:{name}|\{{{name}\}})[\"']?", value):
        return False  # the argument itself
    # tonistiigi/xx sets its variables for the target platform, as our own step does
    return "xx-" not in value and not (_CROSS.fullmatch(name) and re.search(r"-linux-(?:gnu|musl)", value))


def settled(part: str) -> bool:
    """Return whether a command only exports variables with a fixed value or that do not matter, or is a test."""
    value = rf"(?:\$\([^()]*\)|{_VALUE})"
    if re.fullmatch(r"(?:test|\[\[?)\s[^&|;]*", part.strip()):
        return True  # only decides whether the next command runs
    if not re.fullmatch(rf"export(?:\s+{_NAME}={value})+\s*(?:\|\|\s*true)?", part.strip()):
        return False
    return all(_plain(v) is not None or not changes(n, v) for n, v in re.findall(rf"({_NAME})=({value})", part))


def _plain(value: str) -> str | None:
    """Return the value without its quotes; None if the shell expands something in it."""
    if "$" in value or "`" in value:
        return None
    try:
        return "".join(shlex.split(value))
    except ValueError:
        return None


def _in_a_branch(before: str) -> bool:
    words = re.findall(r"\b(if|fi|case|esac|for|while|done)\b", before)
    opened = sum(word in ("if", "case", "for", "while") for word in words)
    return opened > len(words) - opened
