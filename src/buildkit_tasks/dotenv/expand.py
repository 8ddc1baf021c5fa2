"""Expands `$NAME`, `${NAME:-default}` etc. in .env values, like compose-go's `template` package.

Names are looked up in the environment first, then in earlier assignments. Time and size are bounded: a text is read
once per nesting level, and levels, input and output are limited.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

#: `${A:-${B:-${C}}}` has three levels.
MAX_LEVELS = 32

#: Maximum number of characters in all values of one file: `B=$A$A`, `C=$B$B`, … double with each line.
MAX_EXPANDED = 4 * 1024 * 1024

# compose's pattern ignores case like Go, which also matches the long s and the Kelvin sign.
_FIRST, _REST = "A-Za-z_\u017f\u212a", "A-Za-z0-9_\u017f\u212a"
_DOLLAR = re.compile(rf"\$(?:(\$)|([{_FIRST}][{_REST}]*)|\{{)")
_BRACED = re.compile(rf"([{_FIRST}][{_REST}]*)(\}}|:?[-+?])")
_BRACE = re.compile(r"[{}]")


class Unexpandable(ValueError):
    """Compose rejects this value. `words`: compose's own message, if any; never contains the value."""

    def __init__(self, words: str, variable: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.variable = variable  #: the required variable without a value


@dataclass
class Expander:
    """Expands the values of one file, in order. `lookup` returns None for a variable that is not set."""

    lookup: Callable[[str], str | None]
    unset: set[str] = field(default_factory=set)  #: names that compose warns about and treats as blank
    room: int = MAX_EXPANDED

    def expand(self, template: str, level: int = 0) -> str:
        """Return the value of `template`. Raises `Unexpandable`."""
        if "$" not in template:
            return self._count(template)
        if level > MAX_LEVELS:
            raise Unexpandable(f"variables are nested more than {MAX_LEVELS} levels deep")
        out: list[str] = []
        at, line_end, last_brace = 0, -1, -1
        while found := _DOLLAR.search(template, at):
            out.append(self._count(template[at : found.start()]))
            at = found.end()
            if found[1]:
                out.append(self._count("$"))
                continue
            if found[2]:
                out.append(self._plain(found[2]))
                continue
            inner = _BRACED.match(template, at)
            if inner is None:
                raise Unexpandable("Invalid template")
            at = inner.end()
            if inner[2] == "}":
                out.append(self._plain(inner[1]))
                continue
            if at > line_end:  # once per line: otherwise many variables on one line take quadratic time
                line_end = template.find("\n", at)
                line_end = len(template) if line_end < 0 else line_end
                last_brace = template.rfind("}", at, line_end)
            if last_brace < at:
                raise Unexpandable("Invalid template")
            end = _closing(template, found.start(), last_brace + 1)
            out.append(self._operator(inner[1], inner[2], template[at:end], level))
            at = end + 1
        out.append(self._count(template[at:]))
        return "".join(out)

    def _plain(self, name: str) -> str:
        value = self.lookup(name)
        if value is None:
            self.unset.add(name)
            return ""
        return self._count(value)

    def _operator(self, name: str, operator: str, rest: str, level: int) -> str:
        self._count(rest)  # reading also takes time, once per level
        other = self.expand(rest, level + 1)  # compose expands this even if it is unused, and reports its errors
        value = self.lookup(name)
        filled = value is not None and not (operator.startswith(":") and value == "")
        if operator.endswith("-"):
            return self._count(value or "") if filled else other
        if operator.endswith("+"):
            return other if filled else ""
        if not filled:
            raise Unexpandable(f"required variable {name} is missing a value", name)
        return self._count(value or "")

    def _count(self, text: str) -> str:
        self.room -= len(text)
        if self.room < 0:
            raise Unexpandable(f"the values in the file exceed {MAX_EXPANDED} characters in total")
        return text


def _closing(text: str, start: int, end: int) -> int:
    """Return the position of the closing brace of the `${` at `start`. Like compose, skips the character after a `{`.

    If the braces do not balance, this is the last brace of the line.
    """
    depth, at = 0, start
    while found := _BRACE.search(text, at, end):
        if found[0] == "}":
            depth -= 1
            if depth == 0:
                return found.start()
            at = found.end()
        else:
            depth += 1
            at = found.end() + 1
    return end - 1
