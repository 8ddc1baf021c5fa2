"""Pushes and pulls the cache mounts of other tools: `cache.push --mount`, `cache.pull --mount`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.project.discover import discover
from buildkit_tasks.registry import remote
from buildkit_tasks.registry.names import RegistryError, Tag

from . import image as pack_image
from . import keys, mounts
from .job import Trip, prepare, workplace
from .mounts import Carried
from .pack import RESTORE_RATE, Wanted
from .pull import Found, require_ours, verify_signature
from .push import require_allowed


@dataclass(frozen=True)
class Named:
    """The mounts to transfer, by id or kind. `key_files`: paths in the repository, instead of the default files."""

    mounts: tuple[str, ...]
    key_files: tuple[str, ...] = ()


def named(words: Sequence[str], key_files: Sequence[str], *, alone: bool = True) -> Named | None:
    """Return the mounts on a command line, or None if there are none. `alone`: nothing else was selected.

    Raises `Problem` bad-argument.
    """
    if words and not alone:
        raise Problem(
            "bad-argument", "--mount and --cargo cannot be combined.", hint="run the command once for each option"
        )
    if key_files and not words:
        raise Problem("bad-argument", "--key-file requires --mount.", hint="for example: --mount npm")
    return Named(tuple(words), tuple(key_files)) if words else None


def push(session: Session, wanted: Wanted, which: Named, *, force: bool = False) -> None:
    """Pack and push the named mounts. `force`: even if this machine is not allowed to push.

    Problems: bad-argument, cache-missing, push-refused, pack-empty, registry-unreachable, -denied, any from the build.
    """
    require_allowed(session, force=force)
    trip = prepare(session, discover(session), wanted)
    answers = send_each(trip, which)
    if not any(answer["pushed"] for answer in answers):
        raise Problem(
            "pack-empty",
            "Nothing to pack.",
            causes=[f"the mount {answer['id']} is empty" for answer in answers],
            hint="run `invoke build`, then `invoke cache.push` with the same --mount",
        )
    if session.report.json_only:
        session.report.envelope({"mounts": answers})


def pull(session: Session, wanted: Wanted, which: Named, *, replace: bool = False) -> None:
    """Pull the best pack for each named mount that is empty. With `replace`, replace existing contents.

    Problems: bad-argument, cache-missing, pack-missing, pack-refused, registry-unreachable, -denied, -malformed, any
    from the build.
    """
    trip = prepare(session, discover(session), wanted)
    answers = fetch_each(trip, which, replace=replace)
    if not any(answer["tag"] for answer in answers):
        raise Problem(
            "pack-missing",
            f"{trip.client.ref.name} has no usable pack for {', '.join(str(answer['id']) for answer in answers)}.",
            causes=[why for answer in answers for why in answer["why_not"]],
            hint=f"run `invoke cache.push --mount {which.mounts[0]}` on a machine that has built the project",
        )
    if session.report.json_only:
        session.report.envelope({"mounts": answers})


def _chosen(trip: Trip, which: Named) -> tuple[Carried, ...]:
    platform = trip.platform or platforms.own(trip.project.engine)
    return mounts.choose(mounts.declared(trip.project, platform), which.mounts, platform)


def send_each(trip: Trip, which: Named) -> list[dict[str, Any]]:
    """Pack and push the mounts. Returns the results for `--json`."""
    return [_send(trip, one, which) for one in _chosen(trip, which)]


def fetch_each(trip: Trip, which: Named, *, replace: bool = False) -> list[dict[str, Any]]:
    """Pull the mounts. Returns the results for `--json`. Problems: same as `pull`, except pack-missing."""
    return [_fetch(trip, one, which, replace=replace) for one in _chosen(trip, which)]


def _send(trip: Trip, one: Carried, which: Named) -> dict[str, Any]:
    """Pack and push one mount. Returns the result for `--json`."""
    session = trip.session
    began = session.world.clock()
    key, files = keys.mount_key(one, session.root, which.key_files)
    with workplace(session) as folder:
        packed = trip.pack_mount(folder, one)
        answer: dict[str, Any] = {"id": one.id, "kind": one.kind, "pushed": False, "key_files": list(files)}
        if not packed.entries:
            session.report.say(f"{one.id}: not pushed, because the mount is empty")
            return answer
        stored = (folder / packed.part).stat().st_size
        session.report.say(
            f"{one.id} ({one.kind}): {packed.entries} entries, {units.human(packed.bytes)} compressed to "
            f"{units.human(stored)}; pulling them takes about "
            f"{2 + packed.bytes / RESTORE_RATE:.0f} s and replaces these downloads"
        )
        exact, newest = keys.mount_exact(one, trip.arch, key), keys.mount_newest(one, trip.arch)
        made = datetime.now(timezone.utc).isoformat(timespec="seconds")
        label = mounts.label(one, packed, trip.arch, key, made)
        done = trip.push(folder, [packed.part], (exact, newest), {mounts.LABEL: label})
    seconds = session.world.clock() - began
    session.report.say(
        f"pushed {trip.client.ref.name}:{exact} in {seconds:.1f} s ({units.human(done.sent)} uploaded); "
        f"key: {', '.join(files) if files else 'the steps that use the mount'}"
    )
    return answer | {
        "pushed": True,
        "tag": exact,
        "digest": done.digest,
        "entries": packed.entries,
        "bytes": packed.bytes,
        "bytes_stored": done.stored,
        "bytes_sent": done.sent,
        "seconds": round(seconds, 1),
    }


def _fetch(trip: Trip, one: Carried, which: Named, *, replace: bool = False) -> dict[str, Any]:
    """Pull one mount. Returns the result for `--json`."""
    session = trip.session
    began = session.world.clock()
    key, _ = keys.mount_key(one, session.root, which.key_files)
    answer: dict[str, Any] = {"id": one.id, "kind": one.kind, "tag": None, "unpacked": False, "why_not": []}
    try:
        found, why_not = remote.bounded(trip.client.seconds, _finder(trip, one, key))
    except RegistryError as error:
        raise trip.client.problem(error) from error
    if found is None:
        session.report.say(f"{one.id}: {why_not}")
        return answer | {"why_not": [why_not]}
    verify_signature(session, trip.client.ref.at(found.digest))
    session.report.say(f"pulling {found.tag} ({units.human(found.stored)}): {found.why}")
    limit = session.settings.packs.limit
    unpacked, size = trip.unpack_mount(found.digest, one, "replace" if replace else "empty", limit)
    seconds = session.world.clock() - began
    if unpacked:
        session.report.say(
            f"{one.id}: unpacked {found.said['entries']} entries ({units.human(size)}) in {seconds:.1f} s"
        )
    else:
        session.report.say(f"{one.id}: skipped, because the mount is not empty (use --replace to replace its contents)")
    return answer | {
        "tag": found.tag,
        "digest": found.digest,
        "why": found.why,
        "unpacked": unpacked,
        "bytes": size,
        "bytes_stored": found.stored,
        "seconds": round(seconds, 1),
    }


def _finder(trip: Trip, one: Carried, key: str) -> Callable[[], tuple[Found | None, str]]:
    candidates: Sequence[tuple[Tag, str]] = (
        (keys.mount_exact(one, trip.arch, key), "the same key files and steps"),
        (keys.mount_newest(one, trip.arch), "the newest pack, with different key files or steps"),
    )
    return lambda: _nearest(trip, one, candidates)


def _nearest(trip: Trip, one: Carried, candidates: Sequence[tuple[Tag, str]]) -> tuple[Found | None, str]:
    """Return the pack with the same key, else the newest of this mount, else None and the reason."""
    limit = trip.session.settings.packs.limit
    for tag, why in candidates:
        manifest = trip.client.manifest(tag)
        if manifest is None:
            continue
        about = trip.client.config(manifest)
        said = mounts.read_label(about.labels)
        if said is None:
            return None, f"{tag} is not a pack or has an unknown format"
        if reasons := mounts.objections(said, one, limit):
            return None, f"{tag}: {reasons[0]}"
        require_ours(trip, tag, pack_image.objections(manifest, about, len(said["parts"]), limit))
        return Found(tag, manifest.digest, said, why, manifest.size), ""
    return None, "there is no pack for this mount and platform"
