"""Guard BuildKit's context transfer, so the daemon builds exactly the files on disk.

BuildKit only sends a file again if its size, mtime or mode differs from the last transfer *under the same name*. This
name is the last component of the context's path (buildx `build/opt.go`, fsutil `sameFile`). Two checkouts called `app`
therefore share the same transfer cache. In addition, a file with new content but the same size and mtime (replaced by
`mv`, extracted from an archive, written by a tool that resets mtimes) is not sent, and the daemon builds old content.

The guard gives each checkout a unique name, a link that cannot be guessed. It switches to a new name if a file has the
same size, mtime and mode as before under the current name, but a different inode or ctime (which programs cannot set).
The user's files are not modified. If the state is lost, a new name is used, which costs one full transfer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.dockerfiles.ignore import Ignore, walk

_VERSION = 1
_RETIRED_SECONDS = 3600  # a running build may still be using an old name

#: The properties that BuildKit compares (size, mtime in ns, mode), as a key in a file's history.
_Seen = str
#: The properties that distinguish two files that BuildKit considers equal: inode and ctime in ns.
_Proof = list[int]


@dataclass
class _Memory:
    """The files sent under one name: for each path, every (size, mtime, mode) seen, with its inode and ctime."""

    name: str
    device: int
    files: dict[str, dict[_Seen, _Proof]] = field(default_factory=dict)
    retired: dict[str, float] = field(default_factory=dict)


def guard(context: Path, state_dir: Path, dockerfiles: Sequence[Path] = (), also: Sequence[Path] = ()) -> Path:
    """Return the path to pass to BuildKit instead of `context`: a link in `state_dir` with no outdated transfer state.

    `dockerfiles`: the Dockerfiles to build from this context. Files excluded by their .dockerignore are not checked.
    Without `dockerfiles`, everything except `.git` is checked. `also`: files and directories outside the context that
    are sent under the same name (Dockerfiles elsewhere, additional contexts). Safe for concurrent builds. Raises
    `OSError` if the context is not readable or the state directory not writable, `ValueError` for an invalid
    .dockerignore.
    """
    context = context.resolve(strict=True)
    folder = state_dir / "transfer"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = hashlib.sha256(os.fsencode(context)).hexdigest()[:16]
    record = folder / f"{identity}.json"
    with _locked(folder / f"{identity}.lock"):
        memory = _load(record)
        device = context.stat().st_dev
        seen = dict(_scan(context, dockerfiles)) | {p: s for place in also for p, s in _scan_also(place)}
        if memory is None or memory.device != device or not _consistent(memory, seen):
            memory = _renamed(memory, context, device)
        _remember(memory, seen)
        _link(folder / memory.name, context)
        _sweep(memory, folder, context)
        _save(record, memory)
    return folder / memory.name


def _scan(context: Path, dockerfiles: Sequence[Path]) -> Iterator[tuple[str, tuple[_Seen, _Proof]]]:
    ignores = [Ignore.of(context, file) for file in dockerfiles] or [Ignore.parse(".git")]
    for path, entry in walk(context, *ignores):
        with contextlib.suppress(FileNotFoundError):
            facts = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode):
                yield path, _look(facts)


def _scan_also(place: Path) -> Iterator[tuple[str, tuple[_Seen, _Proof]]]:
    """Scan a file or directory outside the context. Yields absolute paths."""
    facts = place.stat()
    if stat.S_ISREG(facts.st_mode):
        yield str(place), _look(facts)
    elif stat.S_ISDIR(facts.st_mode):
        for path, found in _scan(place, [place / "Dockerfile"]):
            yield str(place / path), found


def _look(facts: os.stat_result) -> tuple[_Seen, _Proof]:
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_mode}", [facts.st_ino, facts.st_ctime_ns]


def _consistent(memory: _Memory, seen: dict[str, tuple[_Seen, _Proof]]) -> bool:
    """Return False if BuildKit may mistake a file for a different one that was sent earlier under this name."""
    for path, (look, proof) in seen.items():
        before = memory.files.get(path)
        if before is not None and before.get(look, proof) != proof:
            return False
    # the history only grows: start over before it costs more than a transfer
    return sum(len(looks) for looks in memory.files.values()) <= 4 * len(seen) + 1000


def _remember(memory: _Memory, seen: dict[str, tuple[_Seen, _Proof]]) -> None:
    for path, (look, proof) in seen.items():
        memory.files.setdefault(path, {})[look] = proof


def _renamed(old: _Memory | None, context: Path, device: int) -> _Memory:
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", context.name) or "context"
    memory = _Memory(name=f"{plain}-{secrets.token_hex(8)}", device=device)
    if old is not None:
        memory.retired = {**old.retired, old.name: time.time()}
    return memory


def _link(link: Path, context: Path) -> None:
    with contextlib.suppress(OSError):
        if link.readlink() == context:
            return
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(context, target_is_directory=True)


def _sweep(memory: _Memory, folder: Path, context: Path) -> None:
    """Remove links to this context that have been unused for an hour. If the state was lost, the hour starts now."""
    now = time.time()
    with os.scandir(folder) as entries:
        links = {e.name for e in entries if e.is_symlink() and e.name != memory.name and Path(e).readlink() == context}
    retired = {name: since for name in links if 0 <= now - (since := memory.retired.get(name, now)) < _RETIRED_SECONDS}
    for name in links - retired.keys():
        (folder / name).unlink()
    memory.retired = retired


def _load(record: Path) -> _Memory | None:
    try:
        content = json.loads(record.read_bytes())
        if content.pop("version") != _VERSION:
            return None
        return _Memory(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # missing or damaged: a new name is always safe


def _save(record: Path, memory: _Memory) -> None:
    content = json.dumps({"version": _VERSION, **vars(memory)}, separators=(",", ":"))
    temporary = record.with_suffix(f".{secrets.token_hex(4)}")
    try:
        temporary.write_text(content, "utf-8")
        temporary.replace(record)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel if the process dies
        yield
