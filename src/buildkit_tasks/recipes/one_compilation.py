"""Combine the settings of services that used to be compiled separately: one cargo run now compiles them all.

A program that is now compiled differently is reported in a note.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from buildkit_tasks.distributions import alpine
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import prebuilt, shipped
from buildkit_tasks.existing.recipe import Stage
from buildkit_tasks.survey.finding import Note, Service
from buildkit_tasks.workspaces.cargo import Package

from .compiling import Kept
from .stage_lines import is_alpine
from .variables import OURS

#: Variables that change a program even if its sources do not read them.
_FLAGS = re.compile(r"RUSTFLAGS$|CARGO_PROFILE_|CARGO_ENCODED_RUSTFLAGS$|CARGO_BUILD_RUSTFLAGS$")


def static(services: Sequence[Service]) -> str:
    """Return how programs without shared libraries are linked (musl or gnu); empty if they use shared libraries."""
    targets = [s.target for s in services]
    return "musl" if any("musl" in t for t in targets) else "gnu" if "gnu" in targets else ""


def strips(services: Sequence[Service], binaries: Collection[str]) -> list[str]:
    """Return lines that make cargo strip the programs if all services stripped theirs in the same way."""
    kinds = set(_stripped(services, binaries).values())
    if len(kinds) != 1 or not kinds & {"symbols", "debuginfo"}:
        return []
    names = dict.fromkeys(re.sub(r"\W", "_", s.profile).upper() for s in services)
    return [f'ENV CARGO_PROFILE_{name}_STRIP="{kinds.copy().pop()}"' for name in names]


def packages(services: Sequence[Service], kept: Mapping[str, Kept], image: str) -> tuple[dict[str, None], list[Note]]:
    """Return the packages of all compile stages, with their names in the distribution of the new toolchain image."""
    found: dict[str, None] = {}
    unknown: list[Note] = []
    for service in (s for s in services if s.recipe and s.name in kept):
        old = service.recipe.toolchain if service.recipe else ""
        for name in kept[service.name].packages:
            known: Sequence[str] | None = (name,)
            if old and is_alpine(image) != is_alpine(old):
                back = alpine.alpine(name) if is_alpine(image) else None
                known = alpine.debian(name) if is_alpine(old) else (back,) if back else None
            if known is None and service.recipe:
                unknown.append(
                    Note(service.recipe.path, f"{name} may have a different name in {image}: check the name", True)
                )
            found |= dict.fromkeys((name,) if known is None else known)
    return found, unknown


def notes(services: Sequence[Service], kept: Mapping[str, Kept], binaries: Mapping[str, Package]) -> list[Note]:
    """Return notes on programs that are now compiled differently. `kept`: what each service's stages contribute."""
    found = [*_unstripped(services, binaries), *_statically(services), *_linked(services)]
    found += [*_options(services, binaries), *_more(services, binaries), *_toolchains(services, binaries)]
    return [*found, *_variables([s for s in services if s.name in kept], kept)]


def _stripped(services: Sequence[Service], binaries: Collection[str]) -> dict[str, str]:
    """Return what was stripped from each program of each service's image; the main one has the service's name."""
    found: dict[str, str] = {}
    for service in services:
        taken = service.recipe
        others = shipped.stages(taken, binaries) if taken else {}
        for name in dict.fromkeys((service.binary, *others)):
            key = service.name if name == service.binary else f"{service.name}/{name}"
            found[key] = shipped.stripped(shipped.compiling(taken, binaries, name)) if taken else ""
    return found


def _unstripped(services: Sequence[Service], binaries: Collection[str]) -> list[Note]:
    if strips(services, binaries):
        return []
    text = "was stripped by its Dockerfile but is no longer stripped: set `strip` in a profile in Cargo.toml"
    wanted = _stripped(services, binaries)
    found: list[Note] = []
    for service in services:
        named = {
            service.name: service.binary,
            **{k: k.partition("/")[2] for k in wanted if k.startswith(f"{service.name}/")},
        }
        found += [
            Note(service.recipe.path, f"{n} {text}", True) for k, n in named.items() if service.recipe and wanted[k]
        ]
    return found


def _statically(services: Sequence[Service]) -> list[Note]:
    """Return notes on programs that were compiled elsewhere and copied into an image without glibc."""
    alike = [s.recipe for s in services if s.recipe and prebuilt.target(s.recipe) == s.target == "gnu"]
    return [Note(taken.path, f"linked statically, because {taken.runtime} has no glibc") for taken in alike]


