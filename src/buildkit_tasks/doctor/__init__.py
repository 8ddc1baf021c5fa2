"""Checks of the machine and the project: gathered facts in, judgements out. Pure; diagnose.py gathers."""

from __future__ import annotations

from .facts import Builder, Facts, Health, PortUse
from .rules import Check, Rule, examine
from .table import RULES

__all__ = ["RULES", "Builder", "Check", "Facts", "Health", "PortUse", "Rule", "examine"]
