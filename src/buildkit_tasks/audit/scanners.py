"""Known vulnerabilities, from trivy or grype with a database that is already on this machine. Nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Result
from buildkit_tasks.core.world import World

from .catalogue import RULES, Finding

#: Seconds for one image.
TIMEOUT = 600.0

_SERIOUS = ("CRITICAL", "HIGH")

_TRIVY = {
    "Results": [
        {
            "Vulnerabilities": [
                {
                    "VulnerabilityID": str,
                    "PkgName": str,
                    "InstalledVersion": str,
                    "FixedVersion": str,
                    "Severity": str,
                    "PrimaryURL": str,
                }
            ]
        }
    ]
}
_GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": str, "severity": str, "fix": {"versions": [str]}},
            "artifact": {"name": str, "version": str},
        }
    ]
}


@dataclass(frozen=True)
class Scanner:
    """A scanner: its arguments for an image, and how to read its output. `fetch`: how to get its database."""

    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    shape: shapes.Shape
    entries: Callable[[Mapping[str, Any]], Iterator[tuple[str, str, str, str, str]]]
    fetch: str


def _of_trivy(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for result in content.get("Results") or ():
        for entry in result.get("Vulnerabilities") or ():
            names = ("VulnerabilityID", "PkgName", "InstalledVersion", "FixedVersion", "Severity")
            known, package, version, fixed, severity = (str(entry.get(name) or "") for name in names)
            yield known, package, version, fixed, severity.upper()


def _of_grype(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for match in content.get("matches") or ():
        entry, package = match.get("vulnerability") or {}, match.get("artifact") or {}
        fixed = ", ".join((entry.get("fix") or {}).get("versions") or ())
        severity = str(entry.get("severity") or "").upper()
        yield str(entry.get("id") or ""), str(package.get("name")), str(package.get("version")), fixed, severity


_OFFLINE = ("--skip-db-update", "--skip-java-db-update", "--offline-scan")

SCANNERS = (
    Scanner(
        "trivy",
        ("trivy", "image", "--quiet", "--scanners", "vuln", *_OFFLINE, "--format", "json"),
        (),
        _TRIVY,
        _of_trivy,
        "trivy image --download-db-only",
    ),
    Scanner(
        "grype",
        ("grype", "--quiet", "--output", "json"),
        (("GRYPE_DB_AUTO_UPDATE", "false"), ("GRYPE_CHECK_FOR_APP_UPDATE", "false")),
        _GRYPE,
        _of_grype,
        "grype db update",
    ),
)


@dataclass(frozen=True)
class Scanned:
    """The result for all images. `scanner`: "" if none ran; `reason`: why not, and how to change that."""

    scanner: str = ""
    reason: str = ""
    findings: tuple[Finding, ...] = ()


def scan(world: World, cwd: Path, images: Iterable[str]) -> Scanned:
    """Scan local images with the first scanner on PATH."""
    found = next((s for s in SCANNERS if shutil.which(s.name, path=world.env.get("PATH"))), None)
    if found is None:
        fetch = SCANNERS[0].fetch
        return Scanned(reason=f"install trivy or grype, then download its database (`{fetch}`)")
    findings: list[Finding] = []
    for name in images:
        reference = name if found.name == "trivy" else f"docker:{name}"
        try:
            result = run.capture(world, Command((*found.argv, reference), cwd, found.env), timeout=TIMEOUT)
            if result.code != 0:
                raise ValueError(_last(result))
            content = shapes.loads(result.stdout, dict)
            shapes.check(content, found.shape)
        except ValueError as error:
            words = f"{found.name} failed for {name}: {error}. To download its database, run `{found.fetch}`"
            return Scanned(reason=words)
        except Problem as problem:  # endless output
            if problem.code != "answer-invalid":
                raise
            return Scanned(reason=f"{found.name} failed for {name}: {problem.message}")
        findings += dict.fromkeys(_finding(name, *entry) for entry in found.entries(content))
    return Scanned(found.name, "", tuple(findings))


def _last(result: Result) -> str:
    lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return (lines[-1][:200] if lines else f"exit code {result.code}").rstrip(".")


def _finding(image: str, known: str, package: str, version: str, fixed: str, severity: str) -> Finding:
    rule = RULES["BA010"]
    serious = severity in _SERIOUS
    level = "error" if serious and fixed else rule.severity if serious else "note"
    words = f"{package} {version} has {known} ({severity.lower() or 'severity unknown'}"
    words += f"; fixed in {fixed})" if fixed else "; no fixed version)"
    return Finding(rule.code, image, words, level, known, remedy=rule.remedy)
