"""The grammar of .env as implemented by compose (compose-go's package `dotenv`, v2.0.2 to v2.9.1), with positions.

Text is UTF-8 with `surrogateescape`, which preserves other bytes. Text that compose rejects raises `Refused`,
with the line but not the content. docs/adr/0014 explains why no library is used, and how versions of compose
differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .expand import Expander, Unexpandable

#: No real .env is this large; reading and completing one of this size takes less than a second.
MAX_BYTES = 1024 * 1024
MAX_ASSIGNMENTS = 10_000

BOM = "\ufeff"
_SPACE = "\t\v\f\r \x85\xa0"  # not a line end
_WHITE = _SPACE + "\n\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_GAP = re.compile(f"[{_WHITE}]*")
_EXPORT = re.compile(rf"export(?=[\t\n\f\r ])[{_SPACE}]*")
_NAME = re.compile(rf"[\w.\-\[\]{_SPACE}]*")
_BLANK = re.compile(f"[{_SPACE}]*")
_QUOTED = {q: re.compile(rf"{q}([^{q}\\]*(?:\\.[^{q}\\]*)*){q}", re.DOTALL) for q in "'\""}
_ESCAPED_QUOTE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([abcfnrtv$\"\\])|0([0-9]{0,3}))")
_MEANT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\", "$": "$$"}


class Refused(ValueError):
    """Compose rejects the file because of this line (counted from 1). The message never contains a value."""

    def __init__(self, line: int, words: str, variable: str = "") -> None:
        super().__init__(f"line {line}: {words}")
        self.line = line
        self.words = words
        self.variable = variable  #: the required variable without a value


@dataclass(frozen=True)
class Assignment:
    """One `NAME=value` and its position: `text[start:end]` is all of it, without the rest of its last line."""

    name: str
    line: int
    start: int  #: of `export` or the name
    behind: int  #: right after `=` or `:`, or after a name without a value
    value_start: int  #: of the value as written, including its quote
    end: int
    quote: str  #: `'`, `"` or nothing
    value: str | None  #: None: only a name; its value comes from the environment

    @property
    def blank(self) -> bool:
        """True if the value is missing or was meant as a comment: compose reads `A= # note` as a value."""
        if self.value is None:
            return False
        if self.quote:
            return self.end - self.value_start == 2
        return self.end == self.value_start or (self.value_start > self.behind and self.value.startswith("#"))


@dataclass(frozen=True)
class DotEnv:
    """A file as understood by compose."""

    text: str
    assignments: tuple[Assignment, ...]
    values: Mapping[str, str]
    unset: Mapping[str, Assignment]  #: variables that compose warns about and treats as blank

    @cached_property
    def counting(self) -> dict[str, Assignment]:
        """The effective assignment of each name, which is the last one. A name without `=` assigns nothing."""
        return {a.name: a for a in self.assignments if a.value is not None}


def decode(content: bytes) -> str:
    """Decode a file's bytes for `parse`."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Reverse `decode`."""
    return text.encode("utf-8", "surrogateescape")


def parse(text: str, environment: Mapping[str, str] | None = None, *, expand: bool = True) -> DotEnv:
    """Parse a file; variables and names without a value are looked up in `environment` first.

    With `expand=False`, values are returned as written, without quotes and escapes; `${…}` is not expanded.
    Raises `Refused`.
    """
    around = environment or {}
    values: dict[str, str] = {}
    expander = Expander(lambda name: around.get(name, values.get(name)))
    found: list[Assignment] = []
    unset: dict[str, Assignment] = {}
    at, line, counted = len(BOM) if text.startswith(BOM) else 0, 1, 0
    while (start := _statement(text, at)) < len(text):
        line += text.count("\n", counted, start)
        counted = start
        one = _assignment(text, start, line)
        if one.value is None:
            if one.name in around:
                values[one.name] = around[one.name]
        elif not one.name:
            raise Refused(line, "no name before the `=`")
        else:
            if expand and one.quote != "'":
                one = _expanded(one, expander)
                for name in expander.unset:
                    unset.setdefault(name, one)
                expander.unset.clear()
            values[one.name] = one.value or ""
        found.append(one)
        if len(found) > MAX_ASSIGNMENTS:
            raise Refused(line, f"more than {MAX_ASSIGNMENTS:,} assignments")
        at = one.end
        if not one.quote:  # only a quoted value may end before its line does
            at = _line_end(text, at)
    for name, value in values.items():
        if "\0" in value and name not in around:
            number = next(a.line for a in reversed(found) if a.name == name)
            raise Refused(number, "a value cannot contain a NUL character")
    return DotEnv(text, tuple(found), values, unset)


def values(text: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Map names to values; if a name is repeated, the last value wins. Raises `Refused`."""
    return dict(parse(text, environment).values)


def _statement(text: str, at: int) -> int:
    """Return the start of the next statement, after white space and comments."""
    while True:
        gap = _GAP.match(text, at)
        at = gap.end() if gap else at
        if text[at : at + 1] != "#":
            return at
        at = _line_end(text, at)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _assignment(text: str, start: int, line: int) -> Assignment:
    exported = _EXPORT.match(text, start)
    at = exported.end() if exported else start
    if at == len(text):
        raise Refused(line, "`export` without a name")
    named = _NAME.match(text, at)
    stop = named.end() if named else at
    ending = text[stop : stop + 1]
    name = text[at:stop].rstrip(_WHITE)
    if ending and ending not in "=:\n":
        shown = ending if ending.isprintable() and ending != "\ufffd" else "not text"
        raise Refused(line, f"unexpected character {shown!r} in a variable name")
    if " " in name:
        raise Refused(line, "key cannot contain a space")
    if not ending:
        raise Refused(line, "a bare name on the last line must be followed by a newline or `=`")
    if ending == "\n":
        return Assignment(name, line, start, at + len(name), at + len(name), at + len(name), "", None)
    behind = stop + 1
    blank = _BLANK.match(text, behind)
    at = blank.end() if blank else behind
    quote = text[at : at + 1]
    if quote in _QUOTED:
        quoted = _QUOTED[quote].match(text, at)
        if quoted is None:
            raise Refused(line, "unterminated quoted value")
        return Assignment(name, line, start, behind, at, quoted.end(), quote, _unquoted(quoted[1], quote))
    written = text[at : _line_end(text, at)].partition(" #")[0].rstrip(_WHITE)
    return Assignment(name, line, start, behind, at, at + len(written), "", written)


def _unquoted(inner: str, quote: str) -> str:
    """Return the text between quotes, unescaped; interpolation happens later and sees `\\$` as `$$`."""
    if "\\" not in inner:
        return inner
    inner = _ESCAPED_QUOTE.sub(lambda m: quote if m[1] == quote else m[0], inner)
    return inner if quote == "'" else _ESCAPE.sub(_meant, inner)


def _meant(escape: re.Match[str]) -> str:
    """Like Go's strconv.UnquoteChar: octal needs three digits and at most 255; `\\c` is not an escape and is kept."""
    if escape[1]:
        return _MEANT.get(escape[1], escape[0])
    digits = escape[2]
    if len(digits) != 3 or not set(digits) <= set("01234567") or int(digits, 8) > 255:
        return "\\" + digits  # compose has already dropped the zero
    return chr(int(digits, 8))


def _expanded(one: Assignment, expander: Expander) -> Assignment:
    try:
        return replace(one, value=expander.expand(one.value or ""))
    except Unexpandable as error:
        raise Refused(one.line, error.words, error.variable) from None
