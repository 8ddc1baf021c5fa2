"""Prints the result of an audit: grouped, with each rule explained once, or as one JSON document."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem

from .catalogue import RULES, Finding
from .flow import Audited

#: Maximum number of images, and of findings per rule in them, to print. The width of the text.
_SHOWN, _WIDTH = 5, 80


def print_result(session: Session, audited: Audited) -> Problem | None:
    """Print the result; returns the `Problem` audit-failed if there is an error."""
    problem = _problem(audited)
    if session.report.json_only:
        session.report.envelope(_envelope(audited, problem))
    else:
        _print(session, audited)
    return problem


def _counts(findings: Sequence[Finding]) -> str:
    """Return the counts, without suppressed findings."""
    return units.severities(f.severity for f in findings if f.reason is None)


def _problem(audited: Audited) -> Problem | None:
    if not audited.failing:
        return None
    images = len({f.image for f in audited.failing})
    return Problem(
        "audit-failed",
        f"{_counts(audited.failing)} in {units.counted(images, 'image')}.",
        hint='fix each error, or add "CODE:SUBJECT reason" to the audit.ignore setting',
    )


def _envelope(audited: Audited, problem: Problem | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "images": [
            {
                "image": image.name,
                "services": list(audited.services[image.name]),
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
    for group, images in _groups(audited.findings):
        lines += _lines(group, images, explained)
    if lines:
        session.report.answer("\n".join(lines))
    if audited.short:
        names = ", ".join(audited.short)
        session.report.say(
            f"did not search for these variables' values, because they are shorter than 8 characters: {names}"
        )
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


def _groups(findings: Sequence[Finding]) -> Iterator[tuple[list[Finding], tuple[str, ...]]]:
    """Group findings of the same rule and severity in the same images, with these images; errors first."""
    images: dict[tuple[str, str, str, str], tuple[Finding, list[str]]] = {}
    for finding in findings:
        if finding.reason is None:
            layer = finding.layer.digest if finding.layer else ""
            key = (finding.code, finding.severity, finding.message, layer)
            images.setdefault(key, (finding, []))[1].append(finding.image)
    groups: dict[tuple[int, str, tuple[str, ...]], list[Finding]] = {}
    for finding, names in images.values():
        severity = ("error", "warning", "note").index(finding.severity)
        groups.setdefault((severity, finding.code, tuple(dict.fromkeys(names))), []).append(finding)
    return ((groups[key], key[2]) for key in sorted(groups))


def _lines(group: Sequence[Finding], images: Sequence[str], explained: set[str]) -> Iterator[str]:
    rule = RULES[group[0].code]
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    yield from _wrapped(f"{group[0].severity} {rule.heading}: ", ", ".join(images[:_SHOWN]) + more)
    rest = f"and {len(group) - _SHOWN} more; --json lists them all"
    if group[0].severity == "note" and len(group) > 2:
        others = ", ".join(finding.subject or finding.message for finding in group[1:_SHOWN])
        words = f"{group[0].message}; also {others}" + (f" {rest}" if len(group) > _SHOWN else "")
        yield from _wrapped("    ", words, "      ")
        return
    for number, finding in enumerate(group[:_SHOWN], start=1):
        yield from _wrapped("    ", finding.message, "      ")
        following = group[number].layer if number < min(len(group), _SHOWN) else None
        if finding.layer and finding.layer != following:
            words = f"    layer {finding.layer.number}: {finding.layer.step or finding.layer.digest}"
            yield words if len(words) <= _WIDTH else f"{words[: _WIDTH - 1]}…"
    if len(group) > _SHOWN:
        yield f"    {rest}"
    if group[0].severity != "note" and rule.code not in explained:
        explained.add(rule.code)
        yield from _wrapped("    why:   ", rule.why)
        yield from _wrapped("    fix:   ", group[0].remedy)
        yield f"    more:  {rule.docs}"


def _wrapped(start: str, words: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        words,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=indent or " " * (11 if ":   " in start else 4),
        break_long_words=False,
        break_on_hyphens=False,
    )
