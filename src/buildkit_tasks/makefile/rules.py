"""Read the header of a rule: targets, prerequisites, help, target-specific variables. Pure."""

from __future__ import annotations

import re

from . import syntax
from .model import Rule, Step
from .reading import Open, Reading, invalid

#: Targets with a special meaning in make.
SPECIAL = re.compile(r"\.[A-Z_]+$")


def rule(now: Reading, at: int, last: int, whole: str) -> None:
    """Read a header; the lines of its recipe follow."""
    now.close()
    end, stop = syntax.header_end(whole)
    head = whole[:end].strip(" \t")
    if stop == ";" and _target_specific(now, at, syntax.without_comment(whole).strip()):
        return
    colon = syntax.colon(head)
    if colon < 0:
        if head.startswith("$"):
            now.notes.append(f"line {at + 1}: `{head}` generates rules when make runs; the line is kept")
            now.makes_rules = True
            return
        raise invalid(now.path, at + 1, "the line is neither a rule nor a definition (missing separator)")
    if _target_specific(now, at, head):
        return
    grouped = head[:colon].endswith("&")
    targets = _names(now, head[:colon].removesuffix("&"))
    double = head.startswith("::", colon)
    rest = head[colon + (2 if double else 1) :]
    static = syntax.colon(rest)
    known = _names(now, rest[static + 1 :] if static >= 0 else rest)
    needs = known or ()
    help_text = syntax.help_of(whole[end:]) if stop == "#" else ""
    if targets is None:
        now.notes.append(
            f"line {at + 1}: the targets `{head[:colon].strip()}` cannot be determined without running make"
        )
        targets = ()
    if SPECIAL.fullmatch(targets[0] if targets else ""):
        _special(now, targets[0], needs)
        now.open = None
        return
    why = (
        f"the rule is inside a condition (line {now.conditions[-1]})"
        if now.conditions
        else "the rule is a double-colon rule"
        if double
        else "the rule has one recipe for multiple targets (&:)"
        if grouped
        else "the recipe begins on the target's line and continues on the next line"
        if stop == ";" and last > at
        else "the target's name cannot be determined without running make"
        if not targets
        else ""
    )
    opened = Rule(
        now.path,
        at,
        last,
        targets,
        tuple(n for n in needs if n != "|"),
        help_text,
        kept=why,
        prefix=now.prefix,
        inline=stop == ";",
        pattern=any("%" in t for t in targets) or static >= 0,
        conditions=tuple(now.conditions),
        computed=known is None,
    )
    first = [Step(at, last, whole[end + 1 :].strip(" \t"))] if stop == ";" and whole[end + 1 :].strip() else []
    now.open = Open(opened, first)


def _names(now: Reading, text: str) -> tuple[str, ...] | None:
    whole = now.expand(text)
    if whole is None:
        return None
    words = re.findall(r"(?:\\.|[^\s\\])+|\\$", whole)
    return tuple(re.sub(r"\\([:#%\s])", r"\1", word) for word in words)


def _target_specific(now: Reading, at: int, head: str) -> bool:
    """Read `target: NAME = value`, a variable of that target only; return whether the header is one."""
    colon = syntax.colon(head)
    if colon < 0 or (head.startswith("::", colon) and not head.startswith("::=", colon)):
        return False
    rest = head[colon + 1 :].strip(" \t")
    modifiers, rest = syntax.modifiers(rest)
    assigned = syntax.assignment(rest)
    if not assigned or not re.fullmatch(r"[^\s:]+", assigned[0]):
        return False
    targets = _names(now, head[:colon]) or ()
    now.specific |= set(targets)
    if "export" in modifiers:
        for target in targets:
            now.target_exports.setdefault(target, []).append(assigned[0])
    # the value applies only to some targets, so it counts as unknown
    now.variables.partial.add(assigned[0])
    now.variables.define(assigned[0], "=", assigned[2])
    if assigned[1] == "!=":
        now.runs.append(at + 1)
    return True


def _special(now: Reading, name: str, needs: tuple[str, ...]) -> None:
    if name == ".PHONY":
        now.phony |= set(needs)
    elif name in (".ONESHELL", ".POSIX"):
        now.one_shell = now.one_shell or name == ".ONESHELL"
        now.notes.append(f"the special target {name} is kept")
