"""`import-makefile`: read the file, show each target and the diff, ask, and write. The original can be restored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from buildkit_tasks.adopt import disk, record, recorded
from buildkit_tasks.adopt import undo as undo_changes
from buildkit_tasks.adopt.disk import Change
from buildkit_tasks.adopt.earlier import read_record
from buildkit_tasks.adopt.record import Entry
from buildkit_tasks.config import root as project_root
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.equivalents.calls import Facts
from buildkit_tasks.project import discover
from buildkit_tasks.survey import model as survey_model

from . import ask, files, justfile, makefile, mapping, present, reader, shim
from .expand import Variables
from .mapping import Row
from .model import Source

#: Maximum number of files to read.
_MOST = 50


@dataclass(frozen=True)
class Import:
    """A file and the files it includes, parsed and mapped. `base`: directory that paths are relative to."""

    base: str
    sources: tuple[Source, ...]
    rows: tuple[Row, ...]
    just: bool
    notes: tuple[str, ...] = ()


def run(
    session: Session, *, file: str = "", output: str = "", accept: Collection[str] = (), dry_run: bool = False
) -> None:
    """Replace recipes with task calls where possible. Ask before writing, and leave every other byte unchanged.

    Problems: makefile-missing, makefile-invalid, bad-argument, tree-unreadable, tree-unwritable, consent-missing.
    """
    root = survey_model.root(session.world)
    paths = files.paths(session, root, file)
    if output and len(paths) > 1:
        raise Problem(
            "bad-argument",
            f"--output supports only one file, but this repository has {', '.join(paths)}.",
            hint=f"--file {paths[0]}",
        )
    facts = _facts(session)
    imports = [_import(session, root, path, facts, accept, whole=not output) for path in paths]
    _require_known(imports, accept)
    texts = _texts(imports, files.below(session, root, output) if output else "")
    changed = disk.changes(root, texts)
    for found in imports:
        present.show(session, found.sources, found.rows, found.notes, just=found.just)
    written = False
    if changed:
        present.diff(session, changed, {} if output else _diffs(imports))
        if not dry_run and session.report.consent(f"write {', '.join(c.path for c in changed)} in {root}"):
            _write(session, root, changed)
            written = True
    present.finish(session, [row for found in imports for row in found.rows], changed, written=written, dry_run=dry_run)


def undo(session: Session, *, dry_run: bool = False) -> None:
    """Restore every imported file; later edits are kept unless they touch a replaced recipe.

    Problems: adopt-missing, tree-unwritable, consent-missing.
    """
    root = survey_model.root(session.world)
    old = read_record(root)
    ours = {path: entry for path, entry in old.files.items() if path in old.imported}
    if not ours:
        raise Problem(
            "adopt-missing",
            f"{record.PATH} does not list any imported files, so `import-makefile` has not changed this repository.",
            hint="run `git log --stat` to see which commits changed which files",
        )
    changed, kept = undo_changes.changes(root, ours)
    present.undone(session, changed, kept)
    if dry_run or not session.report.consent(f"restore {', '.join(c.path for c in changed) or 'nothing'}"):
        session.report.say("nothing was written")
        return
    left = {path: entry for path, entry in old.files.items() if path not in ours or path in kept}
    new = replace(old, files=left, imported=tuple(kept))
    after = record.dump(new).encode() if left else None
    disk.apply(root, [*changed, Change(record.PATH, disk.read(root, record.PATH), after)])
    if not left:
        disk.remove_folders(root, old.folders)
    session.report.say("restored the original recipes")


def _import(session: Session, root: Path, path: str, facts: Facts, accept: Collection[str], *, whole: bool) -> Import:
    base = str(PurePosixPath(path).parent)
    name, left = PurePosixPath(path).name, [_MOST]
    notes: list[str] = []

    def load(included: str) -> str | None:
        place = readfile.real(root / base / included)
        left[0] -= 1
        if left[0] < 0 or not place.is_relative_to(readfile.real(root)) or not place.is_file():
            why = "too many files" if left[0] < 0 else "not a file in this repository" if place.exists() else ""
            if why:
                notes.append(f"{included}: {why}; its targets are kept")
            return None
        return files.text(root, str(PurePosixPath(base, included)))

    text = files.text(root, path)
    if text is None:
        raise Problem("makefile-missing", f"{root / path} does not exist.", hint="ls")
    invoke = _invoke(root, base)
    facts = replace(facts, elsewhere=_elsewhere(session, root / base))
    is_just = "just" in name.lower()
    if is_just:
        sources = justfile.read(name, text, load)
        language = justfile.language(sources[0].variables)
        known = ask.just(session.world, root / base, name)
    else:
        variables = Variables()
        sources = reader.read(name, text, load, variables)
        language = makefile.language(variables.values)
        facts = replace(facts, service_word=makefile.service_word)
        why = ask.unsafe(sources)
        known = None if why else ask.make(session.world, root / base, name)
        if why:
            notes.append(f"make was not run to list the targets: {why}")
    values = {key: value for source in sources for key, value in source.variables.items()}
    rows = mapping.rows(sources, language, replace(facts, values=values), invoke, accept=accept)
    if not whole:
        rows = tuple(_only_listed(row) if row.rule.path != name and row.replaced else row for row in rows)
    known = known and known - sources[0].mentioned
    notes += present.differences(rows, known, "just" if is_just else "make")
    return Import(base, sources, rows, is_just, tuple(notes))


def _only_listed(row: Row) -> Row:
    lines = tuple(step.text for step in row.rule.steps)
    return replace(row, kind=mapping.PERHAPS, why=f"--output does not change {row.rule.path}", left=lines)


def _invoke(root: Path, base: str) -> str:
    """Return the command that targets use to call tasks. invoke finds a tasks.py in their directory or its parents."""
    for folder in (root / base, *(root / base).parents):
        try:
            ours = b"buildkit_tasks" in readfile.content(folder / "tasks.py")
        except OSError:
            ours = False
        if ours or folder == root:
            return "invoke" if ours else "buildkit-tasks"
    return "buildkit-tasks"


def _elsewhere(session: Session, folder: Path) -> str:
    try:
        project = session.root
    except Problem:
        return ""
    return "" if readfile.real(folder) == readfile.real(project) else f"{folder.name}/"


def _facts(session: Session) -> Facts:
    """Return what compose reports about the project; empty if there is no project or compose fails."""
    try:
        names = tuple(path.name for path in project_root.compose_files(session.root))
        workspace = discover.read_workspace(session, looking=True)
    except Problem as problem:
        session.report.say(f"cannot compare services and databases with the compose file: {problem.message}")
        return Facts()
    services = workspace.config.get("services") or {}
    databases = {}
    for service, entry in services.items():
        environment = entry.get("environment") or {}
        for variable in ("POSTGRES_DB", "MYSQL_DATABASE", "MARIADB_DATABASE", "POSTGRES_USER"):
            if environment.get(variable):
                databases[str(environment[variable])] = service
                break
    images = {
        str(entry["image"]): name for name, entry in services.items() if entry.get("image") and entry.get("build")
    }
    return Facts(names, tuple(services), images, databases)


def _require_known(imports: Sequence[Import], accept: Collection[str]) -> None:
    """Raise `Problem` bad-argument for an accepted target that its nearest task cannot replace."""
    rows = [row for found in imports for row in found.rows]
    for name in accept:
        row = next((row for row in rows if name in row.rule.names), None)
        if row is None or not (row.replaced or row.kind == mapping.OURS):
            near = [r.rule.names[0] for r in rows if r.acceptable]
            why = f"{row.rule.kept or row.why or 'no task comes close'}" if row else "no such target"
            raise Problem(
                "bad-argument",
                f"--accept {name}: {why}.",
                hint=f"use --accept with one of these targets: {', '.join(near) or 'none'}",
            )


def _texts(imports: Sequence[Import], output: str) -> dict[str, str]:
    texts = {}
    for found in imports:
        for source in found.sources[:1] if output else found.sources:
            path = output or str(PurePosixPath(found.base, source.path))
            texts[path] = shim.text(source, found.rows, phony=not found.just)
    return texts


def _diffs(imports: Sequence[Import]) -> dict[str, str]:
    """Return the diff of each changed file by its path relative to the root."""
    found = {}
    for item in imports:
        for source in item.sources:
            path = str(PurePosixPath(item.base, source.path))
            changes = shim.edits(source, item.rows, phony=not item.just)
            found[path] = shim.diff(replace(source, path=path), changes)
    return found


def _write(session: Session, root: Path, changed: list[Change]) -> None:
    old = read_record(root)
    files = dict(old.files)
    for change in changed:
        entry = _entry(old.files.get(change.path), change)
        if entry is None:
            session.report.warn(f"{change.path} was edited after the last import; undo may not be able to restore it")
        else:
            files[change.path] = entry
    imported = tuple(dict.fromkeys((*old.imported, *(change.path for change in changed))))
    recorded.write(root, changed, replace(old, files=files, imported=imported))


def _entry(known: Entry | None, change: Change) -> Entry | None:
    """Return the record of a change. If the file was imported before, later user edits are added to its original."""
    after = (change.after or b"").decode("utf-8", "surrogateescape")
    digest = record.digest(change.after or b"")
    if known is None:
        return Entry(change.before, after, digest)
    if change.before is None or known.pristine(change.before):
        return Entry(known.before, after, digest)
    before = undo_changes.without_ours(known, change.before)
    return None if before is None else Entry(before, after, digest)
