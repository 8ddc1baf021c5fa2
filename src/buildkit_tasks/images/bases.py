"""Base images: chosen once per engine, remembered in the state directory, replaced without editing any file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Workspace
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.dockerfiles.document import lookup_name
from buildkit_tasks.project import sources
from buildkit_tasks.registry.names import printable

from . import choice as image_choice
from . import names as image_names
from . import offline as image_offline
from .names import Decision, Recipe

#: The record that `init` adds to a repository when it writes a Dockerfile.
ADOPTED = "docker/.buildkit-tasks.json"


def replacements(session: Session, engine: Engine, refs: Sequence[str]) -> dict[str, str]:
    """Map each public reference that must be replaced to the image to use instead. Builds nothing.

    Raises `Problem` image-unavailable if an image is not available anywhere, or has not been built yet.
    """
    decisions = image_choice.decide(session, engine, refs)
    _demand(session, decisions, {})
    if absent := _absent(session, engine, decisions):
        raise Problem(
            "image-unavailable",
            f"{_and(d.reference for d in absent)} cannot be pulled here, "
            "and no replacement has been built from packages yet.",
            hint="invoke images.build",
        )
    return {d.reference: d.use for d in decisions.values() if d.replaced}


def planned(
    session: Session, engine: Engine, refs: Sequence[str], *, services: Mapping[str, Collection[str]] | None = None
) -> dict[str, str]:
    """Like `ensure`, but builds nothing: reports what a build would have to build first."""
    decisions = image_choice.decide(session, engine, refs)
    _demand(session, decisions, services or {})
    if absent := _absent(session, engine, decisions):
        _first(session, (d.reference for d in absent))
    return {d.reference: d.use for d in decisions.values() if d.replaced}


def _first(session: Session, names: Iterable[str]) -> None:
    names = tuple(names)
    them = "it" if len(names) == 1 else "them"
    session.report.say(
        f"  no registry provides {_and(names)}, so a build will first create {them} from Debian packages"
    )


def ensure(
    session: Session,
    engine: Engine,
    refs: Sequence[str],
    *,
    check: bool = False,
    services: Mapping[str, Collection[str]] | None = None,
) -> dict[str, str]:
    """Like `replacements`, but builds missing images. With `check`, remembered images are checked again."""
    decisions = image_choice.decide(session, engine, refs)
    _demand(session, decisions, services or {})
    absent = _absent(session, engine, decisions, check=check)
    if absent and session.settings.packs.repository:
        absent = _from_the_team(session, engine, absent)
    if absent:
        session.report.say(f"  no registry provides {_and(d.reference for d in absent)}: building from Debian packages")
        image_offline.build(session, engine, recipes([d.use for d in absent]))
        image_choice.remember(session, engine, built=[d.use for d in absent])
    return {d.reference: d.use for d in decisions.values() if d.replaced}


def foreign(
    session: Session, engine: Engine, refs: Sequence[str], platform: str, *, build: bool, shared: bool = True
) -> dict[str, str]:
    """Return replacements for references that no registry provides for another platform; builds missing ones.

    `shared`: the builder uses the engine's images, and would silently use one for the wrong platform. Without `build`,
    only reports what would be built. Raises `Problem` image-unavailable if that is not possible for the platform.
    """
    decisions = image_choice.decide(session, engine, refs)
    offline = [d for d in decisions.values() if d.source == "offline"]
    found: dict[str, str] = {}
    if shared:
        if session.settings.images.offline != "always":
            here = image_choice.local(session, engine, [d.reference for d in offline], platform)
            found = {reference: reference for reference in here}
            offline = [d for d in offline if d.reference not in here]
        offline += _only_of_another(session, engine, decisions, platform)
    found |= {d.reference: image_names.foreign(d.use, platform) for d in offline}
    present = image_choice.local(session, engine, [found[d.reference] for d in offline], platform)
    for decision in offline:
        if found[decision.reference] in present:
            continue
        recipe = image_names.named(decision.use)
        if recipe is None or recipe.stage != "debian":
            raise Problem(
                "image-unavailable",
                f"{decision.reference} for {platform} cannot be pulled here.",
                causes=["for other platforms, only a minimal Debian image can be built from packages"],
                hint="set a mirror (BUILDKIT_TASKS_IMAGES_REGISTRY), or load the image with `docker load`",
            )
        if not build:
            _first(session, [f"{decision.reference} for {platform}"])
            continue
        session.report.say(
            f"  no registry provides {decision.reference} for {platform}: unpacking it from Debian packages"
        )
        image_offline.build_foreign(session, engine, recipe, platform)
    return found


def _only_of_another(
    session: Session, engine: Engine, decisions: Mapping[str, Decision], platform: str
) -> list[Decision]:
    """Return replacements for images that the engine has, but not for this platform, if no registry responds."""
    taken = [d for d in decisions.values() if d.source != "offline"]
    there = image_choice.held(session, [d.use for d in taken])
    right = image_choice.local(session, engine, there, platform)
    lacking = [d for d in taken if d.use in there and d.use not in right]
    if not lacking:
        return []
    pullable = [d for d in lacking if image_names.parse(d.use).registry != "localhost"]
    if pullable and image_choice.answering(session):
        lacking = [d for d in lacking if d not in pullable]
    stand_ins = []
    for decision in lacking:
        recipe = image_names.recipe_for(decision.reference)
        if recipe is None:
            raise Problem(
                "image-unavailable",
                f"The engine has {decision.use} only for {there[decision.use]}, not for {platform},"
                " and no registry is reachable.",
                causes=[f"BuildKit would put programs for {there[decision.use]} into images for {platform}"],
                hint=f"run `docker load` with a {platform} image, or set a mirror (BUILDKIT_TASKS_IMAGES_REGISTRY)",
            )
        stand_ins.append(Decision(decision.reference, recipe.image, "offline"))
    return stand_ins


def _from_the_team(session: Session, engine: Engine, absent: list[Decision]) -> list[Decision]:
    """Return the images that the team's repository does not have either; all if it is unreachable. Never fails."""
    from . import fetch as image_fetch  # late: TLS alone takes 50 ms to import

    try:
        packs = session.settings.packs
        taken = image_fetch.fetch(session, engine, absent, packs.repository, seconds=packs.wait, timeout=packs.timeout)
    except Problem as problem:
        session.report.warn(printable("; ".join((problem.message.rstrip("."), *problem.causes[:1])), 400))
        return absent
    return [d for d in absent if d.use not in taken]


