"""Give the kept stages of several Dockerfiles names that are unique in ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from buildkit_tasks.existing import renamed
from buildkit_tasks.existing.recipe import Recipe, Stage, sources
from buildkit_tasks.survey.finding import Service

#: Stages of our own Dockerfile.
_OURS = frozenset(("toolchain", "compile", "sources", "tools"))


def apart(services: Sequence[Service], lines: Callable[[Service, Stage], Sequence[str]]) -> list[Service]:
    """Return the services with a new name for every kept stage that has one of our names, no name (`COPY --from=0`), or
    the name of a different stage of another service. `lines` returns a stage as it will be written.
    """
    taken: dict[str, str] = {}
    found = []
    for service in services:
        names: dict[str, str] = {}
        texts: dict[str, str] = {}
        for stage in service.recipe.side if service.recipe else ():
            # include the stages that it starts from or copies from, which precede it
            used = (texts.get(n, "") for n in sorted({stage.base.lower(), *sources(stage)}))
            written = texts[stage.name] = "\n".join([*lines(service, stage), *used])
            name = stage.name
            if not _is_free(name, written, taken):
                name = re.sub(r"[^a-z0-9_.-]", "-", f"{service.name}-{stage.name}".lower())
                name = name if name[:1].isalpha() else f"stage-{name}"
            while not _is_free(name, written, taken):
                name += "-2"
            taken[name] = written
            if name != stage.name:
                names[stage.name] = name
        found.append(replace(service, recipe=_renamed(service.recipe, names)) if service.recipe and names else service)
    return found


def _is_free(name: str, written: str, taken: Mapping[str, str]) -> bool:
    reserved = name in _OURS or name.startswith("runtime") or not name[:1].isalpha()
    return not reserved and taken.get(name, written) == written


def _renamed(recipe: Recipe, names: Mapping[str, str]) -> Recipe:
    def of(several: Sequence[Stage]) -> tuple[Stage, ...]:
        # the lists contain different objects: stages for another base image were converted
        return tuple(renamed.stage(stage, names) for stage in several)

    return replace(
        recipe,
        stages=of(recipe.stages),
        final=of(recipe.final),
        side=of(recipe.side),
        compiling=of(recipe.compiling),
        runtime=names.get(recipe.runtime.lower(), recipe.runtime),
    )
