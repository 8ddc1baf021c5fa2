"""The steps of a Dockerfile as BuildKit caches them: the files that each step reads and the values it uses. Pure.

https://github.com/moby/buildkit/blob/master/frontend/dockerfile/dockerfile2llb/convert.go
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from . import mounts, stages, syntax
from .document import Dockerfile, lookup_name
from .syntax import PLATFORM_ARGS, Instruction

#: Instructions that BuildKit runs and caches. All others only change the configuration of the image or of later steps.
_STEPS = frozenset({"ADD", "COPY", "RUN", "WORKDIR"})
#: Instructions that affect the process of a later RUN.
_SURROUNDINGS = frozenset({"ENV", "USER", "SHELL"})
#: Proxy arguments are predefined, and BuildKit keeps them out of cache keys.
PROXIES = frozenset(
    name for word in ("http", "https", "ftp", "no", "all") for name in (f"{word}_proxy", f"{word.upper()}_PROXY")
)
_NAME = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_REMOTE = re.compile(r"^(?:https?|git|ssh)://|^git@|\.git(?:#|$)")


@dataclass(frozen=True)
class Source:
    """Files that a step reads from a stage or from `place` ("" is the build context). No patterns: all files."""

    place: str
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True)
class CacheStep:
    """A cached step.

    `stage`: the stage as BuildKit prints it; `number`: from 0 within the stage; `text`: the lines as written;
    `variables`: the arguments in scope; `surroundings`: the preceding ENV, USER and SHELL lines that affect it; `base`:
    the base image of its stage; `after`: the preceding step; `needs`: the last steps of the stages that it copies from.
    Steps are identified by their index. `remote`: whether it downloads something itself.
    """

    stage: str
    number: int
    line: int
    keyword: str
    text: str
    variables: tuple[tuple[str, str], ...] = ()
    surroundings: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    base: str = ""
    after: int | None = None
    needs: tuple[int, ...] = ()
    remote: bool = False


@dataclass
class _Stage:
    """A stage while it is being read."""

    base: str
    last: int | None
    values: dict[str, str]
    lines: list[str]


def steps(
    file: Dockerfile, args: Mapping[str, str], target: str = "", contexts: Collection[str] = ()
) -> tuple[CacheStep, ...]:
    """Return the steps that a build up to `target` needs, in file order. `args` include the platform's arguments."""
    needed = {stage.number: stage for stage in file.needs(args, target, contexts).stages}
    given = {lookup_name(name.partition("::")[0]) for name in contexts}
    globals_ = stages.global_values(file.items, args)
    single = sum(item.keyword == "FROM" for item in file.items) == 1
    names: dict[str, _Stage] = {}
    found: list[CacheStep] = []
    stage, label, number, count = _Stage("", None, {}, []), "", -1, 0
    for item in file.items:
        if item.keyword == "FROM":
            number, count = number + 1, 0
            if number not in needed:
                continue
            name, base = needed[number].name, needed[number].base
            label = "" if single else name if name != str(number) else f"stage-{number}"
            below = names.get(base.lower()) if lookup_name(base) not in given else None
            if below:
                stage = _Stage(below.base, below.last, dict(below.values), list(below.lines))
            else:
                stage = _Stage("" if base.lower() == "scratch" else base, None, {}, [])
            names[name] = names[str(number)] = stage
        elif number not in needed:
            continue
        elif item.keyword == "ARG":
            for word in syntax.words(item.rest):
                _declare(word, stage, globals_, args)
        elif item.keyword in _SURROUNDINGS:
            stage.lines.append(_text(item))
        elif item.keyword in _STEPS:
            found.append(_step(item, label, count, stage, names, given))
            stage.last, count = len(found) - 1, count + 1
    return tuple(found)


def _declare(word: str, stage: _Stage, globals_: Mapping[str, str], args: Mapping[str, str]) -> None:
    name, equals, value = word.partition("=")
    if name in PROXIES:
        return
    if name in args:
        stage.values[name] = args[name]
    elif equals:
        stage.values[name] = syntax.expand(value, stage.values)
    elif name in globals_ and name not in PLATFORM_ARGS:
        stage.values[name] = globals_[name]


def _step(
    item: Instruction, label: str, count: int, stage: _Stage, names: Mapping[str, _Stage], given: Collection[str]
) -> CacheStep:
    sources, remote = _sources(item, {**_environment(stage.lines), **stage.values})
    needs, read = [], []
    for source in sources:
        other = names.get(source.place.lower()) if source.place and lookup_name(source.place) not in given else None
        if other is None:
            read.append(source)
        elif other.last is not None:
            needs.append(other.last)
        elif other.base:
            read.append(Source(other.base, source.patterns))
    whole = item.keyword == "RUN"
    lines = tuple(stage.lines) if whole else _referenced(_text(item), stage.lines)
    text = " ".join((_text(item), *lines))
    seen = stage.values if whole else {n: v for n, v in stage.values.items() if n in _NAME.findall(text)}
    return CacheStep(
        stage=label,
        number=count,
        line=item.line,
        keyword=item.keyword,
        text=_text(item),
        variables=tuple(sorted(seen.items())),
        surroundings=lines,
        sources=tuple(read),
        base=stage.base,
        after=stage.last,
        needs=tuple(dict.fromkeys(needs)),
        remote=remote,
    )


def _text(item: Instruction) -> str:
    """Return the lines of an instruction, without comments between them."""
    return "\n".join(part.rstrip() for _, part in item.parts)


def _referenced(text: str, lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines that set variables used in the text, directly or through other such lines."""
    wanted, found = set(_NAME.findall(text)), []
    for line in reversed(lines):
        words = set(re.findall(r"([A-Za-z_][A-Za-z0-9_]*)(?==|\s)", line.partition(" ")[2]))
        if words & wanted:
            found.append(line)
            wanted |= set(_NAME.findall(line))
    return tuple(reversed(found))


def _environment(lines: Sequence[str]) -> dict[str, str]:
    """Return the variables that ENV lines set, as written."""
    words = (word for line in lines if line.upper().startswith("ENV") for word in syntax.words(line[3:]))
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}


def _sources(item: Instruction, values: Mapping[str, str]) -> tuple[list[Source], bool]:
    """Return what an instruction reads, and whether it downloads anything."""
    if item.keyword == "RUN":
        found = []
        for mount in mounts.run_mounts(item):
            place = syntax.expand(mount.options.get("from", ""), values)
            if mount.type == "bind" or place:
                source = mount.options.get("source") or mount.options.get("src") or ""
                within = _clean(syntax.expand(source, values))
                found.append(Source(place, (within,) if within else ()))
        return found, False
    if item.keyword not in ("COPY", "ADD"):
        return [], False
    options, rest = syntax.flags(item)
    words = [syntax.expand(word, values) for word in _words(rest)[:-1]]
    documents = [word for word in words if word.startswith("<<")]
    words = [word for word in words if word not in documents]
    remote = item.keyword == "ADD" and any(_REMOTE.search(word) for word in words)
    if not words or remote:
        return [], remote
    patterns = tuple(map(_clean, words))
    return [Source(options.get("from", ""), () if "" in patterns else patterns)], False


def _words(rest: str) -> list[str]:
    return (syntax.json_words(rest) or []) if rest.startswith("[") else syntax.words(rest)


def _clean(path: str) -> str:
    """Return a path below the root of its source; "" for the root itself."""
    return posixpath.normpath("/" + path).lstrip("/")
