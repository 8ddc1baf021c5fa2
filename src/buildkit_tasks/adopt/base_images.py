"""Check whether the base images of the Dockerfiles are available and, if not, decide what to use instead."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.distributions import bookworm
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.existing import recipe
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.images import names as image_names
from buildkit_tasks.recipes import dockerfile
from buildkit_tasks.registry import names as registry_names
from buildkit_tasks.registry import reachable
from buildkit_tasks.survey.finding import Finding, Note

#: Values of `--images`.
MODES = ("auto", "keep", "bookworm")


def apply(session: Session, finding: Finding, mode: str) -> tuple[Finding, str]:
    """Return the finding with the images that `mode` selects, and the decision: keep or bookworm.

    `auto` keeps the images in the Dockerfiles unless any is unavailable and a Debian image can replace it.
    """
    if mode == "keep":
        return finding, "keep"
    if mode == "bookworm":
        return bookworm.apply(finding), "bookworm"
    absent = _absent(session, images(finding))
    if not absent:
        return finding, "keep"
    changed = bookworm.apply(finding)
    left = [name for name in images(changed) if name in absent]
    notes = [_absent_note(left)] if left else []
    if set(left) == set(absent):
        return replace(finding, notes=(*finding.notes, *notes)), "keep"
    gone = ", ".join(name for name in absent if name not in left)
    text = (
        f"no registry provides {gone}: using {bookworm.RUST} to compile and {bookworm.DEBIAN} to run; both can be "
        "built from Debian packages. To keep your images, pass `--images keep`"
    )
    return replace(changed, notes=(*changed.notes, Note("images", text), *notes)), "bookworm"


def _absent_note(names: Sequence[str]) -> Note:
    text = f"no registry provides {', '.join(names)}, and no replacement is available: set images.registry to a mirror"
    return Note("images", f"{text} or load the image with `docker load`", True)


def images(finding: Finding) -> tuple[str, ...]:
    """Return the images that the new Dockerfiles start from or copy from."""
    found: dict[str, None] = {}
    for service in finding.services:
        taken = service.recipe
        if service.adopted or taken is None:
            continue
        found.setdefault(dockerfile.rust_image(taken.toolchain) if taken.toolchain else dockerfile.RUST)
        stages = (*taken.side, *taken.final)
        names = {s.name for s in taken.stages}
        wanted = [name for s in stages for name in (s.base, *recipe.sources(s))]
        found.update(dict.fromkeys(name for name in wanted if name.lower() not in names and not name.isdigit()))
    return tuple(name for name in found if name and name != "scratch" and "$" not in name)


def _absent(session: Session, names: Collection[str]) -> list[str]:
    """Return the images that neither the engine nor a registry has and that cannot be built from packages."""
    unsure = [name for name in names if not image_names.recipe_for(name)]
    if not unsure or session.settings.images.registry or session.settings.images.offline == "never":
        return []
    present = _present(session, unsure)
    unsure = [name for name in unsure if name not in present]
    hosts = {name: image_names.parse(name).registry for name in unsure}
    answers = {host: _answers(session, host) for host in dict.fromkeys(hosts.values())}
    return [name for name in unsure if not answers[hosts[name]]]


def _present(session: Session, names: Sequence[str]) -> set[str]:
    try:
        engine = engine_facts.facts(session.world, session.root)
        return image_choice.local(session, engine, names)
    except Problem:
        return set()  # no engine is running; adopting a repository does not need one


def _answers(session: Session, host: str) -> bool:
    if session.settings.images.offline == "always":
        return False
    if host == image_names.HUB:
        return image_choice.answering(session)
    if registry_names.is_loopback(host):
        return True  # a local registry may only be started for the build
    return reachable.reachable(session.world, [host], session.settings.build.ca_bundle)[0]
