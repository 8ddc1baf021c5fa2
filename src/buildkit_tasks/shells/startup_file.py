"""Reads and writes shell startup files, with edits as values and a backup of the old text."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from buildkit_tasks.core import files, readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World

from . import buildkit_line


@dataclass(frozen=True)
class Edit:
    """One file's old and new text; None = the file does not exist."""

    path: Path
    before: str | None
    after: str | None

    @property
    def changes(self) -> bool:
        """True if the edit changes anything."""
        return self.before != self.after


def read(path: Path) -> str | None:
    """Return the file's text with every byte preserved (non-UTF-8 bytes as surrogates), or None if it is missing."""
    try:
        return readfile.text(path, "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Problem("rc-unwritable", f"{path} cannot be read: {error.strerror}.", hint=f"ls -l {path}") from error


def write(world: World, edit: Edit) -> Path | None:
    """Write, create or delete one file atomically; return the path of the backup.

    A symlink stays a symlink, the mode is kept, and a file with multiple hard links is written in place.
    Problems: rc-unwritable, also if the file has changed since the edit was created.
    """
    place = readfile.real(edit.path)
    kept = None

    def unchanged() -> None:
        if read(edit.path) != edit.before:
            raise Problem(
                "rc-unwritable",
                f"{edit.path} was changed by another program in the meantime, so it was not written.",
                hint="rerun the command",
            )

    unchanged()  # the user may have taken hours to answer
    try:
        if edit.before is not None:
            kept = _keep(world, place)
        if edit.after is None:
            edit.path.unlink()
            if edit.path.parent == buildkit_line.config_dir(world.env, world.home) and not any(
                edit.path.parent.iterdir()
            ):
                edit.path.parent.rmdir()
            return kept
        place.parent.mkdir(parents=True, exist_ok=True)
        content = edit.after.encode("utf-8", "surrogateescape")
        if edit.before is not None and place.stat().st_nlink > 1:
            place.write_bytes(content)
            return kept
        files.replace(place, content, mode=0o644 if edit.before is None else None, last_check=unchanged)
    except OSError as error:
        raise Problem(
            "rc-unwritable",
            f"{edit.path} cannot be written: {error.strerror}.",
            causes=[f"{edit.path} is a link to {place}"] if place != edit.path else [],
            hint="make the file writable; if a tool manages the file, add the line above to the tool's source file",
        ) from error
    return kept


def _keep(world: World, place: Path) -> Path:
    folder = world.state_home / "before"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = str(place).strip("/").replace("/", "-")
    number = 1 + sum(1 for _ in folder.glob(f"{name}.*"))
    kept = folder / f"{name}.{number}"
    shutil.copy2(place, kept)
    return kept
