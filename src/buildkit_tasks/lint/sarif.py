"""Findings as SARIF 2.1.0, for code scanning. https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from .catalogue import RULES, Finding, Rule


def document(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """Return the SARIF log: a run for the BT rules, and one for hadolint if it found anything.

    Paths are relative to the repository.
    """
    theirs = [f for f in findings if f.code not in RULES]
    runs = [_run("buildkit-tasks", version, list(RULES), [f for f in findings if f.code in RULES])]
    if theirs:
        runs.append(_run("hadolint", "", sorted({f.code for f in theirs}), theirs))
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": runs}


def _run(tool: str, version: str, codes: list[str], findings: list[Finding]) -> dict[str, Any]:
    driver: dict[str, Any] = {"name": tool, "rules": [_rule(code) for code in codes]}
    if version:
        driver["version"] = version
    return {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "results": [_result(f, codes.index(f.code)) for f in findings],
    }


def _rule(code: str) -> dict[str, Any]:
    rule: Rule | None = RULES.get(code)
    if rule is None:
        return {"id": code}
    return {
        "id": code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.name.replace("-", " ")},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.remedy}\n{rule.docs}\n{' '.join(rule.sources)}".strip()},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    region = {"startLine": max(finding.line, 1)}
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": f"{finding.message} {finding.remedy}".strip()},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": quote(finding.file)}, "region": region}},
        ],
    }
    if finding.reason is not None:
        suppression = {"kind": "inSource"}
        if finding.reason:
            suppression["justification"] = finding.reason
        result["suppressions"] = [suppression]
    return result
