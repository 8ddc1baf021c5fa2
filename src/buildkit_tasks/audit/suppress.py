"""Applies the audit.ignore setting: `CODE reason` or `CODE:SUBJECT reason`; a subject may be a pattern. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.core.errors import Problem

from .catalogue import RULES, Finding

_FORM = re.compile(r"(BA\d{3})(?::(\S+))?(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One entry of the setting. An empty subject means every subject."""

    code: str
    subject: str
    reason: str
    text: str


def entries(given: Sequence[str]) -> tuple[Entry, ...]:
    """Parse the setting. Problems: settings-invalid."""
    found = []
    for text in given:
        match = _FORM.fullmatch(text.strip())
        if not match or match[1] not in RULES:
            raise Problem(
                "settings-invalid",
                f"The audit.ignore setting contains {text!r}, which does not start with a known code.",
                hint='write "CODE:SUBJECT reason", for example "BA006:/usr/bin/sudo operators need it"',
            )
        found.append(Entry(match[1], match[2] or "", (match[3] or "").strip(), text))
    return tuple(found)


def apply(ignored: Sequence[Entry], findings: Sequence[Finding], *, complete: bool) -> tuple[Finding, ...]:
    """Return the findings, with reasons, and a note for each entry without a reason or a matching finding.

    `complete`: all images of the project were audited; otherwise, an unused entry may be for another image.
    """
    used: set[Entry] = set()
    result = []
    for finding in findings:
        for entry in ignored:
            if entry.code == finding.code and fnmatch.fnmatchcase(finding.subject, entry.subject or "*"):
                used.add(entry)
                finding = replace(finding, reason=entry.reason)
                break
        result.append(finding)
    rule = RULES["BA000"]
    for entry in ignored:
        if entry not in used and complete:
            words = f"unused suppression: no finding matches {entry.text!r}"
        elif not entry.reason:
            words = f"{entry.text!r} has no reason"
        else:
            continue
        result.append(Finding("BA000", "audit.ignore", words, rule.severity, remedy=rule.remedy))
    return tuple(result)
