"""Find what a Dockerfile's steps use from the build context besides the compile step's sources. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.project.sources import CONTEXT


def patterns(file: Dockerfile, args: Mapping[str, str], target: str, contexts: Sequence[str]) -> tuple[str, ...]:
    """Return paths and globs that the stages of a target copy or mount, relative to the context (`.` for all of it).

    Omit the compile step's mount of the whole context, because manifests decide which of its files matter.
    """
    needed = {stage.number for stage in file.needs(args, target, contexts).stages}
    values = {**syntax.defaults(file.text), **args}
    found: dict[str, None] = {}
    for item in _items(file.items, needed):
        if item.keyword in ("COPY", "ADD"):
            found.update(dict.fromkeys(_sources(item, values)))
        for mount in mounts.run_mounts(item):
            place = mount.options.get("target") or mount.options.get("dst") or mount.options.get("destination")
            if mount.type != "bind" or mount.options.get("from") or place == CONTEXT:
                continue
            found[_path(mount.options.get("source") or mount.options.get("src") or ".", values)] = None
    return tuple(found)


def _items(items: Sequence[Instruction], needed: set[int]) -> Iterator[Instruction]:
    number = -1
    for item in items:
        number += item.keyword == "FROM"
        if number in needed:
            yield item


def _sources(item: Instruction, values: Mapping[str, str]) -> Iterator[str]:
    options, rest = syntax.flags(item)
    if options.get("from"):
        return
    words = syntax.words(
        rest.strip().removeprefix("[").removesuffix("]").replace(",", " ") if rest[:1] == "[" else rest
    )
    for word in words[:-1]:
        if not word.startswith("<<") and not re.match(r"[a-z+]+://|git@", word):
            yield _path(word, values)


def _path(word: str, values: Mapping[str, str]) -> str:
    """Return a path in the context; `.` if it contains an unknown variable."""
    expanded = syntax.expand(word, values, keep=True)
    return "." if "$" in expanded else posixpath.normpath(expanded.lstrip("/") or ".")


@dataclass(frozen=True)
class Matcher:
    """A COPY source. `*` and `?` do not match `/`; a directory includes everything below it."""

    parts: tuple[re.Pattern[str], ...]

    @classmethod
    def of(cls, pattern: str) -> Matcher:
        """Parse a pattern."""
        names = () if pattern == "." else pattern.split("/")
        return cls(tuple(re.compile(_glob(name), re.DOTALL) for name in names))

    def takes(self, path: str) -> bool:
        """Return whether the pattern includes this path."""
        names = path.split("/")
        return len(names) >= len(self.parts) and all(p.fullmatch(n) for p, n in zip(self.parts, names, strict=False))


def _glob(name: str) -> str:
    made = re.escape(name).replace(r"\*", ".*").replace(r"\?", ".")
    return ".*" if "[" in name else made  # a character class: match any name


def sent(ignore: Ignore, path: str) -> bool:
    """Return whether a file is in the build context."""
    verdict, at = False, ""
    matched: list[bool] = []
    for name in path.split("/"):
        at = f"{at}/{name}" if at else name
        verdict, matched = ignore.matches(at, matched)
    return not verdict


def named_contexts(contexts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the named contexts that are services or directories, as (`service`, NAME) or (`path`, PATH)."""
    for value in contexts.values():
        kind, colon, rest = value.partition(":")
        if kind in ("service", "target") and colon:
            yield "service", rest
        elif not re.match(r"[a-z-]+://|git@", value):
            yield "path", value
