"""`init`: read the repository, show the changes as a diff, ask, and write them; also undo and upgrade."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import docker
from buildkit_tasks.project import dotenv
from buildkit_tasks.recipes import package_files
from buildkit_tasks.survey import composed, look, model
from buildkit_tasks.survey.finding import Finding, Note
from buildkit_tasks.workspaces import cargo, tree

from . import base_images, disk, present, record, recorded
from . import check as checks
from . import files as adopted_files
from . import undo as undo_changes
from .disk import Change
from .earlier import before_init, read_record
from .present import Outcome
from .record import Entry, Record


def init(
    session: Session, *, compose: str = "edit", images: str = "auto", add: Sequence[str] = (), dry_run: bool = False
) -> Outcome:
    """Adopt the repository that contains the working directory, or its new services. Writes nothing without consent.

    Problems: not-rust, manifest-invalid, compose-invalid, compose-missing, adopt-conflict, tree-unreadable,
    tree-unwritable, consent-missing.
    """
    if compose not in adopted_files.MODES:
        raise Problem(
            "bad-argument", f"--compose must be edit or override, not {compose!r}.", hint="use --compose edit"
        )
    _require_images(images)
    root = _enter(session)
    old = read_record(root)
    files = tree.read(root)
    found = _model(session, files)
    finding = look.find(files, found.config, found.files, listed=found.listed, add=add)
    _require_rust(files, finding, found)
    finding, images = base_images.apply(session, finding, old.images if old.adopted else images)
    starts_ours = composed.starting_ours(files)
    more = [_not_edited(files, found, path, starts_ours) for path in found.others]
    written = adopted_files.write(files, look.with_notes(finding, more), compose=old.mode if old.adopted else compose)
    changed = disk.changes(root, written.texts)
    env = _creates(root, found)
    unset = [] if env else _unset(files, found)
    outcome = Outcome(finding, tuple(changed), (*written.notes, *unset))
    if not changed or dry_run:
        return outcome
    present.show(session, outcome)
    if env:
        session.report.say(f"compose requires {env}: it will be created from {env}.example, with generated secrets")
    if not session.report.consent(_question(session, root, changed)):
        return outcome
    read = {p for s in finding.services if s.recipe for p in (s.recipe.path, *(one.path for one in s.recipe.stages))}
    sources = {path: files.text(path) for path in sorted(read) if files.has(path)}
    texts = {p: t for p, t in written.texts.items() if Path(p).name not in package_files.COMPILE_FILES}
    new = replace(
        old,
        files={**old.files, **_entries(old, changed, texts)},
        sources={**sources, **old.sources},
        compose=old.compose or found.files,
        listed=old.listed or found.listed,
        mode=old.mode if old.adopted else compose,
        images=images,
        unconverted=tuple(dict.fromkeys((*old.unconverted, *checks.unconverted(written.notes, sources)))),
    )
    _write(session, root, changed, new, env=env)
    return replace(outcome, written=True)


def check(session: Session) -> Outcome:
    """Report what a build of this repository would be missing, as notes on the outcome. Writes nothing.

    Problems: those that `init` raises while reading.
    """
    root = _enter(session)
    files = tree.read(root)
    found = _model(session, files)
    finding = look.find(files, found.config, found.files, listed=found.listed)
    _require_rust(files, finding, found)
    old = read_record(root)
    ours = {record.PATH, *(path for path, entry in old.files.items() if entry.before is None)}
    if outdated := checks.older(files, old.files):
        them = f"{', '.join(outdated)} {'is' if len(outdated) == 1 else 'are'} from an earlier version"
        session.report.warn(f"{them} of buildkit-tasks: run `buildkit-tasks init --upgrade`")
    notes = (*checks.check(files, finding, ours), *_unset(files, found))
    return Outcome(finding, (), notes, unconverted=checks.still_there(files, old.unconverted))


def _unset(files: tree.Tree, found: model.Model) -> list[Note]:
    return checks.variables(files, found.files[0] if found.files else "", found.wanted)


def undo(session: Session, *, dry_run: bool = False) -> Outcome:
    """Restore every file to its original bytes, but keep later edits that do not touch our changes.

    Problems: adopt-missing if there is no record, tree-unwritable, consent-missing.
    """
    root = _enter(session)
    old = read_record(root)
    if not old.files:
        raise Problem(
            "adopt-missing",
            f"{record.PATH} does not exist, so `init` has not changed this repository.",
            hint="run `git log --stat` to see which commits changed which files",
        )
    changed, kept = undo_changes.changes(root, old.files)
    changed.append(Change(record.PATH, disk.read(root, record.PATH), None))
    outcome = Outcome(None, tuple(changed), kept=tuple(kept))
    if dry_run:
        return outcome
    present.show_changes(session, outcome)
    if not session.report.consent(f"restore {units.counted(len(changed), 'file')} to their state before `init`"):
        return outcome
    recorded.remove_unfinished(root, [change.path for change in changed] + list(old.files))
    disk.apply(root, changed)
    disk.remove_folders(root, old.folders)
    return replace(outcome, written=True)


def upgrade(session: Session, *, images: str = "auto", dry_run: bool = False) -> Outcome:
    """Upgrade the generated files to this version. User edits are kept; conflicting ones are shown and left alone.

    `images` changes the base images; `auto` keeps the earlier decision.
    Problems: adopt-missing, tree-unwritable, consent-missing.
    """
    _require_images(images)
    root = _enter(session)
    old = read_record(root)
    if not old.adopted:
        raise Problem("adopt-missing", "Nothing to upgrade.", hint="run `buildkit-tasks init`")
    files, found = before_init(session.world, root, old)
    finding = look.find(files, found.config if found else {}, old.compose, listed=old.listed)
    finding, images = base_images.apply(session, finding, old.images if images == "auto" else images)
    written = adopted_files.write(files, finding, compose=old.mode)
    wanted: dict[str, str] = {}
    kept: list[str] = []
    for path, text in written.texts.items():
        entry, content = old.files.get(path), disk.read(root, path)
        if entry and entry.before is not None:
            continue  # a user's file that we only added lines to
        current = None if content is None else content.decode("utf-8", errors="surrogateescape")
        if current is None or entry is None or entry.pristine(content or b""):
            wanted[path] = text
        elif entry.written is None:
            if current != text:
                kept.append(path)
        else:
            merged, conflict = record.merge(entry.written, current, text)
            if conflict:
                kept.append(path)
            else:
                wanted[path] = merged
    changed = disk.changes(root, wanted)
    outcome = Outcome(finding, tuple(changed), written.notes, tuple(kept))
    if dry_run or not changed:
        return outcome
    present.show(session, outcome)
    if not session.report.consent(_question(session, root, changed)):
        return outcome
    texts = {p: t for p, t in written.texts.items() if Path(p).name not in package_files.COMPILE_FILES}
    new = replace(old, files={**old.files, **_entries(old, changed, texts)}, images=images)
    _write(session, root, changed, new)
    return replace(outcome, written=True)


def _require_images(images: str) -> None:
    if images not in base_images.MODES:
        listed = ", ".join(base_images.MODES)
        raise Problem("bad-argument", f"--images must be one of {listed}, not {images!r}.", hint="use --images auto")


def _enter(session: Session) -> Path:
    """Return the repository's root, which becomes the session's project root."""
    root = model.root(session.world)
    session.__dict__["root"] = root
    return root


def _model(session: Session, files: tree.Tree) -> model.Model:
    names, listed, others = model.compose_files(session.world, files)
    if not names:
        return model.Model((), False, {}, others=others)
    return replace(model.resolve(session.world, files, names), listed=listed, others=others)


def _require_rust(files: tree.Tree, finding: Finding, found: model.Model) -> None:
    if finding.services:
        return
    if not any(files.named("Cargo.toml")):
        raise Problem(
            "not-rust",
            f"No Cargo.toml found in {files.root}.",
            causes=["buildkit-tasks builds images for Rust services"],
            hint="cd to a repository that contains a Rust service",
        )
    causes = [f"{item.name}: {item.why}" for item in finding.left]
    named = " ".join(item.why for item in finding.left).split()
    causes += [
        f"{note.where}: {note.text}"
        for note in finding.notes
        if note.text.startswith("not converted") and note.where not in named
    ]
    programs = [name for workspace in cargo.workspaces(files) for name in workspace.binaries]
    if not programs:
        raise Problem(
            "not-rust",
            "No crate in this repository has a binary target.",
            causes=causes or ["no crate has a src/main.rs, src/bin or [[bin]]"],
            hint="cd to a repository with a binary crate; buildkit-tasks does not build images for libraries",
        )
    more = f" and {len(programs) - 8} more" if len(programs) > 9 else ""
    names = ", ".join(programs[: 8 if more else 9]) + more
    builds = [path for path in found.others if composed.builds(files.text(path))]
    hint = f"run `COMPOSE_FILE={shlex.quote(builds[0])} buildkit-tasks init` to use that file, or " if builds else ""
    raise Problem(
        "not-rust",
        "No service in the compose file is built from a Rust workspace in this repository.",
        causes=causes or ["no service has a `build:` section"],
        hint=f"{hint}run `buildkit-tasks init --add {programs[0]}` to add a service for a program (available: {names})",
    )


def _not_edited(files: tree.Tree, found: model.Model, path: str, starts_ours: Callable[[str], bool]) -> Note:
    if found.files or not (composed.builds(files.text(path)) or starts_ours(path)):
        return Note(path, "not edited, because compose does not use this file")
    command = f"COMPOSE_FILE={shlex.quote(path)} buildkit-tasks init"
    return Note(path, f"not edited, because compose does not use this file; to use it, run `{command}`")


def _question(session: Session, root: Path, changed: Sequence[Change]) -> str:
    added = sum(1 for c in changed if c.before is None)
    question = f"add {units.counted(added, 'file')} and edit {len(changed) - added} in {root}"
    dirty = _dirty(session, root, [c.path for c in changed if c.before is not None])
    if dirty:
        words = f"uncommitted changes in {', '.join(dirty)}"
        session.report.warn(f"{words}. `init --undo` will restore the files with your uncommitted changes")
    return question


def _dirty(session: Session, root: Path, paths: Sequence[str]) -> list[str]:
    """Return the files with uncommitted changes."""
    if not paths or not (root / ".git").exists():
        return []
    try:
        result = run.capture(session.world, docker.git(root, "status", "--porcelain", "--", *paths))
    except Problem:
        return []
    return [line[3:] for line in result.stdout.splitlines()]


def _entries(old: Record, changed: Sequence[Change], texts: dict[str, str]) -> dict[str, Entry]:
    found = {}
    for change in changed:
        known = old.files.get(change.path)
        before = known.before if known else change.before
        found[change.path] = Entry(before, texts.get(change.path), record.digest(change.after or b""))
    return found


def _creates(root: Path, found: model.Model) -> str:
    """Return the missing .env that compose needs and that can be created from its example; empty if there is none."""
    env = posixpath.join(posixpath.dirname(found.files[0]) if found.listed and found.files else "", ".env")
    missing = not (root / env).exists() and (root / f"{env}.example").is_file()
    return env if missing and (found.wanted or env in found.env_files) else ""


def _write(session: Session, root: Path, changed: list[Change], new: Record, *, env: str = "") -> None:
    new = recorded.write(root, changed, new)
    if env:
        session.forget()  # the settings may now contain the compose file
        dotenv.ensure(session)
        content = disk.read(root, env) or b""
        new = replace(new, files={**new.files, env: Entry(None, None, record.digest(content))})
        recorded.write(root, [], new)
