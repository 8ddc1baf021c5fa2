"""Decides which files of a directory BuildKit sends as build context, evaluating .dockerignore like BuildKit.

Rules: https://docs.docker.com/build/concepts/context/#dockerignore-files and, for anything not documented there,
moby/patternmatcher (the last matching pattern wins, and a pattern that matches a directory also matches all below it).
"""

from __future__ import annotations

import os
import posixpath
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import readfile


@dataclass(frozen=True)
class Pattern:
    """A pattern line: its path expression, and whether it is an exception (`!`)."""

    text: str
    exception: bool
    regex: re.Pattern[str]

    def may_match_below(self, directory: str) -> bool:
        """Return False only if no path below `directory` can match, so a walk can skip excluded directories."""
        wanted, have = self.text.split("/"), directory.split("/")
        for want, got in zip(wanted, have, strict=False):
            if "**" in want:
                return True
            if not compiled(want).fullmatch(got):
                return False
        return True


@dataclass(frozen=True)
class Ignore:
    """A .dockerignore file. Without patterns, everything is sent."""

    patterns: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Ignore:
        """Parse a .dockerignore. Raises `ValueError` for an invalid pattern, which also fails the build."""
        patterns = []
        for line in text.removeprefix("\ufeff").split("\n"):  # not splitlines: a form feed does not end a line
            given = line.strip()
            if line.startswith("#") or not given:
                continue
            exception = given.startswith("!")
            given = posixpath.normpath(given.removeprefix("!").strip()) if given != "!" else ""
            if not given:
                raise ValueError("illegal exclusion pattern: '!'")
            given = given.lstrip("/") or "/"
            if given == ".":
                continue  # BuildKit also ignores this: the context itself cannot be excluded
            try:
                patterns.append(Pattern(given, exception, compiled(given)))
            except re.error as error:
                raise ValueError(f"illegal pattern {given!r}: {error}") from None
        return cls(tuple(patterns))

    @classmethod
    def of(cls, context: Path, dockerfile: Path | None = None) -> Ignore:
        """Return the file that applies to a build: DOCKERFILE.dockerignore if it exists, else the context's own."""
        names = [context / ".dockerignore"]
        if dockerfile is not None:
            names.insert(0, dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
        for name in names:
            try:
                return cls.parse(readfile.text(name, "surrogateescape"))
            except (FileNotFoundError, IsADirectoryError):
                continue
        return cls()

    def matches(self, path: str, parent: Sequence[bool] = ()) -> tuple[bool, list[bool]]:
        """Return whether `path` is excluded, and which patterns matched: the `parent` for entries of a directory."""
        out, matched = False, [False] * len(self.patterns)
        for i, pattern in enumerate(self.patterns):
            hit = bool(parent) and parent[i]
            if not hit:
                if pattern.exception != out:
                    continue
                hit = pattern.regex.fullmatch(path) is not None
            matched[i] = hit
            if hit:
                out = not pattern.exception
        return out, matched

    def excludes(self, path: str) -> bool:
        """Return whether `path` or a directory above it is excluded."""
        out, matched, parts = False, list[bool](), path.split("/")
        for end in range(1, len(parts) + 1):
            out, matched = self.matches("/".join(parts[:end]), matched)
        return out

    def skips(self, directory: str) -> bool:
        """Return whether an excluded directory can be skipped as a whole."""
        return not any(p.exception and p.may_match_below(directory) for p in self.patterns)


def expression(glob: str) -> str:
    """Return the regular expression of a pattern or of one component, exactly as built by moby/patternmatcher."""
    result, i = list[str](), 0  # joined at the end: a pattern may be megabytes long
    while i < len(glob):
        char = glob[i]
        i += 1
        if char == "*" and glob[i : i + 1] == "*":
            i += 1
            if glob[i : i + 1] == "/":
                i += 1
            result.append("(.*/)?" if i < len(glob) else ".*")
        elif char == "*":
            result.append("[^/]*")
        elif char == "?":
            result.append("[^/]")
        elif char == "\\":
            result.append(re.escape(glob[i : i + 1]) or r"\\")
            i += 1
        elif char in "[]":
            result.append(char)
        elif char in ".+()|{}$":
            result.append("\\" + char)
        else:
            result.append(char)
    return "".join(result)


#: The maximum length of a path in bytes. https://man7.org/linux/man-pages/man0/limits.h.0p.html
PATH_MAX = 4096
_NOTHING = re.compile(r"(?!)")


def compiled(glob: str) -> re.Pattern[str]:
    """Return the compiled expression. Raises `re.error`."""
    if len(glob) > PATH_MAX and not re.search(r"[*?\[\\]", glob):
        return _NOTHING  # compiling it would take seconds per megabyte
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "[[" may get a meaning in Python; in Go it has none
        return re.compile(expression(glob), re.DOTALL)


def walk(
    root: Path,
    *ignores: Ignore,
    directories: bool = False,
    enter: Callable[[str, os.DirEntry[str]], bool] = lambda _path, _entry: True,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield files and symlinks that at least one of `ignores` includes (if empty, all), as (path below root, entry).

    With `directories`, also yield the directories that may contain such files. Does not follow symlinks to directories.
    Skips a directory that vanishes during the walk, because the next walk will not see it. `enter`: whether to descend
    into a directory.
    """
    sets = tuple(dict.fromkeys(ignores)) or (Ignore(),)
    todo: list[tuple[str, list[Sequence[bool]]]] = [("", [()] * len(sets))]
    while todo:
        directory, parents = todo.pop()
        try:
            entries = os.scandir(root / directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                path = f"{directory}{entry.name}"
                verdicts = [one.matches(path, parent) for one, parent in zip(sets, parents, strict=True)]
                if entry.is_dir(follow_symlinks=False):
                    skipped = all(out and one.skips(path) for (out, _), one in zip(verdicts, sets, strict=True))
                    if not skipped and enter(path, entry):
                        todo.append((f"{path}/", [matched for _, matched in verdicts]))
                        if directories:
                            yield path, entry
                elif not all(out for out, _ in verdicts):
                    yield path, entry
