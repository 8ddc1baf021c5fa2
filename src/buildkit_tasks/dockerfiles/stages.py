"""The stages of a Dockerfile: their base images, commands and copy sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .mounts import run_mounts
from .syntax import PLATFORM_ARGS, Instruction, expand, flags, instructions, unquoted, words


@dataclass(frozen=True)
class Stage:
    """A stage, with ARGs expanded. `platform`: as written; `runs`: its RUN steps; `sources`: what it copies from.

    `number`: counts from 0, because COPY can refer to a stage by number. `arguments`: the names that it declares;
    `caches`: whether any step has a cache mount.
    """

    name: str
    base: str
    platform: str
    runs: tuple[str, ...]
    sources: tuple[str, ...]
    number: int = 0
    arguments: tuple[str, ...] = ()
    caches: bool = False


def stages(text: str, args: Mapping[str, str]) -> tuple[Stage, ...]:
    """Return the stages in order. A stage without a name is identified by its number, as in COPY."""
    return stages_of(tuple(instructions(text)), args)


def stages_of(items: Sequence[Instruction], args: Mapping[str, str]) -> tuple[Stage, ...]:
    values = global_values(items, args)
    found: list[Stage] = []
    for item in items:
        if item.keyword == "FROM":
            options, rest = flags(item)
            given = rest.split()
            named = len(given) >= 3 and given[1].upper() == "AS"
            name = unquoted(given[2]).lower() if named else str(len(found))
            # with any other number of words, BuildKit reports the line: the first word may be half of a variable
            base = expand(unquoted(given[0]), values) if len(given) in (1, 3) else ""
            found.append(Stage(name, base, options.get("platform", ""), (), (), len(found)))
        elif found and item.keyword == "ARG":
            names = (word.partition("=")[0] for word in words(item.rest))
            found[-1] = replace(found[-1], arguments=(*found[-1].arguments, *names))
        elif found and item.keyword in ("RUN", "COPY"):
            last = found[-1]
            caches = last.caches or any(m.type == "cache" for m in run_mounts(item))
            froms = [m.options["from"] for m in run_mounts(item) if m.options.get("from")]
            if item.keyword == "COPY" and (named_source := flags(item)[0].get("from")):
                froms.append(named_source)
            runs = (*last.runs, f"{item.rest}\n{item.body}") if item.keyword == "RUN" else last.runs
            sources = (*last.sources, *(expand(f, values) for f in froms))
            found[-1] = replace(last, runs=runs, sources=sources, caches=caches)
    return tuple(found)


def global_values(items: Sequence[Instruction], args: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that FROM lines can use: arguments declared before the first FROM, and predefined ones."""
    values = {name: value for name, value in args.items() if name in PLATFORM_ARGS}
    for item in items:
        if item.keyword == "FROM":
            break
        if item.keyword == "ARG":
            for word in words(item.rest):
                name, equals, value = word.partition("=")
                if name in args:
                    values[name] = args[name]
                elif equals:
                    values[name] = expand(value, values)
    return values


def base_images(text: str, args: Mapping[str, str]) -> tuple[str, ...]:
    """Return the images that stages start FROM, with ARGs expanded; excludes stages of the file itself and scratch."""
    own: set[str] = {"scratch"}
    found: dict[str, None] = {}
    for stage in stages(text, args):
        if stage.base and stage.base.lower() not in own:
            found[stage.base] = None
        own.add(stage.name)
    return tuple(found)
