"""Chooses the image for a reference: once per engine, remembered in the state directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, run, shapes
from buildkit_tasks.core.model import Engine
from buildkit_tasks.dockercli import docker
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.engine import ask
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry import reachable

from . import container as image_container
from . import names as image_names
from .names import Decision


def decide(session: Session, engine: Engine, refs: Sequence[str], *, again: bool = False) -> dict[str, Decision]:
    """Return where each reference's image comes from, in order. Queries registries only if a decision is missing.

    A decision is kept, because changing a project's base image would invalidate its caches. `again` discards it.
    """
    known = {} if again else _recall(session, engine)
    open_ = [r for r in dict.fromkeys(refs) if r not in known]
    if open_:
        found = _ask(session, engine, open_)
        remember(session, engine, {r: d for r, d in found.items() if d.source != "none"}, forget=again)
        known = {**known, **found}
    return {r: known[r] for r in dict.fromkeys(refs)}


def _ask(session: Session, engine: Engine, refs: Sequence[str]) -> dict[str, Decision]:
    mode, base = session.settings.images.offline, session.settings.images.registry
    own = platforms.own(engine)
    there = held(session, refs)
    present = {ref for ref, kind in there.items() if suits(kind, own)}
    found: dict[str, Decision] = {}
    pending = []
    for ref in refs:
        decision = image_names.without_asking(ref, present, mode, base)
        if decision:
            found[ref] = decision
        else:
            pending.append(ref)
    if pending:
        answers = answering(session)
        found.update({ref: image_names.decide(ref, base, answers=answers) for ref in pending})
    for ref in pending:
        if ref in there and found[ref].source == "none":  # an image for another architecture may run emulated
            session.report.warn(f"{ref} is available only for {there[ref]}, but the engine's platform is {own}")
            found[ref] = Decision(ref, ref, "local")
    return found


def answering(session: Session) -> bool:
    """Return whether the mirror or a registry responds, asked once per run; prints a message if not."""
    base = session.settings.images.registry
    if base not in session.registries:
        session.registries[base], reason = _probe(session, base)
        if not session.registries[base]:
            session.report.say(f"  image registry unreachable: {reason}")
    return session.registries[base]


def _probe(session: Session, base: str) -> tuple[bool, str]:
    """Query the configured mirror, else the engine's own mirrors and Docker Hub, in parallel."""
    if base:
        hosts = [base.partition("/")[0]]
    else:
        mirrors = run.capture(session.world, docker.registry_mirrors(session.root), timeout=5).stdout
        with contextlib.suppress(ValueError):
            listed = shapes.loads(mirrors, list)
            hosts = [str(m).partition("://")[2].partition("/")[0] or str(m) for m in listed]
        hosts = [*(hosts if mirrors.strip().startswith("[") else ()), registry_names.HUB]
    return reachable.reachable(session.world, hosts, session.settings.build.ca_bundle)


def local(session: Session, engine: Engine, refs: Iterable[str], platform: str = "") -> set[str]:
    """Return the references that the engine has for a platform (default: its own), in one call if possible."""
    wanted = platform or platforms.own(engine)
    there = held(session, refs)
    return {name for name, kind in there.items() if suits(kind, wanted) or _several(session, engine, name, wanted)}


def held(session: Session, refs: Iterable[str]) -> dict[str, str]:
    """Return the references that the engine has for any platform, with the first platform that it reports."""
    names = list(dict.fromkeys(refs))
    full = {image_names.parse(tag): kind for tag, (_, kind) in _inspect(session, names).items()} if names else {}
    return {name: full[image_names.parse(name)] for name in names if image_names.parse(name) in full}


def suits(kind: str, platform: str) -> bool:
    """Return whether an image's OS and architecture suit a platform; an image without an architecture suits all."""
    return not kind.partition("/")[2] or kind.split("/")[:2] == platform.split("/")[:2]


def _several(session: Session, engine: Engine, name: str, platform: str) -> bool:
    """Return whether the engine has an image for a platform other than the first one that it reports.

    Only the containerd store can have more than one. Before engine 28 (API 1.49), it does not list them, but containers
    can be created from them.
    """
    if not engine.containerd_store or platform == platforms.own(engine):
        return False  # the engine reports its own platform first
    with image_container.created(session, "buildkit-tasks-look", name, platform, "x") as (_, made):
        return made.code == 0


def ids(session: Session, refs: Iterable[str]) -> dict[str, str]:
    """Map references that the engine has to image ids. The engine lists `app` as `app:latest`."""
    names = list(dict.fromkeys(refs))
    with contextlib.suppress(OSError, ValueError):
        # every build starts with this query, so it does not run `docker` if that would query the engine at this socket
        hexadecimal = any(re.fullmatch("[0-9a-f]+", name) for name in names)  # the API also finds images by id
        if not hexadecimal and session.world.plugins() and (path := ask.address(session.world)):
            return ask.ids(path, names)
    full = {image_names.parse(tag): identity for tag, (identity, _) in _inspect(session, names).items()}
    return {name: full[image_names.parse(name)] for name in names if image_names.parse(name) in full}


def _inspect(session: Session, refs: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Map tags to image id and platform."""
    result = run.capture(session.world, docker.image_ids(session.root, refs))
    found: dict[str, tuple[str, str]] = {}
    for line in result.stdout.splitlines():
        listed, bracket, rest = line.rpartition("]")
        with contextlib.suppress(ValueError):
            tags = shapes.loads(listed + bracket, list) if bracket else []
            shapes.check(tags, [str])
            identity, _, kind = rest.strip().partition(" ")
            found.update(dict.fromkeys(tags or (), (identity, kind)))
    return found


# ---- the remembered state: {"key": …, "refs": {reference: [use, source]}, "built": [image]} ----


def _key(session: Session, engine: Engine) -> str:
    """Return a hash of what a decision depends on: it is discarded for another engine, mirror or mode."""
    known = "|".join((engine.id, session.settings.images.registry, session.settings.images.offline))
    return hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()  # the mirror may contain a password


def load(session: Session, engine: Engine) -> tuple[dict[str, list[str]], list[str]]:
    try:
        kept = readfile.state(session.state / "images.json")
        shapes.check(kept, {"key": str, "refs": {"*": [str]}, "built": [str]})
        if kept["key"] == _key(session, engine) and all(len(found) == 2 for found in kept["refs"].values()):
            return dict(kept["refs"]), list(kept["built"])
    except (ValueError, KeyError, AttributeError, TypeError):
        pass  # invalid cache: recreate it
    return {}, []


def _recall(session: Session, engine: Engine) -> dict[str, Decision]:
    return {ref: Decision(ref, use, source) for ref, (use, source) in load(session, engine)[0].items()}


def remember(
    session: Session,
    engine: Engine,
    decisions: Mapping[str, Decision] | None = None,
    *,
    built: Sequence[str] = (),
    forget: bool = False,
) -> None:
    refs, have = ({}, []) if forget else load(session, engine)
    refs.update({ref: [d.use, d.source] for ref, d in (decisions or {}).items()})
    content = {"key": _key(session, engine), "refs": refs, "built": sorted({*have, *built})}
    files.replace(session.state / "images.json", json.dumps(content, indent=1) + "\n", durable=False)
