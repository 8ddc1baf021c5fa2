"""Create or complete .env: add what only the example has, generate secrets, never change the user's values."""

from __future__ import annotations

import secrets

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import compose_cli, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dotenv import disk as dotenv_disk
from buildkit_tasks.dotenv import edit as dotenv_edit
from buildkit_tasks.dotenv import text as dotenv_text
from buildkit_tasks.dotenv.edit import Completion

from . import compose_words
from .discover import compose_files

#: Bytes of randomness in a generated secret; urlsafe text needs no quoting in .env, YAML or a URL.
SECRET_BYTES = 24


def ensure(session: Session) -> Completion | None:
    """Complete .env from .env.example; None if nothing was missing. Sets the file's mode to 0600.

    Two runs at once wait for each other. Problems: dotenv-unreadable, dotenv-invalid, timed-out. Without an example
    there is nothing to do.
    """
    example_path, path = session.root / ".env.example", session.root / ".env"
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
    for name in ("dotenv", "_loaded"):
        session.__dict__.pop(name, None)
    return done


def _read_back(session: Session, done: Completion, existing: str) -> None:
    """Compose must be able to read the new file, variables in values included. Raises `Problem` dotenv-invalid."""
    path = session.root / ".env"
    try:
        dotenv_text.parse(done.text, session.world.env)
    except dotenv_text.Refused as refused:
        if refused.line <= len(existing.removesuffix("\n").split("\n")) and existing:
            raise dotenv_disk.invalid(path, refused) from None
        problem = dotenv_disk.invalid(session.root / ".env.example", refused)
        raise Problem(
            "dotenv-invalid",
            f"{path} would be unreadable with the additions from .env.example: {refused.words}; nothing was written.",
            hint=problem.hint,
        ) from None


def check(session: Session) -> bool:
    """Ask compose whether it has every variable it requires; False without compose.

    Problems: dotenv-incomplete, dotenv-invalid. Does not report other errors of compose.
    """
    files = compose_files(session)
    try:
        result = run.capture(session.world, compose_cli.config(session.root, files))
    except Problem as problem:
        if problem.code == "engine-missing":
            return False
        raise
    problem_found = compose_words.about_dotenv(session, result.stderr) if result.code != 0 else None
    if problem_found:
        raise problem_found
    return result.code == 0


def words(session: Session, done: Completion | None) -> str:
    """What `ensure` did, in a line; names, never values."""
    path = session.root / ".env"
    if done:
        changes = (("added", done.added), ("filled", done.filled))
        parts = [f"{what} {', '.join(names)}" for what, names in changes if names]
        return f"{path}: completed; {'; '.join(parts)}"
    if not (session.root / ".env.example").exists():
        return f"{path}: nothing changed, because there is no .env.example"
    return f"{path}: already complete, nothing changed"
