"""Finds the Dockerfiles and the files they depend on, applies the rules and reports findings. Needs no engine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run, shapes, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Workspace
from buildkit_tasks.core.release import VERSION
from buildkit_tasks.project import compose
from buildkit_tasks.project.discover import read_workspace

from . import reading, sarif
from .catalogue import Finding
from .check import check
from .reading import Source

#: Maximum size of a script in bytes; larger files are not scripts.
_SCRIPT_LIMIT = 256_000
#: Directory levels below the context to search for a Cargo.toml.
_DEPTH = 3
_LEVELS = {"error": "error", "warning": "warning", "info": "note", "style": "note"}


@dataclass(frozen=True)
class Linted:
    """The checked files and the findings. `hadolint`: whether it also ran."""

    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    hadolint: bool

    @property
    def failing(self) -> tuple[Finding, ...]:
        """Errors and warnings that are not suppressed."""
        return tuple(f for f in self.findings if f.failing)


@dataclass(frozen=True)
class _Build:
    """A Dockerfile and its build context, with the arguments of each service."""

    dockerfile: Path
    context: Path
    services: Mapping[str, Mapping[str, str]]
    platforms: int = 1


def lint(session: Session, files: Sequence[str] = (), context: str = "") -> Linted:
    """Apply the rules to the Dockerfiles of the compose services, or to `files`.

    Problems: bad-argument for an unreadable file; without `files`, no-built-service and any from discovery.
    """
    builds = _given(session, files, context) if files else _discovered(session)
    base = _base(session)
    sources = [_source(build, base) for build in builds]
    theirs = _hadolint(session, base, [source.name for source in sources])
    found = check(sources, theirs or ())
    return Linted(tuple(dict.fromkeys(s.name for s in sources)), found, theirs is not None)


def print_result(session: Session, linted: Linted, *, as_sarif: bool = False) -> Problem | None:
    """Print the result in the requested format; returns the `Problem` lint-failed if there is an error or a warning."""
    problem = _problem(linted)
    if as_sarif:
        document = sarif.document(linted.findings, VERSION)
        session.report.answer(json.dumps(document, indent=2))
    elif session.report.json_only:
        session.report.envelope(_envelope(linted, problem))
    else:
        _print_findings(session, linted)
    return problem


# ---- which Dockerfiles


def _base(session: Session) -> Path:
    """Return the directory that file names are relative to: the project, else the working directory."""
    try:
        return session.root
    except Problem:
        return session.world.cwd


def _workspace(session: Session) -> Workspace:
    # the scope does not matter to the linter; passing one saves a query to compose
    named = Session(session.world, session.report, {**session.flags, "cache_scope": "lint"})
    return read_workspace(named, looking=True)


def _discovered(session: Session) -> list[_Build]:
    workspace = _workspace(session)
    builds: dict[tuple[Path, Path], _Build] = {}
    for service in compose.select(workspace, ()):
        if service.inline:
            session.report.warn(f"skipping the service {service.name}: its Dockerfile is inline in the compose file")
            continue
        if service.remote:
            session.report.warn(f"skipping the service {service.name}: its build context is remote ({service.remote})")
            continue
        key = (readfile.real(service.dockerfile), readfile.real(service.context))
        old = builds.get(key, _Build(*key, {}))
        builds[key] = replace(
            old,
            services={**old.services, service.name: service.args},
            platforms=max(old.platforms, len(service.build.get("platforms") or ())),
        )
    return list(builds.values())


def _given(session: Session, files: Sequence[str], context: str) -> list[_Build]:
    try:
        known = _discovered(session)
    except Problem:
        known = []  # Dockerfiles can be checked without a project or a docker command
    builds = []
    for name in files:
        path = readfile.real(session.world.cwd / name)
        matching = [b for b in known if b.dockerfile == path]
        if context:
            where = readfile.real(session.world.cwd / context)
            builds += [replace(b, context=where) for b in matching[:1]] or [_Build(path, where, {})]
        else:
            builds += matching or [_Build(path, _likely_context(session.world.cwd, path), {})]
    return builds


def _likely_context(cwd: Path, dockerfile: Path) -> Path:
    """Return the nearest directory that looks like a context, from the Dockerfile up to the working directory."""
    for folder in dockerfile.parents:
        if any((folder / name).exists() for name in (".dockerignore", "Cargo.toml", ".git")):
            return folder
        if folder == cwd:
            break
    return cwd if dockerfile.is_relative_to(cwd) else dockerfile.parent


# ---- the files around them


def read_source(dockerfile: Path, context: Path) -> Source:
    """Return a Dockerfile and the relevant files of its context. Raises `Problem` bad-argument if it cannot be read."""
    return _source(_Build(dockerfile, context, {}), context)


def _source(build: _Build, base: Path) -> Source:
    name = os.path.relpath(build.dockerfile, base)
    text = _text(build.dockerfile)
    if text is None:
        raise Problem(
            "bad-argument",
            f"The Dockerfile {build.dockerfile} cannot be read.",
            hint="pass an existing file with --file, or fix `dockerfile:` in the compose file",
        )
    own = build.dockerfile.with_name(build.dockerfile.name + ".dockerignore")
    source = Source(
        name=str(build.dockerfile) if name.startswith("..") else name,
        text=text,
        services=build.services,
        platforms=build.platforms,
        ignore=_text(own) if own.is_file() else _text(build.context / ".dockerignore"),
        workspaces=tuple(_workspaces(build.context)),
    )
    files = {path: _script(build.context, path) for path in sorted(reading.wanted(source))}
    return replace(source, files={path: body for path, body in files.items() if body is not None})


def _text(path: Path) -> str | None:
    try:
        return readfile.text(path, "replace")
    except OSError:
        return None


def _script(context: Path, name: str) -> str | None:
    """Return the text of a file in the context; None if it does not exist, is outside, or is too large for a script."""
    try:
        path = readfile.real(context / name)
        if not path.is_relative_to(context) or not path.is_file() or path.stat().st_size > _SCRIPT_LIMIT:
            return None
        data = readfile.content(path)
    except (OSError, ValueError):
        return None
    return None if b"\0" in data else data.decode(errors="replace")


def _workspaces(context: Path) -> Iterator[str]:
    """Yield the topmost directories with a Cargo.toml, relative to the context."""
    for folder, names, files in os.walk(context):
        here = os.path.relpath(folder, context)
        if "Cargo.toml" in files:
            names.clear()
            yield here
        elif here != "." and here.count(os.sep) >= _DEPTH - 1:
            names.clear()
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in ("target", "node_modules"))


def _hadolint(session: Session, base: Path, names: Sequence[str]) -> list[Finding] | None:
    """Return hadolint's findings with its own codes; None if it is not installed or fails."""
    program = shutil.which("hadolint", path=session.world.env.get("PATH"))
    if not program:
        return None
    argv = (program, "--no-fail", "--format", "json", *dict.fromkeys(names))
    result = run.capture(session.world, Command(argv, base), timeout=60)
    try:
        listed: list[dict[str, Any]] = shapes.loads(result.stdout, list)
        return [_theirs(one) for one in listed if one.get("level") in _LEVELS]
    except (ValueError, KeyError, TypeError, AttributeError):
        said = (result.stderr or result.stdout).strip().split("\n")[0]
        session.report.warn(f"hadolint failed (exit code {result.code}): {said}")
        return None


