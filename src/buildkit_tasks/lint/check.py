"""Runs all rules on all files, and applies the comments that suppress findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.dockerfiles import syntax

from . import arguments, mounts, sources
from .catalogue import RULES, Finding
from .mounts import Hit
from .reading import File, Source

_SUPPRESSION = re.compile(r"buildkit-tasks:\s*ignore\s*=\s*([A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)\s*(.*)", re.IGNORECASE)


def check(given: Sequence[Source], others: Iterable[Finding] = ()) -> tuple[Finding, ...]:
    """Return the findings, sorted by file and line. `others` are from another tool and can also be suppressed."""
    files = [File(source, service) for source in given for service in source.services or {"": {}}]
    found: dict[tuple[str, int, str, str], Finding] = {}
    for file in files:
        for rules in (mounts.check, sources.check, arguments.check):
            for hit in rules(file):
                _add(found, file, hit)
    for file, hit in mounts.across(files):
        _add(found, file, hit)
    everything = [*found.values(), *others]
    for source in given:
        everything = _suppress(source, everything)
    order = {source.name: n for n, source in enumerate(given)}
    return tuple(sorted(everything, key=lambda f: (order.get(f.file, len(order)), f.line, f.code)))


def _add(found: dict[tuple[str, int, str, str], Finding], file: File, hit: Hit) -> None:
    code, line, message = hit[:3]
    rule = RULES[code]
    finding = Finding(
        code=code,
        severity=hit[3] if len(hit) > 3 else rule.severity,
        file=file.source.name,
        line=line,
        message=message,
        why=rule.why,
        sources=rule.sources,
        remedy=rule.remedy,
        docs=rule.docs,
    )
    # Services that share a file produce the same findings; report a race or a toolchain once per line.
    key = (finding.file, line, code, "" if code in ("BT004", "BT014") else message)
    found.setdefault(key, finding)


@dataclass(frozen=True)
class _Suppression:
    line: int
    codes: tuple[str, ...]
    reason: str
    first: int
    last: int


def _suppressions(text: str) -> list[_Suppression]:
    """Return each suppression, with the lines of the instruction that contains or follows it."""
    items = list(syntax.instructions(text))
    found = []
    for comment in syntax.comments(text):
        match = _SUPPRESSION.match(comment.text)
        if match:
            codes = tuple(code.strip().upper() for code in match[1].split(","))
            item = next((i for i in items if i.end >= comment.line), None)
            first, last = (item.line, item.end) if item else (0, 0)
            found.append(_Suppression(comment.line, codes, match[2].strip(), first, last))
    return found


def _suppress(source: Source, findings: list[Finding]) -> list[Finding]:
    notes = []
    for one in _suppressions(source.text):
        hits = {
            code: [
                n
                for n, f in enumerate(findings)
                if f.file == source.name and f.code == code and one.first <= f.line <= one.last
            ]
            for code in one.codes
        }
        for code, places in hits.items():
            for n in places:
                findings[n] = replace(findings[n], reason=one.reason)
            if not places:
                notes.append((one.line, f"Unused suppression: {code} was not found in the instruction below."))
        if not one.reason:
            notes.append((one.line, f"{', '.join(one.codes)} is suppressed without a reason."))
    rule = RULES["BT000"]
    return findings + [
        Finding(rule.code, rule.severity, source.name, line, text, rule.why, rule.sources, rule.remedy, rule.docs)
        for line, text in notes
    ]
