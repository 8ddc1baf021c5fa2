"""Make or complete .env: adds what only the example has, generates secrets, changes nothing of the user's."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from buildkit_tasks.core import dotenv_text
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.session import Session

#: Bytes of randomness in a generated secret; urlsafe text needs no quoting in .env, YAML or a URL.
SECRET_BYTES = 24


def ensure(session: Session) -> bool:
    """Complete .env from .env.example; True when something was written. The file's mode is 0600 afterwards.

    Problems: dotenv-unreadable, dotenv-invalid. Without an example there is nothing to do.
    """
    example_path, path = session.root / ".env.example", session.root / ".env"
    if not example_path.is_file():
        return False
    _ = session.dotenv  # its problems, before anything is written
    existing = path.read_text("utf-8") if path.exists() else ""
    example = example_path.read_text("utf-8")
    generated = {k: secrets.token_urlsafe(SECRET_BYTES) for k, v in dotenv_text.values(example).items() if v == ""}
    text = dotenv_text.complete(example, existing, generated)
    changed = text != existing
    if changed:
        write_private(path, text)
        session.__dict__.pop("dotenv", None)
        session.__dict__.pop("_loaded", None)
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return changed


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner alone from the first byte on; a link stays a link."""
    place = path.resolve()
    handle, name = tempfile.mkstemp(prefix=".env.", dir=place.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(place)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise Problem("dotenv-unreadable", f"{path} cannot be written: {error.strerror}.") from error
