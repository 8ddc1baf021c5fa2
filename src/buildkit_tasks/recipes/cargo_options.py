"""Convert cargo options in a repository's own Dockerfile to arguments of our compile step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from buildkit_tasks.existing import prebuilt, stage_items
from buildkit_tasks.existing.recipe import Recipe
from buildkit_tasks.survey.finding import Note, Service, Workspace
from buildkit_tasks.workspaces import cargo_config
from buildkit_tasks.workspaces.tree import Tree

from .variables import ARGUMENTS, PLATFORM

RUST = "rust:1-bookworm"
#: An empty value, or the argument itself: `ENV RUSTFLAGS=$RUSTFLAGS`.
_EMPTY_FLAGS = re.compile(r"""(?:ARG|ENV) RUSTFLAGS=(["']?)(?:\$RUSTFLAGS|\$\{RUSTFLAGS\})?\1""")


def arguments(services: Sequence[Service], text: str) -> tuple[dict[str, dict[str, str]], list[Note]]:
    """Return the features per service if our Dockerfile supports them; otherwise a note."""
    found: dict[str, dict[str, str]] = {}
    notes: list[Note] = []
    known = re.search(r"(?m)^ARG FEATURES$", text) is not None
    for service in services:
        args: dict[str, str] = {}
        plain = [feature for feature in service.features if "$" not in feature]
        if plain:
            args["FEATURES"] = " ".join(plain)
        computed = [f for f in service.features if "$" in f and not _without_value(service, f)]
        if computed and service.recipe:
            features = " ".join(computed)
            text = f"cannot determine the features {features}: set the build argument FEATURES of {service.name}"
            notes.append(Note(service.recipe.path, text, True))
        asked = service.recipe.cargo.profile if service.recipe else ""
        if "$" in asked and service.recipe:
            text = f"cannot determine the profile {asked}, so release is used: set the build argument PROFILE of "
            text += service.name
            notes.append(Note(service.recipe.path, text, True))
        if not service.default_features:
            args["NO_DEFAULT_FEATURES"] = "1"
        if args and not known and service.recipe:
            given = ", ".join(f"{name}={value}" for name, value in args.items())
            notes.append(
                Note(service.recipe.path, f"{service.name} is built with {given}, which was not converted", True)
            )
            args = {}
        if service.profile != "release":
            args["PROFILE"] = service.profile
        found[service.name] = args
    return found, notes


#: A command that compiles, up to its end.
_COMMAND = re.compile(r"\bcargo\s+(?:\+\S+\s+)?(?:build|b|install|rustc)\b((?:\\\n|[^;&|\n])*)")
#: Words that select the program, as the argument BIN does now.
_SELECTS = re.compile(r"(?:--bin|--package|-p)[= ]+[\"']?\$\{?\w+\}?[\"']?")


def selecting(services: Sequence[Service]) -> list[Note]:
    """Return notes on arguments of the old Dockerfiles that selected cargo options and no longer do."""
    found: list[Note] = []
    for taken in (s.recipe for s in services if s.recipe):
        stages = [stage for stage in taken.compiling if stage.compiles]
        words = " ".join(
            _SELECTS.sub("", match[1]) for run in stage_items.runs(stages) for match in _COMMAND.finditer(run)
        )
        words += " ".join(_tests(stage_items.runs(stages)))
        used = dict.fromkeys(re.findall(r"\$\{?(\w+)", words))
        names = [n for n in used if n in stage_items.declared(taken) - ARGUMENTS and not PLATFORM.fullmatch(n)]
        if names:
            text = (
                f"{', '.join(names)} no longer {'selects' if len(names) == 1 else 'select'} cargo options: set "
                "FEATURES, NO_DEFAULT_FEATURES or PROFILE"
            )
            found.append(Note(taken.path, text))
        found += _selected_stages(taken)
    found += _compiled_elsewhere(services)
    return list(dict.fromkeys(found))


#: Images with an older C library than the Rust images have.
_OLDER = re.compile(
    r"(?:^|/)(?:debian:(?:8|9|1[01]|jessie|stretch|buster|bullseye|oldstable)|ubuntu:(?:1\d|2[0-2]|bionic|focal|jammy)"
    r"|(?:ubi|centos|rockylinux|almalinux|amazonlinux|oraclelinux)(?:[7-9]|[-:/](?!(?:[\w-]*:)?(?:stream)?1\d)|$))"
)


def _compiled_elsewhere(services: Sequence[Service]) -> Iterator[Note]:
    """Yield notes on programs that no Dockerfile compiles: their cargo options and C library are not known."""
    there = [(s.binary, s.recipe) for s in services if s.recipe and s.recipe.kind == prebuilt.KIND]
    if there:
        where, names = _few([taken.path for _, taken in there]), _few([binary for binary, _ in there])
        text = f"compiled outside Docker until now ({names}): compiled here with the profile release and default "
        yield Note(where, f"{text}features. If your builds use others, set PROFILE or FEATURES")
    older = [(taken.path, taken.runtime) for _, taken in there if _OLDER.search(taken.runtime)]
    if older:
        text = f"may have an older C library than {RUST}, so programs may not start: set RUST_IMAGE to an older image"
        yield Note(_few([path for path, _ in older]), f"{_few([image for _, image in older])} {text}", True)


def _few(names: Iterable[str]) -> str:
    several = list(dict.fromkeys(names))
    return ", ".join(several[:3]) + (f" and {len(several) - 3} more" if len(several) > 3 else "")


_CHOSEN = re.compile(r"\w=[\"']?\$\(\s*(?:\[\[?|test)\s([^)&|]*)")
_BRANCH = re.compile(r"\b(?:if(.*?)\bthen|case(.*?)\bin)\b(.*?)\b(?:fi|esac)\b", re.DOTALL)


def _tests(runs: Iterable[str]) -> Iterator[str]:
    """Yield the test of each `if` and `case` that selects a command that compiles, and of each `$([ … ] && echo …)`."""
    for run in runs:
        if _COMMAND.search(run):
            yield from _CHOSEN.findall(run)
        for match in _BRANCH.finditer(run):
            if _COMMAND.search(match[3]):
                yield from (match[1] or match[2], *re.findall(r"\belif\b(.*?)\bthen\b", match[3], re.DOTALL))


def _selected_stages(taken: Recipe) -> Iterator[Note]:
    """Yield a note for each FROM whose arguments selected a stage."""
    names = {stage.name for stage in taken.stages}
    used = {stage.name for stage in (*taken.final, *taken.side, *taken.compiling)}
    for stage in (s for s in taken.stages if s.name in used and s.base.lower() in names):
        given = [name for name in stage.arguments if not PLATFORM.fullmatch(name)]
        if given:
            text = f"{', '.join(given)} no longer {'selects' if len(given) == 1 else 'select'} a stage: the image is "
            text += f"always built on the stage {stage.base}. To use another, change the default before `init`"
            yield Note(f"{stage.path}:{stage.line}", text, True)


def _without_value(service: Service, word: str) -> bool:
    """Return whether a word is an argument without a value, and thus empty."""
    name = re.fullmatch(r"\$\{(\w+)\}", word)
    stages = service.recipe.compiling if service.recipe else ()
    return name is not None and (name[1], None) in stage_items.arguments(stages)


def without_empty_flags(files: Tree, workspace: Workspace, lines: Sequence[str]) -> tuple[str, ...]:
    """Drop an empty RUSTFLAGS unless it overrides flags in cargo's configuration; else it has no effect."""
    if any(cargo_config.sets_rustflags(cargo_config.toml(files, path)) for path in workspace.cargo.config):
        return tuple(lines)
    return tuple(line for line in lines if not _EMPTY_FLAGS.fullmatch(line))
