"""A Makefile or justfile as values: its rules with their lines, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """One command line of a recipe: its first and last line in the file (from 0), and its text.

    The text has no recipe prefix; the lines of a continued one are joined by backslash and newline, as written.
    """

    first: int
    last: int
    text: str


@dataclass(frozen=True)
class Rule:
    """Targets with their recipe. `names` are expanded; `first` and `last` are the lines of the header, from 0.

    `kept`: why this rule is kept, whatever its recipe does; empty if it can be replaced. `exported`: variables
    that the recipe finds in its environment. `conditions`: the `ifeq` lines around the header. `parameters`: those
    of a just recipe, as written up to the default: `name`, `name=` if it has one, `*name`, `+name`.
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


@dataclass(frozen=True)
class Include:
    """A file that another one includes; `path` is empty if only make can determine its name."""

    line: int
    written: str
    path: str
    optional: bool = False


@dataclass(frozen=True)
class Source:
    """One file: its lines unchanged, its rules in order, and other facts about it.

    `mentioned`: targets that get a variable or are phony, with or without a rule. `runs`: lines (from 1) where reading
    the file runs a command, such as `$(shell …)`. `notes`: what was not read, as sentences that begin with the line.
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
        """The line ending that it uses."""
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"
