"""Reading a Dockerfile as text: the few facts a plan needs. Not a full parser; unknown syntax is passed over.

Grammar: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::?-(?P<default>[^}]*))?\}|(?P<plain>\w+))")


@dataclass(frozen=True)
class Instruction:
    """One logical line: keyword in capitals, the rest with continuations joined, the line it starts on (from 1)."""

    keyword: str
    rest: str
    line: int


@dataclass(frozen=True)
class Mount:
    """A `RUN --mount=…` as its options; `type` defaults to bind as BuildKit's does."""

    options: Mapping[str, str]
    line: int

    @property
    def type(self) -> str:
        """bind, cache, secret, ssh or tmpfs."""
        return self.options.get("type", "bind")


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions in order. Comments and here-document bodies are skipped."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line.strip()
        while whole.endswith("\\"):
            _, more = next(lines, (0, ""))
            if more.lstrip().startswith("#"):
                continue
            whole = whole[:-1].rstrip() + " " + more.strip()
        keyword, _, rest = whole.partition(" ")
        for word in re.findall(r"<<-?[\"']?(\w+)[\"']?", rest):
            for _, body in lines:
                if body.strip() == word:
                    break
        yield Instruction(keyword.upper(), rest.strip(), number)


def arguments(text: str) -> frozenset[str]:
    """Names that any `ARG` declares, in any stage."""
    names: set[str] = set()
    for item in instructions(text):
        if item.keyword == "ARG":
            names.update(word.split("=", 1)[0] for word in item.rest.split())
    return frozenset(names)


def _defaults(text: str) -> dict[str, str]:
    """Values of ARGs with a default, the first of a name (the global one where there is one)."""
    found: dict[str, str] = {}
    for item in instructions(text):
        if item.keyword == "ARG":
            for word in item.rest.split():
                name, equals, value = word.partition("=")
                if equals:
                    found.setdefault(name, value.strip("\"'"))
    return found


def expand(word: str, values: Mapping[str, str]) -> str:
    """`$NAME`, `${NAME}` and `${NAME:-default}` replaced; an unknown name becomes nothing, as in BuildKit."""

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        return values.get(name) or match["default"] or ""

    return _VARIABLE.sub(value, word)


def base_images(text: str, args: Mapping[str, str]) -> tuple[str, ...]:
    """References of the images that stages start FROM, ARGs filled in; the file's own stages and scratch left out."""
    values = {**_defaults(text), **args}
    stages: set[str] = {"scratch"}
    found: dict[str, None] = {}
    for item in instructions(text):
        if item.keyword != "FROM":
            continue
        words = [w for w in item.rest.split() if not w.startswith("--")]
        reference = expand(words[0], values) if words else ""
        if reference and reference.lower() not in stages:
            found[reference] = None
        if len(words) >= 3 and words[1].upper() == "AS":
            stages.add(words[2].lower())
    return tuple(found)


def mounts(text: str) -> tuple[Mount, ...]:
    """Every `--mount` of every RUN."""
    return tuple(
        Mount(dict(part.partition("=")[::2] for part in spec.split(",")), item.line)
        for item in instructions(text)
        if item.keyword == "RUN"
        for spec in re.findall(r"--mount=(\S+)", item.rest)
    )


def cache_ids(text: str, args: Mapping[str, str]) -> tuple[str, ...]:
    """Ids of the cache mounts, ARGs filled in; a mount without id is known to BuildKit by its target."""
    values = {**_defaults(text), **args}
    found: dict[str, None] = {}
    for mount in mounts(text):
        if mount.type == "cache":
            named = mount.options.get("id") or mount.options.get("target") or mount.options.get("dst", "")
            found[expand(named, values)] = None
    return tuple(found)
