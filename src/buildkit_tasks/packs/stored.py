"""Lists the packs in the shared repository and deletes old ones."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from buildkit_tasks.caches.look import seconds
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import Digest, Malformed, Manifest, RegistryError, Tag
from buildkit_tasks.registry.remote import client

from . import mounts
from . import pack as packs
from .pack import Listed

#: Number of parallel requests; public registries accept this many from one client without throttling.
AT_ONCE = 8

#: Limits of a listing: tags, seconds, and warnings about what was skipped.
MOST, SECONDS, SHOWN = 2000, 600.0, 10


def show(session: Session, *, ref: str = "") -> None:
    """List the packs of the repository, newest first. Problems: bad-argument, registry-unreachable, registry-denied."""
    repository = client(session, ref, seconds=SECONDS)
    found = _listed(session, repository)
    if session.report.json_only:
        session.report.envelope({"packs": [_json(item) for item in found]})
        return
    if not found:
        session.report.answer(f"{repository.ref.name} contains no packs")
        return
    rows = [
        (
            item.tags[0] if item.tags else item.digest[:19],
            str(item.said["scope"]),
            str(item.said["platform"]),
            *_content(item),
            units.human(item.bytes),
            item.created.replace("T", " ").removesuffix("+00:00"),
        )
        for item in found
    ]
    session.report.table(("pack", "scope", "platform", "for", "units", "stored", "created (UTC)"), rows)


def _content(item: Listed) -> tuple[str, str]:
    """Return a pack's rustc version and number of units, or the id of its mount and number of entries."""
    if item.said["scope"] == mounts.SCOPE:
        return str(item.said["id"]), str(item.said["entries"])
    return str(item.said["rustc"]).removeprefix("rustc ").partition(" (")[0], str(item.said["units"])


def expire(session: Session, *, ref: str = "", keep: int = 3, older: str = "30d", dry_run: bool = False) -> None:
    """Delete packs older than `older`, except the newest `keep` of each kind. Lists them and asks first.

    Problems: bad-argument, consent-missing, registry-unreachable, registry-denied (also without support for deletion).
    """
    if keep < 1:
        raise Problem("bad-argument", "--keep must be at least 1.", hint="for example: --keep 3")
    limit = datetime.now(timezone.utc) - timedelta(seconds=seconds(older, "older"))
    found = _listed(session, client(session, ref, seconds=SECONDS))
    going = packs.expired(found, keep, limit.isoformat(timespec="seconds"))
    repository = client(session, ref)
    for item in going:
        session.report.say(f"  {item.tags[0] if item.tags else item.digest}  {units.human(item.bytes)}  {item.created}")
    number, size = units.counted(len(going), "pack"), units.human(sum(item.bytes for item in going))
    if not going:
        session.report.say("nothing to delete")
    elif not dry_run and session.report.consent(f"delete {number} from {repository.ref.name}, {size}"):
        try:
            kept = [item for item in going if not repository.delete(item.digest)]
        except RegistryError as error:
            raise repository.problem(error) from error
        if kept:
            raise Problem(
                "registry-denied",
                f"{repository.ref.host} did not delete {len(kept)} of {number}.",
                causes=["deletion requires permission and must be enabled in the registry"],
                hint="use the registry's own cleanup rules, or enable deletion in its configuration",
            )
        session.report.say(f"deleted {number}; the registry frees the space at its next garbage collection")
    if session.report.json_only:
        session.report.envelope({"expired": [_json(item) for item in going], "dry_run": dry_run})


def _listed(session: Session, repository: Client) -> list[Listed]:
    """Return the packs in the repository, one per manifest. Multiple tags may refer to the same manifest.

    Keeps little of each pack, because anyone who can push can create many large ones. Skips what is not a pack.
    """
    skipped: list[str] = []

    def look(tag: Tag) -> tuple[Tag, int, Manifest] | None:
        try:
            found = repository.manifest(tag)
        except Malformed as error:
            skipped.append(f"{tag} was skipped: {error}")
            return None
        return (tag, found.size, replace(found, layers=())) if found else None

    def description(one: Manifest) -> Mapping[str, Any] | None:
        try:
            labels = repository.labels(one)
            said = packs.read_label(labels) or mounts.read_label(labels)
        except Malformed as error:
            skipped.append(f"{one.digest[:19]} was skipped: {error}")
            return None
        return {name: value for name, value in said.items() if name != "packages"} if said else None

    try:
        starts = tuple(f"{scope}-" for scope in (*packs.SCOPES, packs.CARGO, mounts.SCOPE))
        tags = [tag for tag in repository.tags() if tag.startswith(starts)]
        if len(tags) > MOST:
            skipped.append(f"only {MOST} of {len(tags)} tags were read")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            heads = [head for head in pool.map(look, tags[:MOST]) if head]
            distinct = {one.digest: (size, one) for _, size, one in heads}
            said = list(pool.map(description, [one for _, one in distinct.values()]))
    except RegistryError as error:
        raise repository.problem(error) from error
    for line in skipped[:SHOWN]:
        session.report.warn(line)
    named: dict[Digest, list[Tag]] = {}
    for tag, _, one in heads:
        named.setdefault(one.digest, []).append(tag)
    found = [
        Listed(digest, tuple(sorted(named[digest], key=len)), size, about["created"], about)
        for (digest, (size, _)), about in zip(distinct.items(), said, strict=True)
        if about
    ]
    return sorted(found, key=lambda item: item.created, reverse=True)


def _json(item: Listed) -> dict[str, object]:
    return {"digest": item.digest, "tags": list(item.tags), "bytes_stored": item.bytes, **item.said}
