"""Which image stands for a reference: decided once per engine, remembered in the state directory."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from buildkit_tasks.core import docker, run
from buildkit_tasks.core.model import Engine
from buildkit_tasks.core.session import Session
from buildkit_tasks.registry import reachable

from . import names as image_names
from .names import Decision


def decide(session: Session, engine: Engine, refs: Sequence[str], *, again: bool = False) -> dict[str, Decision]:
    """Where each reference's image comes from, in the order given. Only what was never decided costs a question.

    A decision stays: changing a base image under a running project would throw its caches away. `again` forgets.
    """
    known = {} if again else _recall(session, engine)
    open_ = [r for r in dict.fromkeys(refs) if r not in known]
    if open_:
        found = _ask(session, open_)
        remember(session, engine, {r: d for r, d in found.items() if d.source != "none"}, forget=again)
        known = {**known, **found}
    return {r: known[r] for r in dict.fromkeys(refs)}


def _ask(session: Session, refs: Sequence[str]) -> dict[str, Decision]:
    mode, base = session.settings.images.offline, session.settings.images.registry
    present = local(session, refs)
    found: dict[str, Decision] = {}
    pending = []
    for ref in refs:
        decision = image_names.without_asking(ref, present, mode, base)
        if decision:
            found[ref] = decision
        else:
            pending.append(ref)
    if pending:
        answers, reason = _probe(session, base)
        if not answers:
            session.report.say(f"  image registry not reachable: {reason}")
        found.update({ref: image_names.decide(ref, base, answers=answers) for ref in pending})
    return found


def _probe(session: Session, base: str) -> tuple[bool, str]:
    """Ask the mirror that is set, else the mirrors the engine itself is set to use and Docker Hub, all at once."""
    if base:
        hosts = [base.partition("/")[0]]
    else:
        mirrors = run.capture(session.world, docker.registry_mirrors(session.root), timeout=5).stdout
        with contextlib.suppress(ValueError):
            hosts = [str(m).partition("://")[2].partition("/")[0] or str(m) for m in json.loads(mirrors) or ()]
        hosts = [*(hosts if mirrors.strip().startswith("[") else ()), reachable.HUB]
    return reachable.reachable(session.world, hosts, session.settings.build.ca_bundle)


def local(session: Session, refs: Iterable[str]) -> set[str]:
    """Those of the references that the engine has, from one call."""
    names = list(dict.fromkeys(refs))
    full = {image_names.parse(tag) for tag in ids(session, names)} if names else set()
    return {name for name in names if image_names.parse(name) in full}


def ids(session: Session, refs: Iterable[str]) -> dict[str, str]:
    """Tag to image id of those that the engine has, under every tag that they have there; from one call."""
    result = run.capture(session.world, docker.image_ids(session.root, refs))
    found: dict[str, str] = {}
    for line in result.stdout.splitlines():
        with contextlib.suppress(ValueError):
            tags, _, identity = line.rpartition(" ")
            found.update(dict.fromkeys(json.loads(tags) or (), identity))
    return found


# ---- what is remembered: {"key": …, "refs": {reference: [use, source]}, "built": [image]} ----


def _key(session: Session, engine: Engine) -> str:
    """What a decision holds for: another engine, mirror or mode decides anew."""
    return "|".join((engine.id, session.settings.images.registry, session.settings.images.offline))


def load(session: Session, engine: Engine) -> tuple[dict[str, list[str]], list[str]]:
    try:
        kept = json.loads((session.state / "images.json").read_text("utf-8"))
        if kept["key"] == _key(session, engine):
            return dict(kept["refs"]), list(kept["built"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a cache: whatever is wrong with it, it is made again
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
    write(session.state / "images.json", json.dumps(content, indent=1) + "\n")


def write(path: Path, text: str) -> None:
    """Replace the file in one step: another call of ours may read it right now."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text, "utf-8")
    part.replace(path)
