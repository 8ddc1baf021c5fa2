"""Report services that use images of other services, where one of the two cannot be converted. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence

from buildkit_tasks.existing import providers, recipe, shipped, spliced, stage_items
from buildkit_tasks.existing.providers import Provider
from buildkit_tasks.existing.recipe import Recipe

from .finding import LeftAlone, Note, Service


def lacks(taken: Recipe) -> str:
    """Return why a Dockerfile's programs are unclear although it uses an image with compiled ones; else empty."""
    for copy in recipe.copies(taken):
        for source in copy.sources:
            if unset := re.search(r"\$\{?(\w+)", source):
                where = f"{taken.path}:{copy.line.number}"
                return (
                    f"{where} copies {source}, but {unset[1]} has no value: set it in `build.args` or give it a default"
                )
    return ""


def ships(service: Service) -> bool:
    """Return whether a service's image contains a program."""
    taken = service.recipe
    if taken is None or not taken.final or any(program.path for program in service.programs):
        return True
    copied = stage_items.shipped(taken)
    return bool(copied & shipped.installed(taken))  # the image copies the whole directory


def together(
    services: Sequence[Service], left: Sequence[LeftAlone], building: Sequence[Provider]
) -> tuple[list[Service], list[LeftAlone], list[Note]]:
    """Leave a service alone whose image would lose files that the services in `left` copy from it.

    Also return notes on services whose images no service uses any more.
    """
    alone = {item.name for item in left}
    users: dict[str, str] = {}
    for user in (p for p in building if p.name in alone):
        users |= {maker.name: user.name for maker in spliced.images_of(user, building).values()}
    # an image that was the toolchain becomes a slim one; the others keep their files
    lost = {s.name: users[s.name] for s in services if s.name in users and s.recipe and not s.recipe.final}
    more = [
        LeftAlone(name, f"the converted image would lose files that {user} copies from it, and {user} is not converted")
        for name, user in lost.items()
    ]
    kept = [s for s in services if s.name not in lost]
    unused = {name: [s.name for s in kept if name in s.providers] for s in kept for name in s.providers}
    text = "no longer used by {}: remove the service if nothing else needs its image"
    notes = [
        Note(f"service {name}", text.format(", ".join(names))) for name, names in unused.items() if name not in users
    ]
    return kept, [*left, *more], notes


def uncompiled(user: Provider, others: Sequence[Provider], binaries: Collection[str], mark: str) -> str:
    """Return why nothing compiles the programs that a Dockerfile copies from another image; empty if it copies none.

    `mark`: the start of the Dockerfiles that we wrote.
    """
    parsed = recipe.parse(user.path, user.text, user.args)
    stages = {stage.name: stage for stage in parsed.stages}
    for stage in parsed.needed(user.target)[1] if stages else ():
        for copy in (recipe.copied(item, parsed.values) for item in stage.items):
            name = (
                next((posixpath.basename(s) for s in copy.sources if posixpath.basename(s) in binaries), "")
                if copy
                else ""
            )
            if not copy or not copy.stage or not name:
                continue
            from_ = stages.get(copy.stage.lower())
            image = from_.base if from_ else copy.stage
            if from_ and not recipe.IMAGE.fullmatch(image):
                return f"uses an argument without a value in FROM (line {from_.line})"
            makers = providers.makers(image, user, others)
            start = f"copies {name} from the image {image}"
            if image in stages or (from_ and from_.items):
                continue
            if not makers:
                return f"{start}, which no service builds: add a service with this `image:` to the compose file"
            maker = makers[0]
            if maker.text.startswith(mark):
                return (
                    f"{start} of the service {maker.name}, which has already been converted: run `init "
                    "--undo`, then `init`"
                )
            why = maker.why or f"{maker.path} does not compile Rust code from this repository"
            return f"{start} of the service {maker.name}, but {why}"
    return ""
