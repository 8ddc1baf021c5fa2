"""The output of `init`: what it found, the diff, and the next command."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.existing.recipe import Recipe
from buildkit_tasks.recipes import package_files
from buildkit_tasks.survey.finding import Finding, Note

from .disk import Change


@dataclass(frozen=True)
class Outcome:
    """What was found and changed, or would be changed in a dry run. `unconverted`: what an earlier `init` reported on
    Dockerfiles that still exist."""

    finding: Finding | None
    changes: tuple[Change, ...]
    notes: tuple[Note, ...] = ()
    kept: tuple[str, ...] = ()
    written: bool = False
    unconverted: tuple[Note, ...] = ()


def finish(session: Session, outcome: Outcome, *, dry_run: bool, checked: bool = False) -> None:
    """Print the result of a finished call: what was done and the next command.

    Raises `Problem` adopt-incomplete if a check found anything.
    """
    report = session.report
    if report.json_only:
        report.envelope(envelope(outcome))
        if checked:
            _finish_check(session, outcome)
        return
    if checked:
        _finish_check(session, outcome)
        return
    if dry_run or not outcome.changes:
        show(session, outcome)
    if not outcome.changes:
        report.say("nothing to change: all files are up to date")
    elif dry_run:
        report.say("nothing was written (dry run)")
    elif outcome.written and outcome.finding:
        _show_notes(session, [note for note in outcome.notes if note.open])  # repeated, because the diff is long
        report.say(f"written. Next: {_build(outcome)}    (to undo: buildkit-tasks init --undo)")
    elif outcome.written:
        report.say("undone: restored all files")
    else:
        report.say("nothing was written")


def _finish_check(session: Session, outcome: Outcome) -> None:
    if not session.report.json_only:
        _show_notes(session, outcome.unconverted)
    if outcome.notes:
        raise Problem(
            "adopt-incomplete",
            f"The repository needs {units.counted(len(outcome.notes), 'more edit')} before it can be built.",
            causes=[f"{note.where}: {note.text}" for note in outcome.notes],
            hint=f"make the edits listed above, then run `{_build(outcome)}`",
        )
    if not session.report.json_only:
        files = ", ".join(dict.fromkeys(note.where.partition(":")[0] for note in outcome.unconverted))
        found = f"nothing else is missing (to clear this list, delete {files})" if files else "nothing is missing"
        session.report.say(f"{found}. Next: {_build(outcome)}")


def _build(outcome: Outcome) -> str:
    """Return the command that builds the adopted services, listing them if they belong to profiles."""
    services = outcome.finding.services if outcome.finding else ()
    if services and all(service.profiles for service in services):
        return f"buildkit-tasks build --service {','.join(service.name for service in services)}"
    return "buildkit-tasks build"


def show(session: Session, outcome: Outcome) -> None:
    """Print a finding, the files that change, and the diff."""
    report = session.report
    finding = outcome.finding
    if finding:
        for service in finding.services:
            where = "" if service.workspace == "." else f" of {service.workspace}"
            how = f"already builds with {service.adopted}" if service.adopted else _origin(service.recipe)
            names = dict.fromkeys([service.binary, *(program.name for program in service.programs)])
            word = "programs" if len(names) > 1 else "program"
            report.say(f"service {service.name}: {word} {', '.join(names)}{where}, {how}")
        for item in finding.left:
            report.say(f"service {item.name} skipped: {item.why}")
    _show_notes(session, outcome.notes)
    show_changes(session, outcome)
    if outcome.changes:
        report.answer(diff(outcome.changes))


def _show_notes(session: Session, notes: Sequence[Note]) -> None:
    for note in notes:
        word = "check" if note.open else "note"
        session.report.say(f"{word}: {note.where}: {note.text}", style="yellow" if note.open else "")


def diff(changes: Sequence[Change]) -> str:
    """Return the changes as a unified diff. Added files are included in full, but only the length of compile files."""
    parts = []
    for change in changes:
        name = change.path
        before, after = (
            [] if text is None else text.decode("utf-8", errors="replace").splitlines(keepends=False)
            for text in (change.before, change.after)
        )
        if Path(name).name in package_files.COMPILE_FILES and change.before is None:
            parts.append(f"--- /dev/null\n+++ b/{name}\n@@ buildkit-tasks compile step, {len(after)} lines @@")
            continue
        old, new = f"a/{name}" if change.before is not None else "/dev/null", f"b/{name}"
        parts.append("\n".join(difflib.unified_diff(before, after, old, new, n=3, lineterm="")))
    return "\n".join(parts)


def _origin(taken: object) -> str:
    if not isinstance(taken, Recipe):
        return "had no Dockerfile"
    kinds = {
        "mounts": "with cache mounts",
        "chef": "with cargo-chef",
        "plain": "without a cache",
        "single-stage": "in a single stage",
        "prebuilt": "with a prebuilt program",
    }
    compiled = {stage.path for stage in taken.compiling} - {taken.path}
    paths = " and ".join([taken.path, *sorted(compiled)])
    return f"converted from {paths} ({kinds[taken.kind]})"


def show_changes(session: Session, outcome: Outcome) -> None:
    """Print the changed files, and the files kept because the user edited them."""
    for path in outcome.kept:
        session.report.say(f"kept {path}: your edits conflict with this change", style="yellow")
    for change in outcome.changes:
        session.report.say(f"{change.verb}: {change.path}")


def envelope(outcome: Outcome) -> dict[str, object]:
    """Return the outcome as JSON-ready values."""
    finding = outcome.finding
    return {
        "written": outcome.written,
        "services": [
            {"name": s.name, "binary": s.binary, "workspace": s.workspace, "adopted": bool(s.adopted)}
            for s in finding.services
        ]
        if finding
        else [],
        "left_alone": [{"name": i.name, "why": i.why} for i in finding.left] if finding else [],
        "changes": [{"path": c.path, "how": c.verb} for c in outcome.changes],
        "kept": list(outcome.kept),
        "notes": [{"where": n.where, "text": n.text, "open": n.open} for n in outcome.notes],
        "unconverted": [{"where": n.where, "text": n.text} for n in outcome.unconverted],
    }
