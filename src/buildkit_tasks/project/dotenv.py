"""Creates or completes .env: adds missing lines, generates secrets, and never changes the user's values."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.dotenv import disk as dotenv_disk
from buildkit_tasks.dotenv import edit as dotenv_edit
from buildkit_tasks.dotenv import text as dotenv_text
from buildkit_tasks.dotenv.edit import Completion

from . import compose_words, known_files

#: Bytes of randomness in a generated secret; URL-safe text needs no quoting in .env, YAML or a URL.
SECRET_BYTES = 24


def ensure(session: Session) -> Completion | None:
    """Complete .env from .env.example and set its mode to 0600; returns None if nothing was missing.

    Concurrent runs wait for each other. Does nothing without an example. Problems: dotenv-unreadable, dotenv-invalid,
    timed-out.
    """
    path = session.dotenv_file
    example_path = path.with_name(".env.example")
    example = dotenv_disk.read(example_path)
    if example is None:
        return None
    try:
        empty = dotenv_edit.empty_names(example)
    except dotenv_text.Refused as refused:
        raise dotenv_disk.invalid(example_path, refused) from None
    with dotenv_disk.locked(path, session.report.say):
        existing = dotenv_disk.read(path)
        try:
            generated = {name: secrets.token_urlsafe(SECRET_BYTES) for name in empty}
            done = dotenv_edit.complete(example, existing or "", generated)
        except dotenv_text.Refused as refused:
            raise dotenv_disk.invalid(path, refused) from None
        _read_back(session, done, existing or "")
        if done.text == (existing or ""):
            if path.exists() and path.stat().st_mode & 0o077:
                path.chmod(0o600)
            return None
        dotenv_disk.write_private(path, done.text, existing)
    session.forget()
    return done


def offer(session: Session, files: Callable[[], Sequence[Path]]) -> None:
    """Offer to create a missing .env if compose has no value for a secret that .env.example leaves empty.

    Without a terminal, this needs --yes. Otherwise the stack starts as compose would start it. Problems: as `ensure`.
    """
    path = session.dotenv_file
    asks = session.report.yes or session.world.interactive
    if not asks or path.exists() or session.env_files != (path,):
        return
    try:
        example = dotenv_disk.read(path.with_name(".env.example")) or ""
        names = [name for name in dotenv_edit.empty_names(example) if name not in session.world.env]
    except (Problem, dotenv_text.Refused):
        return  # compose does not read this file
    if not any(known_files.may_have(session, files, name.encode()) for name in names):
        return
    said = run.capture(session.world, compose_cli.config(session.root, session.compose_files)).stderr
    missing = {*compose_cli.unset_variables(said), *compose_words.required(said)}
    what = f"{path} does not exist: create it from .env.example, with generated values for {', '.join(names)}"
    if missing.intersection(names) and session.report.consent(what):
        session.report.say(f"  {words(session, ensure(session))}")


def _read_back(session: Session, done: Completion, existing: str) -> None:
    """Check that compose can read the new file, including variables in values. Raises `Problem` dotenv-invalid."""
    path = session.dotenv_file
    try:
        dotenv_text.parse(done.text, session.world.env)
    except dotenv_text.Refused as refused:
        if refused.line <= len(existing.removesuffix("\n").split("\n")) and existing:
            raise dotenv_disk.invalid(path, refused) from None
        problem = dotenv_disk.invalid(path.with_name(".env.example"), refused)
        raise Problem(
            "dotenv-invalid",
            f"{path} would become invalid with the additions from .env.example: {refused.words}; nothing was written.",
            hint=problem.hint,
        ) from None


def check(session: Session) -> bool:
    """Ask compose whether every required variable is set; False without compose.

    Problems: dotenv-incomplete, dotenv-invalid. Other errors of compose are not reported.
    """
    try:
        result = run.capture(session.world, compose_cli.config(session.root, session.compose_files))
    except Problem as problem:
        if problem.code == "engine-missing":
            return False
        raise
    problem_found = compose_words.about_dotenv(session, result.stderr) if result.code != 0 else None
    if problem_found:
        raise problem_found
    return result.code == 0


def words(session: Session, done: Completion | None) -> str:
    """Return the result of `ensure` in one line; contains names but never values."""
    path = session.dotenv_file
    if done:
        changes = (("added", done.added), ("filled", done.filled))
        parts = [f"{what} {', '.join(names)}" for what, names in changes if names]
        return f"{path}: completed; {'; '.join(parts)}"
    if not (path.with_name(".env.example")).exists():
        return f"{path}: not changed, because .env.example does not exist"
    return f"{path}: up to date"
