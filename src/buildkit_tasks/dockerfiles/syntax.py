"""Parses the few facts that a plan needs from a Dockerfile. Not a full parser: it skips unknown syntax.

Grammar: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildkit_tasks.core import shapes

# A default may contain another plain variable. Deeper nesting is expanded innermost first, in several rounds.
_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>\w+)(?::?(?P<form>[-+?#%/])(?P<word>(?:\$\{\w+\}|[^{}])*))?\}|(?P<plain>\w+))"
)
_HEREDOC = re.compile(r"(?:^|(?<=\s))\d*<<-?(?P<quote>[\"']?)(?P<word>[A-Za-z_]\w*)(?P=quote)(?=\s|$)")
_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S+)\s*$")


@dataclass(frozen=True)
class Instruction:
    """A logical line: the keyword in capitals, the rest with continuations joined, and its first line (from 1).

    `parts`: its physical lines with their numbers, including here-document bodies; `body`: the text of those bodies.
    """

    keyword: str
    rest: str
    line: int
    parts: tuple[tuple[int, str], ...] = ()
    body: str = ""

    @property
    def end(self) -> int:
        """The number of the last line."""
        return self.parts[-1][0] if self.parts else self.line

    def line_of(self, text: str) -> int:
        """The first line that contains `text`, or else the first line."""
        return next((number for number, part in self.parts if text in part), self.line)


@dataclass(frozen=True)
class Comment:
    """A comment line without the #, outside here-documents."""

    text: str
    line: int


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions in order, without comments and here-document bodies."""
    return (item for item in _scan(text) if isinstance(item, Instruction))


def comments(text: str) -> tuple[Comment, ...]:
    """The comments in order, including those between continued lines."""
    return tuple(item for item in _scan(text) if isinstance(item, Comment))


def _scan(text: str) -> Iterator[Instruction | Comment]:
    # Not splitlines: docker does not treat form feeds and Unicode separators as line ends.
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    escape = _escape(lines)
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if not line:
            continue
        if line.startswith("#"):
            yield Comment(line[1:].strip(), at)
            continue
        first, whole, parts = at, line, [(at, line)]
        while whole.endswith(escape):
            whole = whole[:-1].rstrip()
            # blank lines and comments do not end a continued instruction
            while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
                at += 1
                if lines[at - 1].strip():
                    yield Comment(lines[at - 1].strip()[1:].strip(), at)
            if at == len(lines):
                last = at if lines[-1] else at - 1  # the text after the last newline is not a line
                parts += [(last, lines[last - 1])] if last > parts[-1][0] else []
                break
            whole += " " + lines[at].strip()
            at += 1
            parts.append((at, lines[at - 1]))
        keyword, _, rest = re.sub(r"\s", " ", whole, count=1).partition(" ")
        body: list[str] = []
        for word in _heredocs(keyword.upper(), rest):
            while at < len(lines):
                at += 1
                parts.append((at, lines[at - 1]))
                if lines[at - 1].strip() == word:
                    break
                body.append(lines[at - 1])
        yield Instruction(keyword.upper(), rest.strip(), first, tuple(parts), "\n".join(body))


def _escape(lines: Sequence[str]) -> str:
    """The escape character: a directive in the leading comments can set it to the backtick."""
    for line in lines:
        found = _DIRECTIVE.match(line.strip())
        if not found:
            break
        if found[1].lower() == "escape" and found[2] in ("`", "\\"):
            return found[2]
    return "\\"


def _heredocs(keyword: str, rest: str) -> list[str]:
    return [m["word"] for m in _HEREDOC.finditer(rest)] if keyword in ("RUN", "COPY", "ADD") else []


def words(text: str) -> list[str]:
    """Split words like a shell, removing quotes. If quotes are unbalanced, split at whitespace."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def flags(item: Instruction) -> tuple[dict[str, str], str]:
    """The leading `--name=value` flags of an instruction (the last one wins) and the text after them."""
    found, rest = _flags(item)
    return {name: value.strip("\"'") for name, value in found}, rest


def _flags(item: Instruction) -> tuple[list[tuple[str, str]], str]:
    found: list[tuple[str, str]] = []
    rest = item.rest
    while match := re.match(r"--([a-z]+)(?:=(\S*))?(?:\s+|$)", rest):
        found.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    return found, rest


def arguments(text: str) -> frozenset[str]:
    """The names that any `ARG` declares, in any stage."""
    names: set[str] = set()
    for item in instructions(text):
        if item.keyword == "ARG":
            names.update(word.split("=", 1)[0] for word in item.rest.split())
    return frozenset(names)


def defaults(text: str) -> dict[str, str]:
    """The default values of ARGs. If a name is declared twice, the first default (the global one, if any) wins."""
    found: dict[str, str] = {}
    for item in instructions(text):
        if item.keyword == "ARG":
            for word in item.rest.split():
                name, equals, value = word.partition("=")
                if equals:
                    found.setdefault(name, value.strip("\"'"))
    return found


def expand(word: str, values: Mapping[str, str], *, keep: bool = False) -> str:
    """Expand `$NAME`, `${NAME}` and the forms with `-`, `+` and `?`. Unknown names become empty, as in BuildKit.

    `keep`: keep unknown names as `${NAME}`. Forms that trim (`#`, `%`, `/`) expand to the whole value, which suffices.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        known, other = values.get(name) or "", match["word"] or ""
        if match["form"] == "+":
            return other if known else ""
        if known or match["form"] == "-":
            return known or other
        return f"${{{name}}}" if keep and name not in values else ""

    for _ in range(4):  # enough for nested defaults, but a value that refers to itself must not loop forever
        replaced = _VARIABLE.sub(value, word)
        if replaced == word:
            break
        word = replaced
    return word


#: Predefined arguments in FROM lines: https://docs.docker.com/build/building/variables/
PLATFORM_ARGS = frozenset(
    f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
)


def unquoted(word: str) -> str:
    """A word of a FROM line without its quotes."""
    return re.sub(r"([\"'])(.*?)\1", r"\2", word)


def json_words(text: str) -> list[str] | None:
    """The words of a JSON form, `["cargo", "build"]`; None if the text is not in that form."""
    try:
        listed = shapes.loads(text, list) if text.startswith("[") else None
    except ValueError:
        return None
    return listed if listed is not None and all(isinstance(word, str) for word in listed) else None
