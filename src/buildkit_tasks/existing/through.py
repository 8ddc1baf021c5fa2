"""Follow a COPY through stages that only collect files, to the stage that compiled them. Pure.

`COPY --from=files /das/api /app/`, where the stage `files` copies `/out/api` to `/das` from the stage `build`, becomes
`COPY --from=build /out/api /app/`.
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction

from . import install
from .recipe import OUTPUT, Copy, Parsed, Stage, chain, copied, rewritten

#: Destinations that may be directories of the image.
_FOLDER = re.compile(
    r"(?:^|/)(?:s?bin|lib|app|apps|srv|opt|home|root|tmp|local|share|work|service|\$\{?\w+\}?)$|^/[^/]*$"
)
#: Commands that do not change the content of a file.
_HARMLESS = ("mkdir", "ls", "chmod", "chown", "du", "file", "test", "echo", "apt-get", "apt", "apk")


@dataclass(frozen=True)
class _Origin:
    """Where the files of a COPY source come from. `listed`: they are the whole content of a directory; `folder`: the
    path is certainly a directory."""

    stage: str
    paths: tuple[str, ...]
    modes: tuple[str, ...] = ()
    listed: bool = False
    folder: bool = False


def resolve(parsed: Parsed, target: str, binaries: Collection[str], *, trim: bool = False) -> Parsed:
    """Return the stages with each COPY of compiled files directly from the stage that compiled them.

    Stages that the image copies other files from then lose the compiled ones, with `trim` in any case. `target`: the
    stage of the image.
    """
    if not any(stage.compiles for stage in parsed.stages):
        return parsed
    walk = _Walk(parsed, binaries)
    changed = tuple(replace(stage, items=tuple(map(walk.resolved, stage.items))) for stage in parsed.stages)
    if changed == parsed.stages and not trim:
        return parsed
    found = replace(parsed, stages=changed)
    needed, values = found.needed(target), parsed.values
    kept = {stage.name for stage in needed[0]}
    after = _Walk(found, binaries)
    return replace(
        found,
        stages=tuple(
            stage
            if stage.compiles or stage.name in kept or stage not in needed[1]
            else replace(stage, items=tuple(i for i in stage.items if not after.is_idle(stage, i, needed[1], values)))
            for stage in found.stages
        ),
    )


def unclear(parsed: Parsed, target: str, binaries: Collection[str]) -> str:
    """Return why it is unclear where a file comes from that the image may copy from a compile stage; else empty."""
    walk = _Walk(parsed, binaries)
    for stage in parsed.needed(target)[0]:
        for item in stage.items:
            copy = copied(item, parsed.values)
            holder = walk.stages.get(copy.stage.lower()) if copy else None
            for source in copy.sources if copy and holder and not holder.compiles else ():
                if holder and (why := walk.why(holder, source)):
                    return f"{stage.path}:{item.line} copies {source}, {why}"
    return ""


class _Walk:
    """The stages of a Dockerfile by name. `binaries`: the programs of the repository."""

    def __init__(self, parsed: Parsed, binaries: Collection[str]) -> None:
        self.values, self.binaries = parsed.values, binaries
        self.stages = {stage.name: stage for stage in parsed.stages}

    def resolved(self, item: Instruction) -> Instruction:
        """Return an instruction; if it is a COPY of compiled files, directly from the stage that compiled them."""
        copy = copied(item, self.values)
        stage = self.stages.get(copy.stage.lower()) if copy and item.keyword == "COPY" else None
        if copy is None or stage is None or stage.compiles:
            return item
        found = [self._source(stage, source) for source in copy.sources]
        origins = [origin for origin in found if origin]
        if len(origins) < len(found) or len({origin.stage for origin in origins}) != 1:
            return item
        end = _end(copy, origins, self._is_file)
        if not end:
            return item
        modes = dict.fromkeys(mode for origin in origins for mode in origin.modes)
        flags = [*copy.flags, *(() if any(f.startswith("--chmod") for f in copy.flags) else modes)]
        words = [*(path for origin in origins for path in origin.paths), end]
        return rewritten(item, [f"--from={origins[0].stage}", *flags], words)

    def is_idle(self, stage: Stage, item: Instruction, needed: Sequence[Stage], values: Mapping[str, str]) -> bool:
        """Return whether an instruction of a stage only copies compiled files that no needed stage uses."""
        copy = copied(item, values)
        origin = self.stages.get(copy.stage.lower()) if copy else None
        if not copy or not origin or not origin.compiles:
            return False
        place = next(posixpath.join(at, copy.destination) for _, at, one in self._placed(stage) if one is item)
        users = {stage.name}
        for other in needed:
            if other.base.lower() in users:
                users.add(other.name)
                if any(one.keyword == "RUN" for one in other.items):
                    return False
        if any(one.keyword == "RUN" and self._touches(one, place) for one in stage.items):
            return False
        uses = [(name, made) for other in needed for made, name in self._uses(other)]
        return not any(name in users and (not path or _may_hold(path, (copy, place))) for name, path in uses)

    def _uses(self, stage: Stage) -> Iterator[tuple[str, str]]:
        """Yield the paths that a stage uses of other stages, with their names; an empty path for a mount."""
        for item in stage.items:
            copy = copied(item, self.values)
            for source in copy.sources if copy else ():
                yield (
                    posixpath.normpath(posixpath.join("/", re.sub(r"/\*$", "", source))),
                    copy.stage.lower() if copy else "",
                )
            for mount in mounts.run_mounts(item):
                yield "", mount.options.get("from", "").lower()

    def why(self, stage: Stage, source: str) -> str:
        """Return why it is unclear if a file of a stage was compiled; empty if no compiled file was copied there."""
        path = posixpath.normpath(posixpath.join("/", re.sub(r"/\*$", "", source)))
        changes = ""
        for holder, workdir, item in reversed(list(self._placed(stage))):
            copy = copied(item, self.values) if item else None
            origin = self.stages.get(copy.stage.lower()) if copy else None
            if item and item.keyword == "RUN" and self._touches(item, path):
                fix = "run that command in the stage that compiles the program"
                changes = changes or f"which {holder.path}:{item.line} may change after it was compiled: {fix}"
            place = posixpath.normpath(posixpath.join(workdir, copy.destination)) if copy else ""
            if item is None or (copy and origin and _may_hold(path, (copy, place))):
                return (
                    changes
                    or "but it is unclear which compiled files this path contains: copy each program by its full path"
                )
        return ""

    def _source(self, stage: Stage, source: str) -> _Origin | None:
        """Return the origin of a COPY source in a stage, with the same ending (`/`, `/*`) if it is a directory."""
        ending = next((end for end in ("/*", "/.", "/") if source.endswith(end)), "")
        found = self._origin(stage, posixpath.normpath(posixpath.join("/", source.removesuffix(ending))))
        if not found or not ending:
            return found
        whole = not found.listed and ending
        return replace(found, paths=tuple(f"{path}{ending}" for path in found.paths)) if whole else found

    def _origin(self, stage: Stage, path: str, depth: int = 0) -> _Origin | None:
        """Return the compile stage and the path there of a file or directory in a stage; None if that is unclear."""
        inside: list[tuple[Copy, str]] = []  # every COPY with the directory that it copies to
        for holder, workdir, item in reversed(list(self._placed(stage))):
            if item is None:  # a base that compiles
                return None if any(map(functools.partial(_may_hold, path), inside)) else _Origin(holder.name, (path,))
            if item.keyword == "RUN":
                if self._touches(item, path):
                    return None
                continue
            copy = copied(item, self.values)
            if copy is None:
                continue
            place = posixpath.normpath(posixpath.join(workdir, copy.destination))
            exact = self._exact(copy, place, path)
            if exact:
                return self._follow(copy, exact, depth)
            inside.append((copy, place))
        return self._directory(inside, path, depth)

    def _exact(self, copy: Copy, place: str, path: str) -> str:
        """Return the source that a COPY puts at a path; empty if none, or if it may be a directory."""
        into = copy.destination.endswith(("/", "/.")) or copy.destination in (".", "./") or len(copy.sources) > 1
        for source in copy.sources:
            name = posixpath.basename(source.rstrip("/"))
            if re.search(r"[*?\[]", name):
                if posixpath.dirname(path) == place and fnmatch.fnmatchcase(posixpath.basename(path), name):
                    return posixpath.join(posixpath.dirname(source), posixpath.basename(path))
            elif path == (posixpath.join(place, name) if into else place) and (self._is_file(source) or not into):
                return source
        return ""

    def _directory(self, copies: list[tuple[Copy, str]], path: str, depth: int) -> _Origin | None:
        """Return the origin of a path in a copied directory, or of a directory that programs were copied to."""
        holding = [
            (copy, place)
            for copy, place in copies
            if len(copy.sources) == 1
            and f"{path}/".startswith(f"{place.rstrip('/')}/")
            and not self._is_file(copy.sources[0])
        ]
        below = [(copy, place) for copy, place in copies if f"{place.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")]
        if len(holding) == 1 and all(entry in holding for entry in below):
            copy, place = holding[0]
            source = re.sub(r"/(?:\*|\.)?$", "", copy.sources[0])
            inner = posixpath.normpath(posixpath.join(source, posixpath.relpath(path, place)))
            origin = self._follow(copy, inner, depth)
            return replace(origin, folder=path == place) if origin else None
        found: list[_Origin] = []
        for copy, place in reversed(below):
            for source in copy.sources:
                name = posixpath.basename(source)
                origin = self._follow(copy, source, depth) if self._is_file(source) else None
                if not origin or place not in (path, posixpath.join(path, name)):
                    return None
                found.append(origin)
        paths = tuple(dict.fromkeys(path for origin in found for path in origin.paths))
        if holding or len({origin.stage for origin in found}) != 1:
            return None
        return _Origin(found[0].stage, paths, tuple(m for o in found for m in o.modes), listed=True)

    def _follow(self, copy: Copy, source: str, depth: int) -> _Origin | None:
        stage = self.stages.get(copy.stage.lower()) if copy.stage else None
        if stage is None or depth > len(self.stages):
            return None
        found = _Origin(stage.name, (source,)) if stage.compiles else self._origin(stage, source, depth + 1)
        modes = tuple(flag for flag in copy.flags if flag.startswith("--chmod"))
        return replace(found, modes=modes or found.modes) if found else None

    def _is_file(self, source: str) -> bool:
        """Return whether a path in a compile stage is certainly a file: a program, by its name."""
        return bool(OUTPUT.search(source)) or posixpath.basename(source) in self.binaries

    def _touches(self, item: Instruction, path: str) -> bool:
        """Return whether a command may change the file at a path."""
        text = syntax.expand(f"{syntax.flags(item)[1]}\n{item.body}", self.values, keep=True)
        return any(
            posixpath.basename(words[0]) not in _HARMLESS
            and any(path.startswith(word.rstrip("/*")) for word in words[1:] if re.match(r"/\w", word))
            for command in install.commands(install.unrolled(text))
            for words in [syntax.words(command)]
            if words
        )

    def _placed(self, stage: Stage) -> Iterator[tuple[Stage, str, Instruction | None]]:
        """Yield the stages, working directories and instructions that make a stage's files, outermost base first.

        A base that compiles has no instructions: its files are what it compiled.
        """
        workdir = "/"
        for one in tuple(chain(stage, self.stages))[::-1]:
            if one.compiles:
                yield one, workdir, None
            for item in one.items:
                if item.keyword == "WORKDIR":
                    workdir = posixpath.join(workdir, syntax.expand(item.rest.strip("\"'"), self.values))
                elif not one.compiles and item.keyword in ("COPY", "ADD", "RUN"):
                    yield one, workdir, item


def _may_hold(path: str, copy: tuple[Copy, str]) -> bool:
    """Return whether a COPY to this directory may have put something at a path, or below it."""
    one, other = (f"{place.rstrip('/')}/" for place in (path, copy[1]))
    return one.startswith(other) or other.startswith(one)


def _end(copy: Copy, origins: list[_Origin], is_file: Callable[[str], bool]) -> str:
    """Return the new destination, so that each file keeps its name in the image; empty if that is unclear."""
    end = copy.destination
    if any(origin.listed for origin in origins) or len(origins) > 1:
        names = [posixpath.basename(o.paths[0].rstrip("/*")) for o in origins if not o.listed]
        olds = [posixpath.basename(s.rstrip("/*")) for s, o in zip(copy.sources, origins, strict=True) if not o.listed]
        return f"{end.rstrip('/')}/" if names == olds else ""
    source, path = copy.sources[0], origins[0].paths[0]
    name = posixpath.basename(source)
    if origins[0].folder or source.endswith(("/", "/.", "/*")) or posixpath.basename(path) == name:
        return end
    if not (is_file(path) or is_file(source)):  # a file or a directory
        return "" if end.endswith(("/", "/.")) or end in (".", "./") else end
    if end.endswith(("/", "/.")) or end in (".", "./"):
        return posixpath.join(end, name)
    return end if posixpath.basename(end) == name or not _FOLDER.search(end) else ""
