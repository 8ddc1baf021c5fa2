"""Prints the result of an audit: grouped, with each rule explained once, or as one JSON document."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem

from .catalogue import RULES, Finding, Place
from .flow import Audited

#: How many findings of one rule to print for the same images.
_SHOWN = 5
_WIDTH, _PIPED = 80, 10_000  # one line per finding for other programs


def print_result(session: Session, audited: Audited) -> Problem | None:
    """Print the result; returns the `Problem` audit-failed if there is an error."""
    problem = _problem(audited)
    if session.report.json_only:
        session.report.envelope(_envelope(audited, problem))
    else:
        _print(session, audited)
    return problem


def _counts(findings: Sequence[Finding]) -> str:
    parts = []
    for severity in ("error", "warning", "note"):
        count = sum(f.severity == severity and f.reason is None for f in findings)
        if count:
            parts.append(units.counted(count, severity))
    return ", ".join(parts) or "nothing found"


def _problem(audited: Audited) -> Problem | None:
    if not audited.failing:
        return None
    images = len({f.image for f in audited.failing})
    return Problem(
        "audit-failed",
        f"{_counts(audited.failing)} in {units.counted(images, 'image')}.",
        hint='fix each error, or add "CODE:SUBJECT reason" to the setting audit.ignore',
    )


def _envelope(audited: Audited, problem: Problem | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "images": [
            {
                "image": image.name,
                "service": audited.services.get(image.name),
                "id": image.id,
                "platform": image.platform,
                "layers": len(image.layers),
                "base_layers": image.base,
                "sbom": audited.written.get(f"{image.name} {image.platform}"),
            }
            for image in audited.images
        ],
        "bytes": audited.size,
        "vulnerabilities": {"scanner": audited.scanned.scanner or None, "reason": audited.scanned.reason or None},
        "findings": [_entry(f) for f in audited.findings if f.reason is None],
        "suppressed": [{**_entry(f), "reason": f.reason} for f in audited.findings if f.reason is not None],
    }
    if problem:
        content["error"] = {"code": problem.code, "message": problem.message, "hint": problem.hint}
    return content


def _entry(finding: Finding) -> dict[str, Any]:
    names = ("code", "severity", "image", "subject", "message", "remedy")
    rule = RULES[finding.code]
    layer = asdict(finding.layer) if finding.layer else None
    return {**{name: getattr(finding, name) for name in names}, "layer": layer, "why": rule.why, "docs": rule.docs}


def _print(session: Session, audited: Audited) -> None:
    lines: list[str] = []
    explained: set[str] = set()
    for group in _groups(audited.findings):
        lines += _lines(group, explained, _WIDTH if session.world.prints_to_terminal else _PIPED)
    if lines:
        session.report.answer("\n".join(lines))
    if audited.short:
        names = ", ".join(audited.short)
        session.report.say(f"not searched for in files, because the values are shorter than 8 characters: {names}")
    scanned = audited.scanned
    if not scanned.scanner:
        session.report.say(f"not checked for known vulnerabilities: {scanned.reason}")
    for path in audited.written.values():
        session.report.say(f"wrote {path}")
    suppressed = sum(f.reason is not None for f in audited.findings)
    tail = f"; {suppressed} suppressed by audit.ignore" if suppressed else ""
    tail += f"; vulnerabilities checked with {scanned.scanner}" if scanned.scanner else ""
    read = f"{units.counted(len(audited.images), 'image')}, {units.human(audited.size)} in {audited.seconds:.1f} s"
    session.report.say(f"{read}: {_counts(audited.findings)}{tail}")


def _groups(findings: Sequence[Finding]) -> Iterator[list[tuple[Finding, list[str]]]]:
    """Findings of the same rule, severity and images, each with its images; errors first."""
    images: dict[tuple[str, str, str, Place | None], tuple[Finding, list[str]]] = {}
    for finding in findings:
        if finding.reason is None:
            key = (finding.code, finding.severity, finding.message, finding.layer)
            images.setdefault(key, (finding, []))[1].append(finding.image)
    groups: dict[tuple[int, str, tuple[str, ...]], list[tuple[Finding, list[str]]]] = {}
    for finding, names in images.values():
        severity = ("error", "warning", "note").index(finding.severity)
        groups.setdefault((severity, finding.code, tuple(names)), []).append((finding, names))
    return iter([groups[key] for key in sorted(groups)])


def _lines(group: list[tuple[Finding, list[str]]], explained: set[str], width: int) -> Iterator[str]:
    finding, images = group[0]
    who = images[0] + (f" and {units.counted(len(images) - 1, 'more image')}" if len(images) > 1 else "")
    same = len({f.layer for f, _ in group}) == 1
    for one, _ in group[:_SHOWN]:
        yield from _wrapped(f"{who}: {one.severity} {one.code}: ", one.message, "    ", width)
        if one.layer and not same:
            yield from _layer(one.layer)
    if len(group) > _SHOWN:
        yield f"    … and {len(group) - _SHOWN} more; --json lists all"
    if finding.layer and same:
        yield from _layer(finding.layer)
    if finding.severity != "note" and finding.code not in explained:
        explained.add(finding.code)
        rule = RULES[finding.code]
        yield from _wrapped("    why:   ", rule.why)
        yield from _wrapped("    fix:   ", finding.remedy)
        yield f"    more:  {rule.docs}"


def _layer(layer: Place) -> Iterator[str]:
    words = f"{layer.number} of {layer.of}" + (f": {layer.step}" if layer.step else "")
    yield f"    layer: {words if len(words) <= _WIDTH - 11 else words[: _WIDTH - 12] + '…'}"


def _wrapped(start: str, words: str, indent: str = " " * 11, width: int = _WIDTH) -> list[str]:
    return textwrap.wrap(
        words,
        width,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