def _linked(services: Sequence[Service]) -> list[Note]:
    kind = static(services)
    other = next((s.name for s in services if kind and kind in s.target), "")
    text = f"is now linked statically ({kind}) like {other}, because all services share one compile step"
    alike = [s for s in services if s.recipe and not (kind in s.target or "alpine" in s.recipe.toolchain)]
    return [Note(s.recipe.path, f"{s.binary} {text}", True) for s in alike if s.recipe and kind]


def _options(services: Sequence[Service], binaries: Mapping[str, Package]) -> list[Note]:
    """Return notes on programs of an image with other cargo options or variables than its main program."""
    found: list[Note] = []
    for service in services:
        taken = service.recipe
        stages = shipped.stages(taken, binaries) if taken else {}
        if not taken or service.binary not in stages:
            continue
        main = shipped.options(taken, binaries, service.binary)
        before = _environment(shipped.compiling(taken, binaries, service.binary))
        for name in stages:
            other = shipped.options(taken, binaries, name)
            more = _environment(shipped.compiling(taken, binaries, name))
            differs = [n for n, value in more.items() if before.get(n) != value and (n in before or _FLAGS.match(n))]
            if replace(other, packages=main.packages, binaries=main.binaries, paths=main.paths) != main:
                differs.insert(0, "cargo options")
            if differs:
                text = f"{name} was compiled with different {' and '.join(differs)} than {service.binary}"
                found.append(Note(taken.path, f"{text}; both now use the same values", True))
    return found


def toolchain(services: Sequence[Service], binaries: Mapping[str, Package]) -> str:
    """Return the toolchain that cargo was called with (`cargo +nightly`) for all programs; empty if they differ."""
    names = {name for _, name in _called(services, binaries)}
    return names.pop() if len(names) == 1 and "$" not in "".join(names) else ""


def _called(services: Sequence[Service], binaries: Mapping[str, Package]) -> list[tuple[Service, str]]:
    known = [s for s in services if s.recipe and s.recipe.compiling and s.binary in binaries]
    return [(s, shipped.options(s.recipe, binaries, s.binary).toolchain) for s in known if s.recipe]


def _toolchains(services: Sequence[Service], binaries: Mapping[str, Package]) -> list[Note]:
    text = "was compiled with `cargo +{}`; all services now share one toolchain"
    found = [] if toolchain(services, binaries) else _called(services, binaries)
    return [Note(s.recipe.path, f"{s.binary} {text.format(name)}", True) for s, name in found if name and s.recipe]


def _more(services: Sequence[Service], binaries: Mapping[str, Package]) -> list[Note]:
    """Return notes on words of a compile command that affect the program and that our step does not support."""
    found: list[Note] = []
    for service in (s for s in services if s.recipe and s.recipe.compiling and s.binary in binaries):
        for words in shipped.options(service.recipe, binaries, service.binary).more if service.recipe else ():
            text = f"{service.binary} was compiled with `{words}`, which was not converted"
            found.append(Note(service.recipe.path if service.recipe else "", text, True))
    return found


def _environment(stages: Sequence[Stage]) -> dict[str, str | None]:
    """Return the variables that stages set for cargo, except those that our own step sets."""
    lines = [item for stage in stages for item in stage.items if item.keyword == "ENV"]
    return {name: value for item in lines for name, value in syntax.assignments(item) if name not in OURS}


def _variables(services: Sequence[Service], kept: Mapping[str, Kept]) -> list[Note]:
    """Return notes on variables in cargo's environment that had a different value, or flags that were not set."""
    values = {s.name: _assigned(kept[s.name].compile) for s in services}
    # the last line of a variable counts, but the first RUSTFLAGS become an argument after all other lines
    lines = list(dict.fromkeys(line for s in services for line in kept[s.name].compile))
    flags = [line for line in lines if re.match(r"(?:ARG|ENV) RUSTFLAGS=", line)][:1]
    shared = _assigned([*(line for line in lines if not re.match(r"(?:ARG|ENV) RUSTFLAGS\b", line)), *flags])
    found: list[Note] = []
    for name in dict.fromkeys(name for each in values.values() for name in each):
        now = shared.get(name, "")
        for service in services:
            value = values[service.name].get(name)
            if service.recipe and now and value != now and (value or _FLAGS.match(name)):
                before = f"with {name}={value}" if value else f"without {name}"
                text = f"{service.name} was compiled {before}; all services now share {name}={now}"
                found.append(Note(service.recipe.path, text, True))
    return found


def _assigned(lines: Sequence[str]) -> dict[str, str]:
    """Return the values that lines assign, as written, with the values of earlier lines in them."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(" ")[2].partition("=")
        known = {n: v.strip('"') for n, v in found.items()}
        found[name] = syntax.expand(value, known, keep=True)
    return found