def _absent(
    session: Session, engine: Engine, decisions: Mapping[str, Decision], *, check: bool = False
) -> list[Decision]:
    """Return offline images that the engine does not have. Images seen once are assumed to exist, unless `check`."""
    seen = set() if check else set(image_choice.load(session, engine)[1])
    unsure = [d for d in decisions.values() if d.source == "offline" and d.use not in seen]
    if not unsure:
        return []
    present = image_choice.local(session, engine, [d.use for d in unsure])
    image_choice.remember(session, engine, built=sorted(present))
    return [d for d in unsure if d.use not in present]


def references(workspace: Workspace) -> tuple[str, ...]:
    """Return every public reference that the project uses: FROM lines of the built services, `image:` of the others.

    Excludes images that another service of the project builds.
    """
    makers = {name: service.name for service in workspace.services for name in sources.image_names(service)}
    used = [(name, ref) for name, refs in _built(workspace).items() for ref in refs] + list(workspace.images.items())
    return tuple(dict.fromkeys(ref for name, ref in used if makers.get(lookup_name(ref), name) == name))


def _built(workspace: Workspace) -> dict[str, tuple[str, ...]]:
    return {s.name: sources.needed_images(s) for s in workspace.services}


def override(session: Session, engine: Engine, workspace: Workspace) -> Path | None:
    """Return the generated compose file with the replacements, None if none are needed.

    Also works with plain `docker compose -f … -f OVERRIDE build`. Uses earlier decisions and builds nothing.
    """
    decisions = image_choice.decide(session, engine, references(workspace))
    use = {d.reference: d.use for d in decisions.values() if d.replaced}
    content = image_names.override(_built(workspace), workspace.images, use, session.settings.build.ca_bundle)
    path = session.state / "compose.offline.yaml"
    if not content:
        path.unlink(missing_ok=True)
        return None
    text = f"# Generated by buildkit-tasks; changes will be overwritten.\n{compose_cli.for_compose(content)}\n"
    if not path.exists() or readfile.text(path) != text:
        files.replace(path, text, durable=False)
    return path


def _demand(session: Session, decisions: Mapping[str, Decision], services: Mapping[str, Collection[str]]) -> None:
    lost = [d.reference for d in decisions.values() if d.source == "none"]
    if lost:
        hint = "set a mirror (BUILDKIT_TASKS_IMAGES_REGISTRY=mirror.example), or load the image with `docker load`"
        if fine := [name for name, refs in services.items() if not set(refs) & set(lost)]:
            hint = f"invoke build --service {','.join(fine)}    (these services do not need {_and(lost)}); {hint}"
        elif services and _converts(session.root / ADOPTED, lost):
            hint = f"buildkit-tasks init --upgrade --images bookworm    (uses images that can be built here); {hint}"
        raise Problem(
            "image-unavailable",
            f"The engine does not have {_and(lost)}, and no registry is reachable.",
            causes=[
                "only these images can be built from Debian packages: "
                + ", ".join(r.image.removeprefix(f"{image_names.OWN}/") for r in image_names.RECIPES)
            ],
            hint=hint,
        )


def _converts(record: Path, lost: Sequence[str]) -> bool:
    """Return whether `init --images bookworm` would replace any of the images: False if it already did or cannot."""
    try:
        images = shapes.loads(readfile.content(record), dict).get("images")
    except (OSError, ValueError):
        return False
    return images != "bookworm" and any(image_names.convertible(reference) for reference in lost)


def _and(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def recipes(names: Sequence[str]) -> list[Recipe]:
    """Return the recipes with these names; without names, the usual ones. Problems: bad-argument."""
    found = []
    for name in names:
        recipe = image_names.named(name)
        if not recipe:
            raise Problem(
                "bad-argument",
                f"There is no recipe for the image {name!r}.",
                hint=f"use one of these names: {', '.join(r.stage for r in image_names.RECIPES)}",
            )
        found.append(recipe)
    return list(dict.fromkeys(found)) or [r for r in image_names.RECIPES if not r.asked]
