"""BuildKit's context transfer, guarded: what the daemon builds is what lies on the disk.

BuildKit sends a file again only if its size, time of modification or mode differ from the last transfer *under the same
name*, and that name is the last component of the context's path (buildx `build/opt.go`, fsutil `sameFile`). So two
checkouts called `app` share one memory, and a file whose content changed under an old size and time (exchanged by `mv`,
extracted from an archive, written by a tool that sets times back) is not sent at all: the daemon builds other bytes.

The guard gives each checkout a name of its own, a link that cannot be guessed, and takes a new name as soon as a file
comes with a size, time and mode that the present name has seen before but another inode or time of change (ctime, which
no program can set). Nothing of the user's is touched. A lost state means a new name: one full transfer.
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
_RETIRED_SECONDS = 3600  # a build that began under an old name may still be reading through it

#: What BuildKit compares (size, mtime in ns, mode), as one key of a file's history.
_Seen = str
#: What distinguishes two contents that look equal to BuildKit: inode and ctime in ns.
_Proof = list[int]


@dataclass
class _Memory:
    """What one name has been used for: per path every (size, mtime, mode) seen, and the inode and ctime it had."""

    name: str
    device: int
    files: dict[str, dict[_Seen, _Proof]] = field(default_factory=dict)
    retired: dict[str, float] = field(default_factory=dict)


def guard(context: Path, state_dir: Path, dockerfiles: Sequence[Path] = (), also: Sequence[Path] = ()) -> Path:
    """The path to give to BuildKit instead of `context`: a link in `state_dir` under which nothing old is remembered.

    `dockerfiles` are those that will be built from this context: with them, what .dockerignore keeps out is not looked
    at; without them everything but `.git` is. `also` are files and directories outside that travel under the same name:
    Dockerfiles from elsewhere, additional contexts. Safe to call from several builds at once. Raises `OSError` when the
    context cannot be read or the state directory not written, `ValueError` for an illegal .dockerignore.
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
    """A file or a directory outside of the context, under whole paths."""
    facts = place.stat()
    if stat.S_ISREG(facts.st_mode):
        yield str(place), _look(facts)
    elif stat.S_ISDIR(facts.st_mode):
        for path, found in _scan(place, [place / "Dockerfile"]):
            yield str(place / path), found


def _look(facts: os.stat_result) -> tuple[_Seen, _Proof]:
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_mode}", [facts.st_ino, facts.st_ctime_ns]


def _consistent(memory: _Memory, seen: dict[str, tuple[_Seen, _Proof]]) -> bool:
    """False if BuildKit might take a file for one that it was sent before under this name, and it is not that one."""
    for path, (look, proof) in seen.items():
        before = memory.files.get(path)
        if before is not None and before.get(look, proof) != proof:
            return False
    # the history only grows: begin anew before it costs more than a transfer
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
    """Remove links to this context that have been out of use for an hour; those of a lost state count from now."""
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
        return None  # lost or damaged: a new name is always right


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
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel if we die
        yield
