"""A Makefile or justfile as values: its rules with their lines, and the lines that could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """One command line of a recipe: its first and last line in the file (from 0), and its text.

    The text has no recipe prefix. Continued lines stay joined by backslash and newline, as written.
    """

    first: int
    last: int
    text: str


@dataclass(frozen=True)
class Rule:
    """Targets with their recipe. `names`: expanded; `first`, `last`: the lines of the header, counted from 0.

    `kept`: why this rule is kept regardless of its recipe; empty if it can be replaced. `exported`: variables that
    are exported to the recipe. `conditions`: the `ifeq` lines around the header. `parameters`: those of a just
    recipe, as written up to the default value: `name`, `name=` if there is a default, `*name`, `+name`. `computed`:
    only make can determine its prerequisites. `file`: why make runs it only if a file is missing or outdated.
    """

    path: str
    first: int
    last: int
    names: tuple[str, ...]
    prerequisites: tuple[str, ...] = ()
    help: str = ""
    steps: tuple[Step, ...] = ()
    kept: str = ""
    prefix: str = "\t"
    inline: bool = False
    pattern: bool = False
    exported: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    computed: bool = False
    file: str = ""


@dataclass(frozen=True)
class Include:
    """A file that another file includes. `path` is empty if only make can determine its name."""

    line: int
    written: str
    path: str
    optional: bool = False


@dataclass(frozen=True)
class Source:
    """One file: its lines unchanged, its rules in order, and other facts about it.

    `mentioned`: targets that are phony or have a target-specific variable, with or without a rule. `runs`: lines (from
    1) that run a command as the file is read, such as `$(shell …)`. `notes`: one for each line that was not understood.
    `makes_rules`: reading the file may generate rules that are not in it.
    `shell`: why none of its recipes can be replaced; empty if they can.
    """

    path: str
    lines: tuple[str, ...]
    rules: tuple[Rule, ...]
    phony: frozenset[str] = frozenset()
    mentioned: frozenset[str] = frozenset()
    includes: tuple[Include, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    shell: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    makes_rules: bool = False

    @property
    def newline(self) -> str:
        """The line ending of the file."""
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"
