"""An instruction of a stage as seen by the lint rules, and the cache mounts of a RUN."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction

from . import shell


@dataclass(frozen=True)
class CacheMount:
    """A cache mount, variables expanded. `kind`: target, registry, git, home (all of CARGO_HOME), lock or other."""

    kind: str
    path: str
    id: str
    raw_id: str
    sharing: str
    line: int
    options: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """One instruction of a stage. `env`: known ENV and ARG values; `declared`: each ARG in scope with its line."""

    item: Instruction
    stage: int
    env: Mapping[str, str]
    declared: Mapping[str, int]
    workdir: str
    user: str

    @property
    def keyword(self) -> str:
        """RUN, COPY, …"""
        return self.item.keyword

    @cached_property
    def shell(self) -> str:
        """The command of a RUN, including a here-document; for the exec form, the joined words."""
        if self.keyword != "RUN":
            return ""
        text = syntax.flags(self.item)[1]
        if text.startswith("["):
            text = " ".join(syntax.json_words(text) or [text])
        return shell.without_comments(f"{text}\n{self.item.body}")

    def expand(self, word: str) -> str:
        """Expand variables; unknown ones stay as ${NAME}."""
        return syntax.expand(word, self.env, keep=True)

    def absolute(self, path: str) -> str:
        """Return an absolute path in the container, resolved from the working directory."""
        return posixpath.normpath(posixpath.join(self.workdir, self.expand(path)))

    @property
    def from_stage(self) -> str:
        """The stage or image that a COPY or ADD copies from; empty for the context."""
        return syntax.flags(self.item)[0].get("from", "") if self.keyword in ("COPY", "ADD") else ""

    @cached_property
    def copied(self) -> tuple[tuple[str, ...], str]:
        """Sources (relative to the context or stage) and the destination of a COPY or ADD."""
        if self.keyword not in ("COPY", "ADD"):
            return (), ""
        rest = syntax.flags(self.item)[1]
        listed = syntax.json_words(rest) if rest.startswith("[") else None
        given = [self.expand(w) for w in (listed if listed is not None else syntax.words(rest))]
        if len(given) < 2:
            return (), ""
        sources = tuple(posixpath.normpath(w.lstrip("/") or ".") for w in given[:-1] if not w.startswith("<<"))
        return sources, self.absolute(given[-1])

    @cached_property
    def binds(self) -> tuple[tuple[str, str, str], ...]:
        """Bind mounts as (stage or image, source, target)."""
        found = []
        for mount in mounts.run_mounts(self.item):
            if mount.type == "bind":
                o = mount.options
                source = self.expand(o.get("source") or o.get("src") or ".")
                place = posixpath.normpath(source.lstrip("/") or ".")
                found.append((o.get("from", ""), place, self.absolute(mount.target)))
        return tuple(found)

    @cached_property
    def cargo_home(self) -> str:
        """CARGO_HOME if known, else empty."""
        inline = shell.assigned(self.shell, "CARGO_HOME")
        return self.absolute(inline) if inline else self.env.get("CARGO_HOME", "")

    @cached_property
    def target_dir(self) -> str:
        """CARGO_TARGET_DIR or --target-dir as an absolute path, else empty."""
        given = (
            shell.option(self.shell, "target-dir")
            or shell.assigned(self.shell, "CARGO_TARGET_DIR")
            or self.env.get("CARGO_TARGET_DIR")
            or self.env.get("CARGO_BUILD_TARGET_DIR")
        )
        return self.absolute(given) if given else ""


def pairs(item: Instruction) -> list[tuple[str, str | None]]:
    """Return the names and values of an ARG or ENV; None without a value. `ENV NAME a value` is the old syntax."""
    listed = syntax.words(item.rest)
    if item.keyword == "ENV" and listed and "=" not in item.rest.split()[0]:
        name, _, value = item.rest.partition(" ")
        return [(name, value.strip().strip("\"'"))]
    found: list[tuple[str, str | None]] = []
    for word in listed:
        name, equals, value = word.partition("=")
        if re.fullmatch(r"\w+", name):
            found.append((name, value if equals else None))
    return found


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def inside(path: str, folders: Sequence[str]) -> bool:
    """Return whether `path` is one of the folders or below one."""
    return any(_inside(path, folder) for folder in folders)
