"""The state of the reader: everything known about a Makefile so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from buildkit_tasks.core.errors import Problem

from .expand import SelfReference, Variables, expand
from .model import Include, Rule, Step


@dataclass
class Open:
    """A rule whose recipe is being read."""

    rule: Rule
    steps: list[Step]
    mixed: bool = False


@dataclass
class Reading:
    """Everything known at the current line."""

    path: str
    lines: list[str]
    variables: Variables
    rules: list[Rule] = field(default_factory=list)
    phony: set[str] = field(default_factory=set)
    includes: list[Include] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    makes_rules: bool = False
    one_shell: bool = False
    conditions: list[str] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)
    shells: set[str] = field(default_factory=set)
    target_exports: dict[str, list[str]] = field(default_factory=dict)
    specific: set[str] = field(default_factory=set)
    prefix: str = "\t"
    open: Open | None = None
    load: Callable[[str], str | None] = lambda _path: None
    readings: list[Reading] = field(default_factory=list)

    def close(self) -> None:
        """End the current rule's recipe."""
        if self.open:
            mixed = "part of the recipe depends on a condition (ifeq, ifdef)" if self.open.mixed else ""
            made = replace(self.open.rule, steps=tuple(self.open.steps), kept=self.open.rule.kept or mixed)
            self.rules.append(made)
        self.open = None

    def expand(self, text: str) -> str | None:
        """Return the text with its references replaced; None if unknown. In a condition, make may never read it."""
        try:
            return expand(text, self.variables.values)
        except SelfReference:
            if not self.conditions:
                raise
            return None


def invalid(path: str, line: int, why: str) -> Problem:
    return Problem(
        "makefile-invalid",
        f"{path}:{line}: {why}.",
        causes=["make also fails at this line"],
        hint=f"make -n -f {path}    (shows make's own error)",
    )
