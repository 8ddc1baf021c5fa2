"""All rules, in the order a person would check them."""

from __future__ import annotations

from . import engine_rules, machine_rules, project_rules
from .rules import Rule

RULES: tuple[Rule, ...] = (*engine_rules.RULES, *machine_rules.RULES, *project_rules.RULES)
