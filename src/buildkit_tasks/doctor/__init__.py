"""Checks for the machine and the project: facts in, verdicts out. Pure; diagnose.py gathers the facts."""

from __future__ import annotations

from .facts import Builder, Facts, Health, PortUse
from .rules import Check, Rule, examine
from .table import RULES

__all__ = ["RULES", "Builder", "Check", "Facts", "Health", "PortUse", "Rule", "examine"]
