"""Find and read the files to import: text files of at most 1 MB below the project root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.adopt import disk
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem

#: File names in the order that make and just look for them.
MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
JUSTFILES = ("justfile", "Justfile", ".justfile", "JUSTFILE")
#: Maximum size of a file in bytes.
_LARGEST = 1_000_000


def paths(session: Session, root: Path, given: str) -> list[str]:
    """Return the files to import, relative to the root."""
    if given:
        return [below(session, root, given)]
    for folder in dict.fromkeys((session.world.cwd, root)):
        found = [_first(folder, names) for names in (MAKEFILES, JUSTFILES)]
        if any(found):
            return [(folder / name).relative_to(root).as_posix() for name in found if name]
    raise Problem(
        "makefile-missing",
        f"There is no Makefile or justfile in {root}.",
        causes=[f"looked for {', '.join((*MAKEFILES, *JUSTFILES))}"],
        hint="invoke import-makefile --file PATH",
    )


def _first(folder: Path, names: Sequence[str]) -> str:
    present_names = {path.name for path in folder.iterdir()}  # a case-insensitive file system finds all spellings
    return next((name for name in names if name in present_names), "")


def below(session: Session, root: Path, given: str) -> str:
    place = session.world.cwd / given
    path = Path(*place.parts[:1]).joinpath(*_normal(place.parts[1:]))
    if not path.is_relative_to(root) or path == root or ".git" in path.relative_to(root).parts:
        raise Problem(
            "bad-argument", f"{given} is not a file in the repository {root}.", hint="use a path in this repository"
        )
    return path.relative_to(root).as_posix()


def _normal(parts: Sequence[str]) -> list[str]:
    found: list[str] = []
    for part in parts:
        if part == "..":
            found[-1:] = []
        elif part != ".":
            found.append(part)
    return found


def text(root: Path, path: str) -> str | None:
    """Return a file's text with every byte preserved; None if it does not exist."""
    place = root / path
    try:
        if place.is_file() and place.stat().st_size > _LARGEST:
            raise Problem(
                "makefile-invalid",
                f"{path} is {place.stat().st_size:,} bytes; the limit is {_LARGEST:,}.",
                hint="move the targets into a separate file and pass it with --file",
            )
    except OSError:
        pass  # reading the file reports why
    content = disk.read(root, path)
    if content is not None and b"\0" in content:
        raise Problem("makefile-invalid", f"{path} is not a text file: it contains NUL bytes.", hint=f"file {path}")
    return None if content is None else content.decode("utf-8", "surrogateescape")
