"""Base images: decided once per engine, remembered in the state directory, put in place without editing any file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from buildkit_tasks import command, dockerfile, images, registry, run
from buildkit_tasks.errors import Problem
from buildkit_tasks.images import Decision, Recipe
from buildkit_tasks.model import Engine, Workspace

from .session import Session


def replacements(session: Session, engine: Engine, refs: Sequence[str]) -> dict[str, str]:
    """For each public reference that needs another image in its place: that image. Nothing is built.

    Raises `Problem` image-unavailable where an image can be had from nowhere, or has yet to be built.
    """
    decisions = decide(session, engine, refs)
    _demand(decisions)
    if absent := _absent(session, engine, decisions):
        raise Problem(
            "image-unavailable",
            f"{_and(d.reference for d in absent)} cannot be pulled here and have not been built from packages yet.",
            hint="invoke images.build",
        )
    return {d.reference: d.use for d in decisions.values() if d.replaced}


def ensure(session: Session, engine: Engine, refs: Sequence[str], *, check: bool = False) -> dict[str, str]:
    """Like `replacements`, and builds what has to be built. With `check` remembered images are looked for again."""
    decisions = decide(session, engine, refs)
    _demand(decisions)
    if absent := _absent(session, engine, decisions, check=check):
        from .base_images import build

        session.report.say(f"  no registry gives {_and(d.reference for d in absent)}: built from Debian packages")
        build(session, engine, recipes([d.use for d in absent]))
        _remember(session, engine, built=[d.use for d in absent])
    return {d.reference: d.use for d in decisions.values() if d.replaced}


def _absent(
    session: Session, engine: Engine, decisions: Mapping[str, Decision], *, check: bool = False
) -> list[Decision]:
    """Offline images that the engine has not; those it was seen to have once are believed, unless `check`."""
    seen = set() if check else set(_load(session, engine)[1])
    unsure = [d for d in decisions.values() if d.source == "offline" and d.use not in seen]
    if not unsure:
        return []
    present = local(session, [d.use for d in unsure])
    _remember(session, engine, built=sorted(present))
    return [d for d in unsure if d.use not in present]


def decide(session: Session, engine: Engine, refs: Sequence[str], *, again: bool = False) -> dict[str, Decision]:
    """Where each reference's image comes from, in the order given. Only what was never decided costs a question.

    A decision stays: changing a base image under a running project would throw its caches away. `again` forgets.
    """
    known = {} if again else _recall(session, engine)
    open_ = [r for r in dict.fromkeys(refs) if r not in known]
    if open_:
        found = _ask(session, open_)
        _remember(session, engine, {r: d for r, d in found.items() if d.source != "none"}, forget=again)
        known = {**known, **found}
    return {r: known[r] for r in dict.fromkeys(refs)}


def _ask(session: Session, refs: Sequence[str]) -> dict[str, Decision]:
    mode, base = session.settings.offline_images, session.settings.base_registry
    present = local(session, refs)
    found: dict[str, Decision] = {}
    pending = []
    for ref in refs:
        decision = images.without_asking(ref, present, mode, base)
        if decision:
            found[ref] = decision
        else:
            pending.append(ref)
    if pending:
        answers, reason = _probe(session, base)
        if not answers:
            session.report.say(f"  image registry not reachable: {reason}")
        found.update({ref: images.decide(ref, base, answers=answers) for ref in pending})
    return found


def _probe(session: Session, base: str) -> tuple[bool, str]:
    """Ask the mirror that is set, else the mirrors the engine itself is set to use and Docker Hub, all at once."""
    if base:
        hosts = [base.partition("/")[0]]
    else:
        mirrors = run.capture(session.world, command.registry_mirrors(session.root), timeout=5).stdout
        with contextlib.suppress(ValueError):
            hosts = [str(m).partition("://")[2].partition("/")[0] or str(m) for m in json.loads(mirrors) or ()]
        hosts = [*(hosts if mirrors.strip().startswith("[") else ()), registry.HUB]
    return registry.reachable(session.world, hosts, session.settings.ca_bundle)


def local(session: Session, refs: Iterable[str]) -> set[str]:
    """Those of the references that the engine has, from one call."""
    names = list(dict.fromkeys(refs))
    if not names:
        return set()
    result = run.capture(session.world, command.image_ids(session.root, names))
    tags: set[str] = set()
    for line in result.stdout.splitlines():
        with contextlib.suppress(ValueError):
            tags.update(json.loads(line.rpartition(" ")[0]) or ())
    full = {images.parse(t) for t in tags}
    return {name for name in names if images.parse(name) in full}


def references(space: Workspace) -> tuple[str, ...]:
    """Every public reference the project uses: FROM lines of the built services, `image:` of the others."""
    built = (ref for refs in _built(space).values() for ref in refs)
    return tuple(dict.fromkeys([*built, *space.images.values()]))


def _built(space: Workspace) -> dict[str, tuple[str, ...]]:
    texts: dict[Path, str] = {}
    for service in space.services:
        if service.dockerfile not in texts:
            with contextlib.suppress(OSError):
                texts[service.dockerfile] = service.dockerfile.read_text("utf-8")
    return {s.name: dockerfile.base_images(texts.get(s.dockerfile, ""), s.args) for s in space.services}


def override(session: Session, engine: Engine, space: Workspace) -> Path | None:
    """The generated compose file that puts the replacements in place, None where none is needed.

    It also serves a plain `docker compose -f … -f OVERRIDE build`. It says what was decided and builds nothing.
    """
    decisions = decide(session, engine, references(space))
    use = {d.reference: d.use for d in decisions.values() if d.replaced}
    content = images.override(_built(space), space.images, use, session.settings.ca_bundle)
    path = session.state / "compose.offline.yaml"
    if not content:
        path.unlink(missing_ok=True)
        return None
    # JSON is YAML; no YAML library is needed to write it.
    text = f"# Made by buildkit-tasks; changes are lost.\n{json.dumps(content, indent=2)}\n"
    if not path.exists() or path.read_text("utf-8") != text:
        _write(path, text)
    return path


def _demand(decisions: Mapping[str, Decision]) -> None:
    lost = [d.reference for d in decisions.values() if d.source == "none"]
    if lost:
        raise Problem(
            "image-unavailable",
            f"{_and(lost)} cannot be had: not in the engine, and no registry answers.",
            causes=[
                "from Debian packages can be built: "
                + ", ".join(r.image.removeprefix(f"{images.OWN}/") for r in images.RECIPES)
            ],
            hint="name a mirror (BUILDKIT_TASKS_BASE_REGISTRY=mirror.example), or docker load the image",
        )


def _and(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


# ---- what is remembered: {"key": …, "refs": {reference: [use, source]}, "built": [image]} ----


def _key(session: Session, engine: Engine) -> str:
    """What a decision holds for: another engine, mirror or mode decides anew."""
    return "|".join((engine.id, session.settings.base_registry, session.settings.offline_images))


def _load(session: Session, engine: Engine) -> tuple[dict[str, list[str]], list[str]]:
    try:
        kept = json.loads((session.state / "images.json").read_text("utf-8"))
        if kept["key"] == _key(session, engine):
            return dict(kept["refs"]), list(kept["built"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a cache: whatever is wrong with it, it is made again
    return {}, []


def _recall(session: Session, engine: Engine) -> dict[str, Decision]:
    return {ref: Decision(ref, use, source) for ref, (use, source) in _load(session, engine)[0].items()}


def _remember(
    session: Session,
    engine: Engine,
    decisions: Mapping[str, Decision] | None = None,
    *,
    built: Sequence[str] = (),
    forget: bool = False,
) -> None:
    refs, have = ({}, []) if forget else _load(session, engine)
    refs.update({ref: [d.use, d.source] for ref, d in (decisions or {}).items()})
    content = {"key": _key(session, engine), "refs": refs, "built": sorted({*have, *built})}
    _write(session.state / "images.json", json.dumps(content, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    """Replace the file in one step: another call of ours may read it right now."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text, "utf-8")
    part.replace(path)


def recipes(names: Sequence[str]) -> list[Recipe]:
    """The recipes meant by the words; all of them for no word. Raises `Problem` bad-argument."""
    found = []
    for name in names:
        recipe = images.named(name)
        if not recipe:
            raise Problem(
                "bad-argument",
                f"There is no recipe for {name!r}.",
                hint=f"one of: {', '.join(r.stage for r in images.RECIPES)}",
            )
        found.append(recipe)
    return list(dict.fromkeys(found)) or list(images.RECIPES)
