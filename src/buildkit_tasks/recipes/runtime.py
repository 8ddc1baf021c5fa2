"""Convert the user's own runtime stage of a service line by line, with our program instead of theirs."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import install, prebuilt, recipe, shipped, stage_items
from buildkit_tasks.existing.recipe import Copy, Recipe, Stage
from buildkit_tasks.survey.finding import Note, Service
from buildkit_tasks.workspaces.tree import Tree

from . import directories, single_stage, stages_text
from .prepared import Prepared
from .stage_lines import BUILT, CA, Runtime, is_alpine, labels, packages_step, plain, short

_NETWORK = re.compile(r"\b(?:apt-get|apt|apk|curl|wget|pip3?|npm|git)\s")


class _Writer:
    """Converts the user's final stages in one pass."""

    def __init__(
        self, files: Tree, service: Service, taken: Recipe, binaries: Collection[str], before: Prepared | None
    ) -> None:
        self.files, self.service, self.taken, self.binaries = files, service, taken, binaries
        self.prepared = before
        self.lines: list[str] = []
        self.context: dict[str, None] = {}
        self.also: dict[str, None] = {}
        self.notes: list[Note] = []
        self.tools = False
        self.workdir = stage_items.start_directory(taken.final[0].base)  # empty: relative paths stay relative
        self.path = taken.path
        self.compiling = {s.name: s for s in taken.compiling}
        self.renamed, self.there = shipped.renamed(taken, binaries), shipped.places(taken, binaries)
        self.installed = shipped.installed(taken)
        self.made = directories.made(taken, files, service.context)
        self.labelled = False

    def note(self, item: Instruction, text: str, *, open_: bool = True) -> None:
        self.notes.append(Note(f"{self.path}:{item.line}", f"{text}: {short(item)}", open_))

    def stage(self, stage: Stage) -> None:
        self.path = stage.path
        for item in stage.items:
            if item.keyword == "WORKDIR":
                self.workdir = posixpath.join(self.workdir, syntax.expand(item.rest.strip("\"'"), self.taken.values))
            if item.keyword in ("COPY", "ADD"):
                self._copy(item)
            elif item.keyword == "RUN":
                self._run(item, stage)
            else:
                self.lines.append(recipe.line(item).text)

    def _run(self, item: Instruction, stage: Stage) -> None:
        if install.only_lists(item):
            return
        whole = recipe.line(item).text
        for mount in mounts.run_mounts(item):
            if mount.options.get("from", "").lower() in self.compiling:
                self.note(item, "mounts a stage that the compile step replaces")
        split = None if mounts.run_mounts(item) and "cache" not in whole else install.split(item)
        if split is None or not split.plain:
            if _NETWORK.search(whole) and not re.search(r"install.*ca-certificates|id=ca\b", whole, re.S):
                whole = re.sub(r"^(\s*)RUN\s+", rf"\1RUN {CA} \\\n    ", whole, count=1)
            self.lines.append(whole)
            return
        if split.before:
            self.lines.append(f"RUN {' && '.join(split.before)}")
        names = list(split.packages)
        image = stage.base if not self.taken.final else self.taken.final[0].base
        self.lines += packages_step(
            names, argument="RUNTIME_PACKAGES", alpine=is_alpine(image), recommends=split.recommends
        )
        if len(split.rest) > len(split.before):
            self.lines.append(f"RUN {' && '.join(split.rest[len(split.before) :])}")

    def _copy(self, item: Instruction) -> None:
        copy = recipe.copied(item, self.taken.values)
        if copy is None:
            self.lines.append(recipe.line(item).text)
        elif not copy.stage:
            self._from_context(item, copy)
        elif self.taken.kind == prebuilt.KIND and (name := prebuilt.program(copy, self.binaries, self.taken)):
            self._program(copy, name, copy.sources[0])
        elif copy.stage.lower() in self.compiling:
            for source in copy.sources:
                self._from_compiling(item, copy, source)
        else:
            self.lines.append(recipe.line(item).text)

    def _from_context(self, item: Instruction, copy: Copy) -> None:
        if self.taken.kind == prebuilt.KIND and (name := prebuilt.program(copy, self.binaries, self.taken)):
            self._program(copy, name, posixpath.join(posixpath.dirname(copy.sources[0]), name))
            return
        base = self.service.context
        remote = [s for s in copy.sources if stages_text.is_remote(s)]
        sources = [
            s if s in remote else posixpath.normpath(posixpath.join(base, s.lstrip("/") or ".")) for s in copy.sources
        ]
        for source in sources:
            plain = re.split(r"[$*?\[]", source, maxsplit=1)[0]
            if self.taken.kind == prebuilt.KIND and plain == source and not self.files.exists(source):
                self.note(item, f"{source} is not in the repository, but must exist before the build")
            if source not in remote:
                self.context.setdefault(re.split(r"[$*?\[]", source, maxsplit=1)[0].rstrip("/") or ".", None)
        if base == ".":
            self.lines.append(recipe.line(item).text)
            return
        sources = [
            f"{s}/" if c.endswith("/") and not s.endswith("/") else s
            for s, c in zip(sources, copy.sources, strict=True)
        ]
        self.lines.append(_copy_line(item.keyword, copy.flags, "", sources, copy.destination))

    def _from_compiling(self, item: Instruction, copy: Copy, source: str) -> None:
        stage = self.compiling[copy.stage.lower()]
        where = self._in_context(stage, source)
        known = self.renamed.get(posixpath.basename(source)) or shipped.program(source, self.binaries)
        if where and self.files.is_dir(where) and posixpath.basename(source) not in self.renamed:
            known = ""  # a source directory with a program's name
        known = self.there.get(posixpath.normpath(posixpath.join("/", source)), known)
        if not (known or where or shipped.EXAMPLE.search(source)) and posixpath.basename(source) in self.binaries:
            known = posixpath.basename(source)
        whole = posixpath.normpath(posixpath.join("/", source)) in self.installed
        if known:
            self._program(copy, known, source)
        elif whole:
            # a directory of programs: copy only the program that this service starts
            end = posixpath.join(copy.destination, self.service.binary)
            self._program(replace(copy, destination=end), self.service.binary, source)
        elif self.prepared and copy.stage.lower() in self.prepared.stages and self.prepared.makes(source):
            self.lines.append(_copy_line("COPY", copy.flags, "sources", [source], copy.destination))
        elif where:
            if where == ".":
                self.note(item, "copies the sources, but no longer cargo's output")
            self.context.setdefault(re.split(r"[*?\[]", where, maxsplit=1)[0].rstrip("/") or ".", None)
            self.lines.append(
                _copy_line("COPY", copy.flags, "", [f"{where}/" if source.endswith("/") else where], copy.destination)
            )
        elif re.search(r"cargo/bin/|/usr/local/bin/", source) and self._is_a_tool(posixpath.basename(source)):
            self.tools = True
            self.lines.append(_copy_line("COPY", copy.flags, "tools", [source], copy.destination))
        elif re.match(r"/(?:etc|usr|lib|lib64|opt)/|/tmp/?$", source) and not self._is_bare(source):
            self.lines.append(_copy_line("COPY", copy.flags, "toolchain", [source], copy.destination))
        else:
            self.note(item, "created by a stage that the compile step replaces, so it is no longer in the image")

    def _is_a_tool(self, name: str) -> bool:
        """Return whether a compile stage installs programs with cargo, or a command without cargo mentions this one."""
        runs = stage_items.runs(self.compiling.values())
        texts = (text for text in runs if not re.search(r"\bcargo\b", text) and name in text)
        return bool(re.fullmatch(r"[\w.-]+", name)) and (
            any(re.search(r"\bcargo\s+(?:\+\S+\s+)?b?install\b(?!.*--path)", text) for text in runs) or any(texts)
        )

    def _is_bare(self, source: str) -> bool:
        """Return whether a path is in a program directory that is empty in the official Rust images."""
        return source.startswith("/usr/local/bin/") and bool(re.search(r"(?:^|/)rust(?:[:@]|$)", self.taken.toolchain))

    def _program(self, copy: Copy, name: str, source: str) -> None:
        folder = "${BIN}" if name == self.service.binary else name
        if name != self.service.binary:
            self.also[name] = None
        wanted = posixpath.basename(source.rstrip("/"))
        base = self.workdir if self.workdir.startswith(("/", "$")) else ""
        place = posixpath.normpath(posixpath.join(base, copy.destination))
        directory = (
            copy.destination.endswith(("/", "/."))
            or copy.destination in (".", "./")
            or place in {self.workdir, *directories.USUAL, *self.made}
        )
        end = posixpath.normpath(posixpath.join(place, wanted)) if directory else place
        end = end if end.startswith(("/", "$")) else f"./{end}"
        self.lines.append(_copy_line("COPY", copy.flags, "compile", [f"{BUILT}/{folder}/bin/service"], end))

    def _in_context(self, stage: Stage, source: str) -> str:
        """Return the repository path that a file in a compile stage was copied from; empty if there is none."""
        workdir, found = "/", ""
        copies: list[tuple[str, str]] = []
        chain = [s for s in self.taken.compiling if s.number <= stage.number]
        for item in (i for s in chain for i in s.items):
            if item.keyword == "WORKDIR":
                workdir = posixpath.join(workdir, syntax.expand(item.rest, self.taken.values))
            copy = recipe.copied(item, self.taken.values)
            if copy and not copy.stage:
                place = posixpath.normpath(posixpath.join(workdir, copy.destination))
                copies += [(place, s.strip("/") or ".") for s in copy.sources]
        path = posixpath.normpath(posixpath.join(workdir, source))
        for place, origin in copies:
            if path == place or path.startswith(place.rstrip("/") + "/"):
                rest = posixpath.relpath(path, place)
                for candidate in (posixpath.join(origin, rest), *([rest] if rest != "." else [])):
                    inside = posixpath.normpath(posixpath.join(self.service.context, candidate))
                    if self._is_there(inside) and not inside.startswith(".."):
                        found = inside
        return found

    def _is_there(self, path: str) -> bool:
        """Return whether the repository has a path; with wildcards in the last part, whether any file matches."""
        folder, _, last = path.rpartition("/")
        if not re.search(r"[*?\[]", last) or re.search(r"[*?\[]", folder):
            return self.files.exists(path)
        names = {p.removeprefix(f"{folder}/").partition("/")[0] for p in self.files.below(folder or ".")}
        return any(fnmatch.fnmatchcase(name, last) for name in names)


