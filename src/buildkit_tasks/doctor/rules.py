"""The data model of checks: a rule is data with one pure function that evaluates the facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .facts import Facts


@dataclass(frozen=True)
class Verdict:
    """A rule's result. `fix` is a safe fix that `doctor --fix` can apply."""

    state: str
    found: str
    remedy: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Rule:
    """One check: its name, what is expected, why it matters, and the function that evaluates it."""

    name: str
    wanted: str
    why: str
    judge: Callable[[Facts], Verdict]


@dataclass(frozen=True)
class Check:
    """An evaluated rule. `state` is ok, warn (works, but not well), fail (does not work) or unknown."""

    name: str
    state: str
    found: str
    wanted: str
    why: str
    remedy: str
    fix: str = ""

    @property
    def fires(self) -> bool:
        """True if the user has something to fix."""
        return self.state in ("warn", "fail")


def ok(found: str) -> Verdict:
    """Return a verdict that all is well."""
    return Verdict("ok", found)


def warn(found: str, remedy: str, fix: str = "") -> Verdict:
    """Return a warning: it works, but slowly, or may soon stop working."""
    return Verdict("warn", found, remedy, fix)


def fail(found: str, remedy: str, fix: str = "") -> Verdict:
    """Return a failure: it does not work."""
    return Verdict("fail", found, remedy, fix)


def unknown(why: str) -> Verdict:
    """Return an unknown verdict: not checked, or reported by another check."""
    return Verdict("unknown", f"not checked, because {why}")


def examine(facts: Facts, rules: Iterable[Rule]) -> tuple[Check, ...]:
    """Evaluate every rule, in order."""
    checks = []
    for rule in rules:
        verdict = rule.judge(facts)
        checks.append(
            Check(rule.name, verdict.state, verdict.found, rule.wanted, rule.why, verdict.remedy, verdict.fix)
        )
    return tuple(checks)
