"""Put the stages of another service's Dockerfile in front of a Dockerfile that uses that service's image. Pure.

A common shape: one service compiles the whole workspace, the others only say `FROM that-image AS files` and copy their
program from it. With the stages in one list, such a Dockerfile is like any other.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from buildkit_tasks.dockerfiles.syntax import Instruction

from . import providers, recipe, renamed
from .providers import Provider
from .recipe import Parsed, Stage

#: Kinds of mounts that need a key of `build:`.
_MOUNTED = {"secrets": "secret", "ssh": "ssh"}


@dataclass(frozen=True)
class Spliced:
    """A Dockerfile with the stages that its images come from. `context`: where the compiled sources are; `args`: of the
    services that compile (`services`); `why`: why it cannot be read, if so."""

    parsed: Parsed
    context: str
    args: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    why: str = ""


def read(user: Provider, others: Sequence[Provider], seen: tuple[str, ...] = ()) -> Spliced:
    """Read a service's Dockerfile, with the stages of each service that compiles Rust and whose image it uses."""
    found = Spliced(recipe.parse(user.path, user.text, user.args), user.context)
    if not found.parsed.stages:
        return found
    names, own = dict[str, str](), {stage.name for stage in found.parsed.stages}
    for reference in references(found.parsed, user.target):
        makers = [p for p in providers.makers(reference, user, others) if p.name not in (*seen, user.name)]
        inner = [read(maker, others, (*seen, user.name)) for maker in makers]
        compiled = [(maker, one) for maker, one in zip(makers, inner, strict=True) if one.why or _compiles(maker, one)]
        if not compiled:
            continue
        other, one = compiled[0]
        why = _several(makers) or ("" if one.why else _differs(user, other, one, found.parsed))
        if why or one.why:
            more = f", but {why}" if why else f": {other.path} {one.why}"
            text = f"uses the image {reference} of the service {other.name}{more}"
            return replace(found, services=(other.name,), why=text)
        parsed, last = _apart(other, one, found.parsed, user.context)
        names[reference.lower()] = last
        found = _joined(found, other, one, parsed)
    if not names:
        return found
    stages = tuple(renamed.stage(s, names) if s.name in own else s for s in found.parsed.stages)
    return replace(found, parsed=replace(found.parsed, stages=stages))


def references(parsed: Parsed, target: str) -> list[str]:
    """Return the images and named contexts that the needed stages start from or copy from."""
    if not parsed.stages:
        return []
    stages = {stage.name for stage in parsed.stages}
    _, needed = parsed.needed(target)
    used = [name for stage in needed for name in (stage.base, *recipe.sources(stage))]
    return [name for name in dict.fromkeys(used) if name.lower() not in stages]


def images_of(user: Provider, others: Sequence[Provider]) -> dict[str, Provider]:
    """Map the images that a Dockerfile uses to the services that build them."""
    parsed = recipe.parse(user.path, user.text, user.args)
    made = {name: providers.makers(name, user, others) for name in references(parsed, user.target)}
    return {name: makers[0] for name, makers in made.items() if makers}


def _compiles(maker: Provider, one: Spliced) -> bool:
    return bool(one.parsed.stages) and any(stage.compiles for stage in one.parsed.needed(maker.target)[1])


def _several(makers: Sequence[Provider]) -> str:
    """Return why it is unclear which of these services builds the image; empty if all build the same."""
    different = [maker.name for maker in makers if maker.build != makers[0].build]
    if not different:
        return ""
    who = (
        f"the service {different[0]} builds" if len(different) == 1 else f"the services {' and '.join(different)} build"
    )
    return f"{who} this image differently: give each service its own `image:`"


def _differs(user: Provider, other: Provider, one: Spliced, own: Parsed) -> str:
    """Return why the service cannot compile what `other` compiles, and what to change; empty if it can."""
    values = {**one.args, **one.parsed.values}
    used = {name for stage in one.parsed.stages for item in stage.items for name in _variables(item)}
    clash = sorted(name for name in used & values.keys() & own.values.keys() if values[name] != own.values[name])
    if clash:
        pair = f"{values[clash[0]]} in {other.path} and {own.values[clash[0]]} in {user.path}"
        return f"the argument {clash[0]} is {pair}: rename one of the arguments"
    texts = [f"{i.rest}\n{i.body}" for stage in one.parsed.stages for i in stage.items if i.keyword == "RUN"]
    for key, kind in _MOUNTED.items():
        if other.build.get(key) and user.build.get(key) != other.build[key] and f"type={kind}" in "\n".join(texts):
            lacks = (
                f"the `build:` section of {user.name} lacks the `{key}:` entries of {other.name}, which the "
                "compile stage mounts"
            )
            return f"{lacks}: add the same entries"
    for name in references(one.parsed, other.target):
        given = next((value for key, value in other.contexts.items() if key.lower() == name.lower()), None)
        if given is not None and user.contexts.get(name) != given:
            return (
                f"the `build:` section of {user.name} lacks the additional context {name} of {other.name}: add "
                f"`{name}: {given}`"
            )
    return ""


def _variables(item: Instruction) -> list[str]:
    """Return the variables that an instruction uses, except to define others."""
    if item.keyword in ("ARG", "ENV"):
        return []
    return [name for name in re.findall(r"\$\{?(\w+)", f"{item.rest}\n{item.body}") if name != "PATH"]


def _apart(other: Provider, one: Spliced, own: Parsed, context: str) -> tuple[Parsed, str]:
    """Return the stages of another service with names of their own and paths in `context`, and the image's stage."""
    taken, names = {stage.name for stage in own.stages}, dict[str, str]()
    for stage in one.parsed.stages:
        name = re.sub(r"[^a-z0-9_.-]", "-", f"{other.name}-{stage.name}".lower())
        while name in taken:
            name += "-2"
        taken.add(name)
        names[stage.name] = name
    moved = posixpath.relpath(other.context, context)
    stages = tuple(renamed.stage(_moved(stage, moved), names) for stage in one.parsed.stages)
    return replace(one.parsed, stages=stages), names[one.parsed.needed(other.target)[0][-1].name]


def _moved(stage: Stage, folder: str) -> Stage:
    """Return a stage that copies the same files, from a context that has its own as `folder`."""
    return stage if folder == "." else replace(stage, items=tuple(_rebased(item, folder) for item in stage.items))


def _rebased(item: Instruction, folder: str) -> Instruction:
    copy = recipe.copied(item, {})
    if copy is None or copy.stage or any("://" in source or source.startswith("<<") for source in copy.sources):
        return item
    sources = [
        f"{posixpath.normpath(posixpath.join(folder, source.lstrip('/')))}{'/' if source.endswith('/') else ''}"
        for source in copy.sources
    ]
    words = [*sources, copy.destination]
    return recipe.rewritten(item, copy.flags, words)


def _joined(found: Spliced, other: Provider, one: Spliced, parsed: Parsed) -> Spliced:
    stages = (*parsed.stages, *found.parsed.stages)
    numbered = tuple(replace(stage, number=number) for number, stage in enumerate(stages))
    both = replace(
        found.parsed,
        stages=numbered,
        header=(*parsed.header, *found.parsed.header),
        values={**parsed.values, **found.parsed.values},
    )
    args = {**other.args, **one.args, **found.args}
    context = found.context if found.services else one.context
    return replace(
        found, parsed=both, context=context, args=args, services=(*found.services, other.name, *one.services)
    )