def _started(lines: Sequence[str], binary: str) -> str:
    """Return the path that a start command uses for a program; if none does, a path in a PATH directory."""
    for text in lines:
        keyword, _, rest = text.strip().partition(" ")
        if keyword.upper() in ("ENTRYPOINT", "CMD"):
            for word in syntax.json_words(rest.strip()) or syntax.words(rest):
                if posixpath.basename(word) == binary and word.startswith("/"):
                    return word
    return f"/usr/local/bin/{binary}"


def _copy_line(keyword: str, flags: Sequence[str], stage: str, sources: Sequence[str], destination: str) -> str:
    words = [keyword, *([f"--from={stage}"] if stage else []), *flags]
    if any(re.search(r"\s", w) for w in (*sources, destination)):
        import json

        return " ".join([*words, json.dumps([*sources, destination])])
    return " ".join([*words, *sources, destination])


def derive(
    files: Tree,
    service: Service,
    binaries: Mapping[str, object],
    run_packages: Sequence[str],
    image: str,
    before: Prepared | None = None,
) -> Runtime:
    """Return the runtime stage of a service: converted if it had one, else ours. `image`: our base image; `before`: the
    stage that now runs commands of the old compile stages."""
    taken = service.recipe
    if taken is None:
        return plain(image, run_packages)
    if not taken.final:
        return single_stage.derive(files, service, taken, run_packages, image)
    writer = _Writer(files, service, taken, binaries, before)
    for stage in taken.final:
        writer.stage(stage)
    placed = any("--from=compile" in text for text in writer.lines)
    head = ["ARG CACHE_SCOPE", "ARG BIN", *labels()]
    share = f"COPY --from=compile {BUILT}/${{BIN}}/share/ /usr/local/share/"
    at = next((i for i, text in enumerate(writer.lines) if "--from=compile" in text), len(writer.lines))
    if not placed:
        end = _started(writer.lines, service.binary)
        at = max((i for i, text in enumerate(writer.lines) if text.startswith("USER")), default=len(writer.lines))
        head += [share]
        share = f"COPY --from=compile {BUILT}/${{BIN}}/bin/service {end}"
        text = f"no COPY of the program {service.binary} was found, so it is copied to {end}"
        writer.notes.append(Note(taken.path, text, True))
    lines = [*writer.lines[:at], *head, share, *writer.lines[at:]]
    return Runtime(
        taken.final[0].base,
        taken.final[0].platform,
        tuple(lines),
        tuple(writer.context),
        tuple(writer.also),
        writer.tools,
        tuple(writer.notes),
    )
