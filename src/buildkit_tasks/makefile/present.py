"""Print the results of `import-makefile`: each target, the lines that no task replaces, and the next command."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from buildkit_tasks.adopt import present as adopt_present
from buildkit_tasks.adopt.disk import Change
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units

from .mapping import ACCEPTED, CERTAIN, NONE, OURS, PERHAPS, Row
from .model import Source

_WORDS = {
    CERTAIN: "certain",
    ACCEPTED: "accepted",
    OURS: "calls a task",
    PERHAPS: "kept",
    NONE: "kept",
}


def show(session: Session, sources: Sequence[Source], rows: Sequence[Row], notes: Sequence[str], *, just: bool) -> None:
    """Print a table of all targets, then the kept recipes with their lines."""
    report = session.report
    for source in sources:
        for note in source.notes:
            report.say(f"note: {source.path}, {note}")
        for name, target in source.aliases.items():
            report.say(f"note: {source.path}: alias {name} is kept; it refers to {target}")
    for note in notes:
        report.say(f"note: {note}")
    if report.json_only or not rows:
        return
    cells = [tuple(map(_shown, (row.name, _WORDS.get(row.kind, "kept"), _becomes(row), _about(row)))) for row in rows]
    report.table(("recipe" if just else "target", "", "task", "note"), cells)
    for row in rows:
        if row.left:
            why = "replaced anyway (--accept)" if row.kind == ACCEPTED else row.why
            near = f" (nearest: {row.calls[0].text('')})" if row.kind == PERHAPS and row.calls else ""
            report.answer(_shown(f"\n{row.rule.path}:{row.rule.first + 1}: {row.name}: {why}{near}"))
            report.answer(_shown("\n".join(f"    {line}" for text in row.left for line in text.split("\n"))))


def _shown(text: str) -> str:
    """Replace bytes that are not UTF-8, because they cannot be printed everywhere."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _becomes(row: Row) -> str:
    text = "; ".join(call.text("") for call in row.calls)
    if row.kind == PERHAPS and row.calls:
        return f"perhaps {row.calls[0].task}"
    return text or "-"


def _about(row: Row) -> str:
    parts = [] if row.replaced or row.left else [row.why]  # the reason is printed with the remaining lines
    parts += row.notes if row.replaced else ()
    if row.used:
        parts.append(f"no longer uses {', '.join(row.used)}")
    if row.replaced and row.rule.prerequisites:
        parts.append(f"still runs {' '.join(row.rule.prerequisites)} first")
    return "; ".join(filter(None, parts))


def differences(rows: Sequence[Row], known: Collection[str] | None, program: str) -> list[str]:
    """Return the targets listed by make or just that we did not find, and vice versa."""
    if known is None:
        return []
    ours = {name for row in rows for name in row.rule.names if not row.rule.pattern}
    conditional = {name for row in rows for name in row.rule.names if row.rule.conditions}
    more, less = sorted(set(known) - ours), sorted(ours - set(known) - conditional)
    found = [f"{program} also lists these targets, which are kept: {', '.join(more)}"] if more else []
    return [*found, *([f"{program} does not list {', '.join(less)}"] if less and program == "just" else [])]


def diff(session: Session, changed: Sequence[Change], known: Mapping[str, str]) -> None:
    """Print the changes as a unified diff. `known`: existing diffs by path."""
    for change in changed:
        session.report.say(f"{change.verb}: {change.path}")
    if not session.report.json_only:
        for change in changed:
            session.report.answer("\n" + _shown(known.get(change.path) or adopt_present.diff([change])))


def undone(session: Session, changed: Sequence[Change], kept: Sequence[str]) -> None:
    """Print the changes made by an undo and the files it skips."""
    for path in kept:
        session.report.say(f"kept: {path} was edited, and the edits conflict with the original", style="yellow")
    diff(session, changed, {})


def finish(session: Session, rows: Sequence[Row], changed: Sequence[Change], *, written: bool, dry_run: bool) -> None:
    """Print the totals and the next command, or everything as JSON."""
    report = session.report
    if report.json_only:
        report.envelope({"written": written, "targets": [_entry(row) for row in rows], "changes": _changes(changed)})
        return
    replaced = [row for row in rows if row.replaced]
    ours = sum(row.kind == OURS for row in rows)
    report.say(
        f"{units.counted(len(rows), 'target')}: {len(replaced)} {'call' if written else 'can call'} a task, "
        f"{ours} already did, {len(rows) - len(replaced) - ours} kept"
    )
    near = [row.rule.names[0] for row in rows if row.acceptable]
    if near and not written:
        report.say(f"to use the nearest task for a target that was kept, pass --accept {near[0]}")
    if not changed:
        report.say("nothing to change")
    elif written:
        report.say("written. To undo: invoke import-makefile --undo")
    else:
        report.say("nothing was written (dry run)" if dry_run else "nothing was written")


def _changes(changed: Sequence[Change]) -> list[dict[str, str]]:
    return [{"path": change.path, "how": change.verb} for change in changed]


def _entry(row: Row) -> dict[str, object]:
    return {
        "names": list(row.rule.names),
        "file": row.rule.path,
        "line": row.rule.first + 1,
        "help": row.rule.help,
        "prerequisites": list(row.rule.prerequisites),
        "result": row.kind,
        "tasks": [call.text("") for call in row.calls],
        "why": row.why,
        "notes": list(row.notes),
        "left": list(row.left),
        "no_longer_used": list(row.used),
    }
