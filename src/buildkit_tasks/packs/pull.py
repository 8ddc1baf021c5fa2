"""Pulls a pack: fills this machine's mounts with code compiled on another machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import docker
from buildkit_tasks.engine import host
from buildkit_tasks.project.discover import discover
from buildkit_tasks.registry import remote
from buildkit_tasks.registry.names import Digest, Manifest, RegistryError, Tag

from . import image as pack_image
from . import keys
from . import pack as packs
from .job import Trip, prepare
from .pack import Facts, Wanted


@dataclass(frozen=True)
class Found:
    """The best matching pack: its tag, digest and description, and why it was chosen."""

    tag: Tag
    digest: Digest
    said: Mapping[str, Any]
    why: str
    stored: int


@dataclass(frozen=True)
class Pulled:
    """The result of a pull. `found` is None if there was no pack, or if the mounts were already `filled`.

    If a pack was found but `unpacked` is False, another run has filled the mounts since.
    """

    found: Found | None
    unpacked: bool
    bytes: int
    seconds: float
    why_not: tuple[str, ...] = ()
    filled: bool = False


def pull(session: Session, wanted: Wanted, *, replace: bool = False) -> None:
    """Pull the best matching pack into empty mounts; with `replace`, replace existing contents for the profile.

    Problems: bad-argument, registry-unreachable, -denied, -malformed, pack-missing, pack-refused, any from the build.
    """
    pull_into(prepare(session, discover(session), wanted), replace=replace)


def pull_into(trip: Trip, *, replace: bool = False) -> None:
    """Pull with a prepared transfer."""
    done = fetch(trip, replace=replace)
    if done.found is None and not done.filled:
        raise Problem(
            "pack-missing",
            f"{trip.client.ref.name} has no usable pack.",
            causes=done.why_not,
            hint="run `invoke cache.push` on a machine that has built the project",
        )
    print_result(trip.session, done)


def fetch(trip: Trip, *, replace: bool = False) -> Pulled:
    """Find and unpack the best matching pack. Problems: same as `pull` except pack-missing."""
    session = trip.session
    began = session.world.clock()
    facts = trip.facts()
    if facts.units and not replace:
        return Pulled(None, False, 0, session.world.clock() - began, ("the mounts are already filled",), filled=True)
    try:
        found, why_not = remote.bounded(trip.client.seconds, lambda: _nearest(trip, facts))
    except RegistryError as error:
        raise trip.client.problem(error) from error
    if found is None:
        return Pulled(None, False, 0, session.world.clock() - began, tuple(why_not))
    verify_signature(session, trip.client.ref.at(found.digest))
    session.report.say(f"pulling {found.tag} ({units.human(found.stored)}): {found.why}")
    limit = session.settings.packs.limit
    unpacked, size = trip.unpack(found.digest, "replace" if replace else "empty", limit)
    return Pulled(found, unpacked, size, session.world.clock() - began)


def document(done: Pulled) -> dict[str, object]:
    """Return the result of a pull, for `--json`."""
    found = done.found
    return {
        "unpacked": done.unpacked,
        "tag": found.tag if found else None,
        "digest": found.digest if found else None,
        "why": found.why if found else None,
        "why_not": list(done.why_not),
        "bytes": done.bytes,
        "bytes_stored": found.stored if found else 0,
        "seconds": round(done.seconds, 1),
        "compile_seconds_saved": found.said.get("compile_seconds") if found and done.unpacked else 0,
    }


def print_result(session: Session, done: Pulled) -> None:
    """Print the result of a pull."""
    if session.report.json_only:
        session.report.envelope({"pull": document(done)})
    elif done.unpacked and done.found:
        said = done.found.said
        session.report.say(
            f"pulled {said.get('units')} units, {units.human(done.bytes)}, in {done.seconds:.1f} s; "
            f"compiling them took {said.get('compile_seconds')} s"
        )
    elif done.filled:
        session.report.say("nothing to pull: the mounts are already filled (use --replace to replace their contents)")
    else:
        session.report.say("nothing was changed, because another pull or build has filled the mounts")


def _nearest(trip: Trip, facts: Facts) -> tuple[Found | None, list[str]]:
    """Return the pack built from the same inputs, else the newest for this toolchain, else None and the differences."""
    reasons_for = (
        "the same lock file, manifests, toolchain and flags",
        "the newest pack for this toolchain, with a different lock file or flags",
    )
    for tag, why in zip(trip.tags(facts), reasons_for, strict=True):
        manifest = trip.client.manifest(tag)
        if manifest is None:
            continue
        about = trip.client.config(manifest)
        said = packs.read_label(about.labels)
        if said is None:
            return None, [f"{tag} is not a pack or has an unknown format"]
        limit = trip.session.settings.packs.limit
        if reasons := packs.objections(said, facts, limit):
            return None, [f"{tag}: {reason}" for reason in reasons]
        require_ours(trip, tag, pack_image.objections(manifest, about, len(said["parts"]), limit))
        return Found(tag, manifest.digest, said, why, manifest.size), []
    return None, _why_none(trip, facts)


def require_ours(trip: Trip, tag: Tag, reasons: Sequence[str]) -> None:
    """Raise `Problem` pack-refused if there are reasons not to fetch the image as a pack."""
    if reasons:
        raise Problem(
            "pack-refused",
            f"The pack {trip.client.ref.name}:{tag} was rejected because it was not created by buildkit-tasks.",
            causes=reasons,
            hint="check who can push to that repository; to create a new pack, run `invoke cache.push`",
        )


def _why_none(trip: Trip, facts: Facts) -> list[str]:
    """Return how the toolchains of other packs differ from the local one, if there are any."""
    reasons: list[str] = []
    for tag in keys.cargo_others(trip.client.tags(), trip.wanted.scope, trip.arch, facts)[:1]:
        manifest: Manifest | None = trip.client.manifest(tag)
        said = packs.read_label(trip.client.labels(manifest)) if manifest else None
        if said:
            reasons.append(f"{tag} was built with a different toolchain image")
            reasons += packs.differences(said, facts)
            reasons.append("to share caches, also share the base images (`invoke images.push`, `invoke images.pull`)")
    return reasons or ["there is no pack for this platform and profile"]


def verify_signature(session: Session, pinned: str) -> None:
    """Verify the signature with cosign if packs.key is set. Raises `Problem` pack-refused."""
    key = session.settings.packs.key
    if not key:
        return
    if not host.which(session.world, "cosign"):
        raise Problem(
            "pack-refused",
            "The packs.key setting requires signed packs, but cosign is not installed.",
            hint="install cosign or unset packs.key",
        )
    result = run.capture(session.world, docker.cosign_verify(session.root, key, pinned), timeout=30)
    if result.code != 0:
        raise Problem(
            "pack-refused",
            f"cosign could not verify {pinned} with {key}.",
            details=result.stderr,
            hint="if you trust the pack, ask someone with the private key to sign it; see `cosign sign --help`",
        )