def _theirs(one: Mapping[str, Any]) -> Finding:
    code = str(one["code"])
    wiki = "https://www.shellcheck.net/wiki/" if code.startswith("SC") else "https://github.com/hadolint/hadolint/wiki/"
    return Finding(
        code=code,
        severity=_LEVELS[str(one["level"])],
        file=str(one["file"]),
        line=int(one["line"]),
        message=str(one["message"]),
        docs=wiki + code,
    )


# ---- output


def _counts(findings: Sequence[Finding]) -> str:
    """Return the counts, without suppressed findings."""
    return units.severities(f.severity for f in findings if f.reason is None)


def _problem(linted: Linted) -> Problem | None:
    if not linted.failing:
        return None
    files = len({f.file for f in linted.failing})
    return Problem(
        "lint-failed",
        f"{_counts(linted.failing)} in {units.counted(files, 'Dockerfile')}.",
        hint="fix each finding, or write `# buildkit-tasks: ignore=CODE reason` above the instruction",
    )


def _envelope(linted: Linted, problem: Problem | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "files": list(linted.files),
        "hadolint": linted.hadolint,
        "findings": [_entry(f) for f in linted.findings if f.reason is None],
        "suppressed": [{**_entry(f), "reason": f.reason} for f in linted.findings if f.reason is not None],
    }
    if problem:
        content["error"] = {"code": problem.code, "message": problem.message, "hint": problem.hint}
    return content


def _entry(finding: Finding) -> dict[str, Any]:
    names = ("code", "severity", "file", "line", "message", "why", "sources", "remedy", "docs")
    return {name: getattr(finding, name) for name in names}


def _print_findings(session: Session, linted: Linted) -> None:
    lines: list[str] = []
    explained: set[str] = set()
    for finding in linted.findings:
        if finding.reason is not None:
            continue
        lines.append(f"{finding.file}:{finding.line}: {finding.severity} {finding.code}: {finding.message}")
        if finding.code not in explained:
            explained.add(finding.code)
            seen = f" ({', '.join(finding.sources)})" if finding.sources else ""
            lines += [f"    why:   {finding.why}{seen}"] if finding.why else []
            lines += [f"    fix:   {finding.remedy}"] if finding.remedy else []
            lines += [f"    more:  {finding.docs}"] if finding.docs else []
    if lines:
        session.report.answer("\n".join(lines))
    suppressed = sum(f.reason is not None for f in linted.findings)
    tail = f"; {suppressed} suppressed by comments" if suppressed else ""
    tail += "; with hadolint" if linted.hadolint else "; without hadolint (only the BT rules were checked)"
    session.report.say(f"{', '.join(linted.files)}: {_counts(linted.findings)}{tail}")
